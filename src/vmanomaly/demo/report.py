"""The demo's report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

import numpy as np

from vmanomaly.demo.evaluate import (
    FOR,
    KEEP_FIRING_FOR,
    Finding,
    ModelEvaluation,
    ScoredSeries,
    concerns,
)
from vmanomaly.demo.incidents import Incident
from vmanomaly.demo.plot import Panel, draw
from vmanomaly.series import Labels

LEGEND = (
    ('<path class="y" d="M0 8L7 3 13 9 19 4 26 7"/>', "value"),
    (
        '<path class="band" d="M0 1H26V11H0Z"/><path class="yhat" d="M0 6H26"/>',
        "expected, {first}",
    ),
    ('<path class="other" d="M0 2H26M0 10H26"/>', "band of {others}"),
    ('<rect class="incident" width="26" height="12"/>', "planted incident"),
    ('<path class="anomaly" d="M13 6h0"/>', "value with a score above 1, {first}"),
    (
        (
            '<path class="calm" stroke-width="3" d="M5 12V8"/>'
            '<path class="high" stroke-width="3" d="M13 12V1"/>'
            '<path class="threshold" d="M0 6H26"/>'
        ),
        "anomaly score, up to 3; dotted: 1",
    ),
    ('<rect class="alarm" y="4" width="26" height="4"/>', "alarm that found it"),
    ('<rect class="false" x="1" y="4" width="24" height="4"/>', "false alarm"),
)


def render(
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    evaluations: Sequence[ModelEvaluation],
    units: Mapping[str, str],
) -> str:
    """Return the report as an HTML document without external resources.

    Parameters
    ----------
    scored
        What was written, one item for each query, model and series. At least one.
    incidents
        The truth.
    evaluations
        The comparison of the two, one per model.
    units
        The unit of a query's values by its alias; a query that is not there has none.
    """
    panels = _panels(scored, incidents, evaluations, units)
    first, *others = (evaluation.model for evaluation in evaluations)
    body = "".join(
        [
            _header(scored, incidents, evaluations),
            "<h2>Incidents</h2>",
            _table(incidents, evaluations),
            "<h2>Series</h2>",
            _legend(first, others),
            *(_section(panel, number) for number, panel in enumerate(panels)),
        ]
    )
    style = files("vmanomaly.demo").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>vmanomaly demo</title><style>\n{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def minutes(milliseconds: float) -> str:
    """Return a delay as people say it.

    Examples
    --------
    >>> minutes(120_000), minutes(5_400_000), minutes(7_200_000)
    ('2m', '1h 30m', '2h')
    """
    hours, rest = divmod(round(milliseconds / 60_000), 60)
    if not hours:
        return f"{rest}m"
    return f"{hours}h {rest}m" if rest else f"{hours}h"


def describe(series: Labels) -> str:
    """Return the label values that tell a person which series it is, without the metric.

    Examples
    --------
    >>> describe(Labels({"metric": "cpu", "service": "catalog", "instance": "catalog-1"}))
    'catalog-1'
    >>> describe(Labels({"metric": "http_requests", "service": "catalog", "instance": "all"}))
    'catalog'
    >>> describe(Labels({"host": "a", "disk": "sda"}))
    'sda, a'
    """
    if {"service", "instance"} <= series.keys():
        return series["service"] if series["instance"] == "all" else series["instance"]
    return ", ".join(value for name, value in series.items() if name != "metric")


def _panels(
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    evaluations: Sequence[ModelEvaluation],
    units: Mapping[str, str],
) -> list[Panel]:
    """Return the panels: those that found an incident by its time, then the others."""
    alarms = [alarm for evaluation in evaluations for alarm in evaluation.alarms]
    false = frozenset(alarm for evaluation in evaluations for alarm in evaluation.false_alarms)
    order = [evaluation.model for evaluation in evaluations]
    groups: dict[tuple[str, Labels], list[ScoredSeries]] = {}
    for item in scored:
        if np.isfinite(item.outputs["y"]).any():
            groups.setdefault((item.query, item.series), []).append(item)
    panels = []
    for (query, series), items in groups.items():
        panels.append(
            Panel(
                sorted(items, key=lambda item: order.index(item.model)),
                [
                    incident
                    for incident in incidents
                    if concerns(incident, series)
                    and incident.start <= items[0].timestamps[-1]
                    and incident.end >= items[0].timestamps[0]
                ],
                [alarm for alarm in alarms if (alarm.query, alarm.series) == (query, series)],
                false,
                units.get(query, ""),
            )
        )
    return sorted(panels, key=lambda panel: panel.incidents[0].start if panel.incidents else np.inf)


def _header(
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    evaluations: Sequence[ModelEvaluation],
) -> str:
    best = max(evaluations, key=lambda evaluation: evaluation.found)
    start = min(int(item.timestamps[0]) for item in scored)
    end = max(int(item.timestamps[-1]) for item in scored)
    series = len({(item.query, item.series) for item in scored})
    points = sum(int(np.isfinite(item.outputs["anomaly_score"]).sum()) for item in scored)
    figures = (
        (f"{best.found} of {len(incidents)}", f"incidents found by {best.model}"),
        (_or_dash(best.median_delay, minutes), "median delay of an alarm"),
        (
            _or_dash(best.false_alarms_per_series_day, "{:.3f}".format),
            "false alarms per series and day",
        ),
        (f"{points:,}", f"scores: {series} series, {len(evaluations)} models"),
    )
    cards = "".join(
        f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name in figures
    )
    return (
        "<h1>Anomalies of a small web shop</h1>"
        f'<p class="soft">vmanomaly demo. Synthetic telemetry with incidents whose truth is known; '
        f"scored point by point, {_moment(start)} to {_moment(end)} UTC.</p>"
        f'<div class="figures">{cards}</div>'
    )


def _table(incidents: Sequence[Incident], evaluations: Sequence[ModelEvaluation]) -> str:
    models = "".join(
        f'<th class="number">{escape(evaluation.model)}</th>' for evaluation in evaluations
    )
    rows = "".join(
        f"<tr><td>{escape(incident.name)}"
        f'<span class="story">{escape(incident.story)}</span></td>'
        f"<td>{escape(describe(incident.series))}"
        f'<span class="story">{escape(incident.series.get("metric", ""))}</span></td>'
        f'<td class="when">{_moment(incident.start)}'
        f'<span class="story">for {minutes(incident.end - incident.start)}</span></td>'
        + "".join(_cell(evaluation.findings[row]) for evaluation in evaluations)
        + "</tr>"
        for row, incident in enumerate(incidents)
    )
    totals = "".join(
        f'<td class="number">{evaluation.found} of {len(incidents)}'
        f'<span class="story">{len(evaluation.false_alarms)} false alarms</span></td>'
        for evaluation in evaluations
    )
    return (
        '<div class="table"><table><thead>'
        f"<tr><th>Incident</th><th>Series</th><th>Start, UTC</th>{models}</tr></thead>"
        f"<tbody>{rows}</tbody>"
        f'<tfoot><tr><td colspan="3">Found</td>{totals}</tr></tfoot></table></div>'
        '<p class="note">An alarm is the rule <code>anomaly_score &gt; 1</code>, '
        f"<code>for: {minutes(FOR)}</code>, "
        f"<code>keep_firing_for: {minutes(KEEP_FIRING_FOR)}</code>. "
        "It finds an incident when it fires on its series while the incident lasts, and is false "
        "when no incident of the last hour explains it.</p>"
    )


def _cell(finding: Finding) -> str:
    peak = f"max score {_or_dash(finding.max_score, '{:.1f}'.format)}"
    if finding.delay is None:
        name, text = "missed", "missed"
    else:
        name, text = "found", f"after {minutes(finding.delay)}"
    return f'<td class="number"><b class="{name}">{text}</b><span class="story">{peak}</span></td>'


def _legend(first: str, others: Sequence[str]) -> str:
    entries = "".join(
        f"<span><svg viewBox='0 0 26 12'>{picture}</svg>"
        f"{escape(text.format(first=first, others=', '.join(others)))}</span>"
        for picture, text in LEGEND
        if others or "{others}" not in text
    )
    return f'<div class="legend">{entries}</div>'


def _section(panel: Panel, number: int) -> str:
    item = panel.scored[0]
    pairs = ", ".join(f'{name}="{value}"' for name, value in item.series.items())
    return (
        f'<section class="panel"><header><h3>{escape(item.query)} · '
        f'{escape(describe(item.series))}</h3><code class="labels">{{{escape(pairs)}}}</code>'
        f"</header>{draw(panel, f'p{number}')}</section>"
    )


def _moment(timestamp: int) -> str:
    moment = datetime.fromtimestamp(timestamp / 1000, UTC)
    return f"{moment:%a} {moment.day} {moment:%b} {moment:%H:%M}"


def _or_dash(value: float, text: Callable[[float], str]) -> str:
    return "-" if np.isnan(value) else text(value)
