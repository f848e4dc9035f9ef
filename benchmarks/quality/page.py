"""A page of plots: every series with a window missed or a false alarm, at a score above 1."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from math import nan

from benchmarks.figures.plot import Panel, draw
from benchmarks.quality.table import Judged
from vmanomaly.demo.incidents import Incident
from vmanomaly.report import Alarm, ScoredSeries
from vmanomaly.series import Labels


def render(title: str, judged: Sequence[Judged], score: str) -> str:
    """Return an HTML document without external resources, the worst series first."""
    worst = sorted(judged, key=_mistakes, reverse=True)
    sections = [
        _section(item, score, number) for number, item in enumerate(worst) if _mistakes(item)
    ]
    style = files("benchmarks.figures").joinpath("plot.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>Shaded: labelled windows. Below the values: {escape(score)} "
        "up to 3, dotted at 1. "
        f"{len(sections)} of {len(judged)} series have a window missed or a false alarm.</p>"
        + "".join(sections)
        + "</main></body></html>\n"
    )


def _mistakes(item: Judged) -> int:
    return item.alarms.delays.count(None) + len(item.alarms.false_alarms)


def _section(item: Judged, score: str, number: int) -> str:
    series, outputs = item.run.series, item.run.outputs
    labels = Labels({"family": series.family, "name": series.name})
    name = f"{series.source} {series.family} {series.name}"
    shown = {key: outputs[key] for key in ("y", "yhat", "yhat_lower", "yhat_upper")}
    scored = ScoredSeries(
        series.family,
        score,
        labels,
        item.run.timestamps,
        {"anomaly_score": outputs[score], **shown},
    )
    incidents = [
        Incident(
            f"{window.kind}{' (missed)' if delay is None else ''}",
            window.kind,
            "missed" if delay is None else "found",
            labels,
            window.start,
            window.end,
        )
        for window, delay in zip(series.windows, item.alarms.delays, strict=True)
    ]
    false = frozenset(
        Alarm(series.family, score, labels, begin, end, nan)
        for begin, end in item.alarms.false_alarms
    )
    panel = Panel([scored], incidents, sorted(false, key=lambda alarm: alarm.start), false, "")
    missed = item.alarms.delays.count(None)
    return (
        f"<section><h3>{escape(name)}</h3><p>{missed} of {len(series.windows)} windows missed, "
        f"{len(false)} false alarms</p>{draw(panel, f'plot-{number}')}</section>"
    )
