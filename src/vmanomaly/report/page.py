"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.resources import files

import numpy as np

from vmanomaly.episodes import counted
from vmanomaly.incidents import JOINED_WITHIN
from vmanomaly.report.contents import (
    ANOMALY_SCORE,
    Alarm,
    Known,
    Report,
    ScoredSeries,
    alarms_of,
)
from vmanomaly.report.panel import Panel, describe, draw
from vmanomaly.series import Labels

MOST_PANELS = 100
"""Series that are drawn: those with the highest scores."""
MOST_INCIDENTS = 200
"""Incidents in the table: the worst."""

_LEGEND = (
    ('<path class="y" d="M0 8L7 3 13 9 19 4 26 7"/>', "value"),
    ('<path class="band" d="M0 1H26V11H0Z"/><path class="yhat" d="M0 6H26"/>', "expected, {first}"),
    ('<path class="other" d="M0 2H26M0 10H26"/>', "expected range, {others}"),
    ('<path class="anomaly" d="M13 6h0"/>', "value with an anomaly score above 1, {first}"),
    (
        (
            '<path class="calm" d="M3 12V8H8V12Z"/><path class="high" d="M13 12V1H18V12Z"/>'
            '<path class="threshold" d="M0 8H26"/>'
        ),
        "anomaly_score, up to 3; dotted: {threshold}",
    ),
    ('<path class="incident-score" d="M0 11H8L14 2H20L26 9"/>', "incident_score, up to 3"),
    ('<rect class="alarm" y="4" width="26" height="4"/>', "incident found"),
)
_LEGEND_OF_KNOWN = (
    ('<rect class="known" width="26" height="12"/>', "known to have happened"),
    ('<rect class="false" x="1" y="4" width="24" height="4"/>', "false alarm"),
)


def render(report: Report) -> str:
    """Return the report as an HTML document without external resources.

    Parameters
    ----------
    report
        What it shows; at least one series was scored.
    """
    models = list(dict.fromkeys(item.model for item in report.scored))
    panels = _panels(report, models)
    shown = _shown(panels)
    incidents = _incidents(panels)
    body = [_header(report, models, incidents)]
    if report.known:
        body += ["<h2>What happened</h2>", _known_table(report, models, shown)]
    body += ["<h2>Incidents</h2>", _incidents_table(incidents, models, shown, report)]
    body += ["<h2>Series</h2>", _left_out(len(panels), len(shown)), _legend(report, models)]
    body += map(draw, shown)
    style = _file("report.css")
    script = _file("report.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>\n{style}</style></head>"
        f"<body><main>{''.join(body)}</main>"
        f'<div id="values" hidden></div><script>{script}</script></body></html>\n'
    )


def lasting(milliseconds: float) -> str:
    """Return a length of time as people say it.

    Examples
    --------
    >>> lasting(120_000), lasting(5_400_000), lasting(7_200_000), lasting(30_000)
    ('2m', '1h 30m', '2h', '30s')
    >>> lasting(200_000_000)
    '2d 7h'
    """
    if 0 < milliseconds < 60_000:
        return f"{milliseconds / 1000:.3g}s"
    hours, minutes = divmod(round(milliseconds / 60_000), 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days}d {hours_of_day}h" if hours_of_day else f"{days}d"
    if not hours:
        return f"{minutes}m"
    return f"{hours}h {minutes}m" if minutes else f"{hours}h"


def _file(name: str) -> str:
    return files("vmanomaly.report").joinpath(name).read_text(encoding="utf-8")


def _panels(report: Report, models: Sequence[str]) -> list[Panel]:
    groups: dict[tuple[str, Labels], list[ScoredSeries]] = {}
    for item in report.scored:
        if len(item.timestamps):
            groups.setdefault((item.query, item.series), []).append(item)
    panels = []
    for number, ((query, series), items) in enumerate(groups.items()):
        start = min(int(item.timestamps[0]) for item in items)
        end = max(int(item.timestamps[-1]) for item in items)
        items.sort(key=lambda item: models.index(item.model))
        panels.append(
            Panel(
                f"p{number}",
                items,
                [alarm for item in items for alarm in alarms_of(item, report.threshold)],
                report.false_alarms,
                [
                    known
                    for known in report.known
                    if known.concerns(series) and known.start <= end and known.end >= start
                ],
                report.units.get(query, ""),
                report.threshold,
            )
        )
    return panels


def _shown(panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels that are drawn: by the time of what happened, then the others."""

    def worst(panel: Panel) -> tuple[bool, float]:
        return bool(panel.known), max((alarm.peak for alarm in panel.alarms), default=0.0)

    def first(panel: Panel) -> tuple[bool, float]:
        happened = [each.start for each in panel.known or panel.alarms]
        return not panel.known, min(happened, default=np.inf)

    return sorted(sorted(panels, key=worst, reverse=True)[:MOST_PANELS], key=first)


class _Incident:
    """What some models found at about the same time in the same series."""

    def __init__(self, panel: Panel, alarm: Alarm) -> None:
        self.panel = panel
        self.alarms = [alarm]
        self.start, self.end = alarm.start, alarm.end

    def add(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)
        self.end = max(self.end, alarm.end)

    @property
    def peak(self) -> float:
        return max(alarm.peak for alarm in self.alarms)


def _incidents(panels: Sequence[Panel]) -> list[_Incident]:
    """Return what was found, in the order of time, alarms of several models put together."""
    incidents: list[_Incident] = []
    for panel in panels:
        apart = JOINED_WITHIN * max(item.step for item in panel.scored)
        of_panel: list[_Incident] = []
        for alarm in sorted(panel.alarms, key=lambda alarm: alarm.start):
            if of_panel and alarm.start < of_panel[-1].end + apart:
                of_panel[-1].add(alarm)
            else:
                of_panel.append(_Incident(panel, alarm))
        incidents += of_panel
    return sorted(incidents, key=lambda incident: (incident.start, incident.end))


def _header(report: Report, models: Sequence[str], incidents: Sequence[_Incident]) -> str:
    figures = report.figures or (
        (f"{len(incidents):,}", "incident" if len(incidents) == 1 else "incidents"),
        *_usual_figures(report.scored, models),
    )
    cards = "".join(
        f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name in figures
    )
    start = min(int(item.timestamps[0]) for item in report.scored if len(item.timestamps))
    end = max(int(item.timestamps[-1]) for item in report.scored if len(item.timestamps))
    subtitle = f"{report.subtitle} " if report.subtitle else ""
    return (
        f'<h1>{escape(report.title)}</h1><p class="soft">{escape(subtitle)}'
        f"{moment(start)} to {moment(end)} UTC.</p>"
        f'<div class="figures">{cards}</div>'
    )


def _usual_figures(
    scored: Sequence[ScoredSeries], models: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    series = len({(item.query, item.series) for item in scored})
    points = sum(int(np.isfinite(item.output(ANOMALY_SCORE)).sum()) for item in scored)
    names = ", ".join(models[:3]) + (", …" if len(models) > 3 else "")
    return (
        (f"{series:,}", "series"),
        (f"{points:,}", "points scored"),
        (f"{len(models)}", f"{'model' if len(models) == 1 else 'models'}: {names}"),
    )


def _known_table(report: Report, models: Sequence[str], shown: Sequence[Panel]) -> str:
    rows = "".join(
        f"<tr><td>{_link(known.name, _panel_of(known, shown))}"
        f'<span class="story">{escape(known.story)}</span></td>'
        f"<td>{escape(describe(known.series))}"
        f'<span class="story">{escape(known.series.get("metric", ""))}</span></td>'
        f'<td class="when">{moment(known.start)}'
        f'<span class="story">for {lasting(known.end - known.start)}</span></td>'
        + "".join(_finding(known, model) for model in models)
        + "</tr>"
        for known in report.known
    )
    totals = "".join(
        f'<td class="number" data-label="{escape(model)}">'
        f"{_n_found(report.known, model)} of {len(report.known)}"
        f'<span class="story">{_n_false(report, model)}</span></td>'
        for model in models
    )
    return (
        '<div class="table known-table"><table><thead>'
        f"<tr><th>What</th><th>Series</th><th>Start, UTC</th>{_heads(models)}</tr></thead>"
        f"<tbody>{rows}</tbody>"
        f'<tfoot><tr><td colspan="3">Found</td>{totals}</tr></tfoot></table></div>'
    )


def _n_found(known: Sequence[Known], model: str) -> int:
    return sum(model in each.findings and each.findings[model].delay is not None for each in known)


def _n_false(report: Report, model: str) -> str:
    return counted(sum(alarm.model == model for alarm in report.false_alarms), "false alarm")


def _panel_of(known: Known, shown: Sequence[Panel]) -> str | None:
    return next((panel.identifier for panel in shown if known in panel.known), None)


def _finding(known: Known, model: str) -> str:
    finding = known.findings.get(model)
    if finding is None:
        return f'<td class="number" data-label="{escape(model)}">-</td>'
    peak = f"max score {or_dash(finding.max_score, '{:.1f}'.format)}"
    if finding.delay is None:
        name, text = "missed", "missed"
    else:
        name, text = "found", f"after {lasting(finding.delay)}"
    return (
        f'<td class="number" data-label="{escape(model)}"><b class="{name}">{text}</b>'
        f'<span class="story">{peak}</span></td>'
    )


def _incidents_table(
    incidents: Sequence[_Incident], models: Sequence[str], shown: Sequence[Panel], report: Report
) -> str:
    names = sorted({item.score_name for item in report.scored}, reverse=True)
    rule = " or ".join(f"<code>{name} &gt; {report.threshold:g}</code>" for name in names)
    if not incidents:
        return f'<p class="note">None: nowhere is {rule}.</p>'
    drawn = {panel.identifier for panel in shown}
    worst = sorted(incidents, key=lambda incident: incident.peak, reverse=True)[:MOST_INCIDENTS]
    rows = []
    for incident in sorted(worst, key=lambda each: (each.start, each.end)):
        identifier = incident.panel.identifier
        rows.append(
            f'<tr><td class="when">'
            f"{_link(moment(incident.start), identifier if identifier in drawn else None)}</td>"
            f'<td class="number">'
            f"{lasting(incident.end - incident.start + incident.panel.scored[0].step)}"
            f"{_deviation(incident)}</td>"
            f"<td>{escape(incident.panel.query)}"
            f'<span class="story">{escape(describe(incident.panel.series))}</span></td>'
            + "".join(_peak(incident, model, report.false_alarms) for model in models)
            + "</tr>"
        )
    more = (
        f" The {MOST_INCIDENTS} with the highest peaks of {len(incidents):,} are listed."
        if len(incidents) > MOST_INCIDENTS
        else ""
    )
    return (
        '<div class="table found-table"><table><thead>'
        '<tr><th>Start, UTC</th><th class="number">Lasts</th><th>Series</th>'
        f"{_heads(models)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="note">An incident: {rule}; less than {JOINED_WITHIN} points apart is one. '
        f"The numbers are the highest scores of each model.{more}</p>"
    )


def _deviation(incident: _Incident) -> str:
    """Return what the alarm with the highest peak looks like, of those of which it is known."""
    known = [alarm for alarm in incident.alarms if alarm.deviation]
    if not known:
        return ""
    worst = max(known, key=lambda alarm: alarm.peak)
    return f'<span class="story">{escape(worst.deviation or "")}</span>'


def _peak(incident: _Incident, model: str, false_alarms: frozenset[Alarm]) -> str:
    alarms = [alarm for alarm in incident.alarms if alarm.model == model]
    if not alarms:
        return f'<td class="number soft" data-label="{escape(model)}">-</td>'
    first = min(alarm.start for alarm in alarms)
    late = f"after {lasting(first - incident.start)}" if first > incident.start else ""
    if all(alarm in false_alarms for alarm in alarms):
        late = "false alarm"
    peak = max(alarm.peak for alarm in alarms)
    story = f'<span class="story">{late}</span>' if late else ""
    return f'<td class="number" data-label="{escape(model)}">{peak:.1f}{story}</td>'


def _heads(models: Sequence[str]) -> str:
    return "".join(f'<th class="number">{escape(model)}</th>' for model in models)


def _link(text: str, identifier: str | None) -> str:
    return f'<a href="#{identifier}">{escape(text)}</a>' if identifier else escape(text)


def _left_out(n_panels: int, n_shown: int) -> str:
    if n_panels == n_shown:
        return ""
    return (
        f'<p class="note">The {n_shown:,} with the highest scores of {n_panels:,} series are '
        "drawn.</p>"
    )


def _legend(report: Report, models: Sequence[str]) -> str:
    first, *others = models
    names = {"first": first, "others": ", ".join(others), "threshold": f"{report.threshold:g}"}
    entries = _LEGEND + (_LEGEND_OF_KNOWN if report.known else ())
    content = "".join(
        f'<span><svg viewBox="0 0 26 12" aria-hidden="true">{picture}</svg>'
        f"{escape(text.format(**names))}</span>"
        for picture, text in entries
        if others or "{others}" not in text
    )
    return f'<div class="legend">{content}</div>'


def moment(timestamp: int) -> str:
    """Return a time in UTC, to the minute.

    Examples
    --------
    >>> moment(1_780_272_000_000)
    'Mon 1 Jun 2026 00:00'
    """
    at = datetime.fromtimestamp(timestamp / 1000, UTC)
    return f"{at:%a} {at.day} {at:%b %Y %H:%M}"


def or_dash(value: float, text: Callable[[float], str]) -> str:
    """Return a number as text, a dash for NaN."""
    return "-" if np.isnan(value) else text(value)
