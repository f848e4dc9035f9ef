"""Figures of quality, by source and family, for one score of one model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.alarms import Alarms, alarms_of
from benchmarks.quality.labelled import inside
from benchmarks.quality.nab_score import PROFILES, STANDARD, Scored, best_threshold, nab_score
from benchmarks.quality.run import Run
from benchmarks.quality.vus_pr import longest_buffer, vus_pr

HEADER = (
    f"{'':34}{'':5}{'VUS':>6} | {'NAB at best threshold':^22} | {'NAB at 1.0':^22} | "
    f"{'found at 1.0':>12} {'delay':>7} {'false alarms':>14}\n"
    f"{'':34}{'n':>5}{'PR':>6} | {'std':>6} {'low FP':>7} {'low FN':>7} | "
    f"{'std':>6} {'low FP':>7} {'low FN':>7} | "
    f"{'windows':>12} {'median':>7} {'/day':>6} {'/week':>7}"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One score of one series against its labels."""

    run: Run
    scored: Scored
    vus_pr: float
    alarms: Alarms


def judge(run: Run, score: str) -> Judged:
    """Compare one score of a run with the labels."""
    series = run.series
    present = np.isfinite(run.outputs[score])
    timestamps, scores = run.timestamps[present], run.outputs[score][present]
    labels = inside(timestamps, series.windows)
    columns = [
        np.flatnonzero((timestamps >= window.start) & (timestamps <= window.end))
        for window in series.windows
    ]
    spans = tuple((int(span[0]), int(span[-1])) for span in columns if span.size)
    volume = np.nan
    if labels.any():
        volume = vus_pr(labels, scores, longest_buffer(series.values[np.isfinite(series.values)]))
    return Judged(run, Scored(scores, spans), volume, alarms_of(series, timestamps, scores))


def table(title: str, judged: Sequence[Judged]) -> Iterable[str]:
    """Yield a line for each source and each of its families.

    The best threshold is one for all series of a source, as NAB has it.
    """
    yield title
    for source in dict.fromkeys(item.run.series.source for item in judged):
        members = [item for item in judged if item.run.series.source == source]
        best = [best_threshold([item.scored for item in members], p)[0] for p in PROFILES]
        families = dict.fromkeys(item.run.series.family for item in members)
        for family in families:
            of_family = [item for item in members if item.run.series.family == family]
            yield _line(f"  {source} {family}", of_family, best)
        if len(families) > 1:
            yield _line(f"  {source}, all", members, best)


def kinds(judged: Sequence[Judged]) -> Iterable[str]:
    """Yield a line for each kind of window: how many were found at 1.0, and how late."""
    by_kind: dict[str, list[tuple[int | None, int]]] = {}
    for item in judged:
        series = item.run.series
        for window, delay in zip(series.windows, item.alarms.delays, strict=True):
            by_kind.setdefault(window.kind, []).append((delay, series.step))
    for kind, delays in sorted(by_kind.items()):
        found = [delay / step for delay, step in delays if delay is not None]
        late = f"{np.median(found):.0f} steps" if found else "-"
        yield f"  {kind:32}{len(found):4} of {len(delays):3}, median delay {late}"


def _line(name: str, judged: Sequence[Judged], best: Sequence[float]) -> str:
    scored = [item.scored for item in judged]
    volumes = [item.vus_pr for item in judged if np.isfinite(item.vus_pr)]
    volume = float(np.mean(volumes)) if volumes else np.nan
    delays = [delay for item in judged for delay in item.alarms.delays]
    found = [delay for delay in delays if delay is not None]
    false_alarms = sum(len(item.alarms.false_alarms) for item in judged)
    days = sum(item.alarms.days for item in judged)
    at_best = [nab_score(scored, p, t) for p, t in zip(PROFILES, best, strict=True)]
    above_1 = float(np.nextafter(1.0, 2.0))
    at_1 = [nab_score(scored, profile, above_1) for profile in PROFILES]
    return (
        f"{name:34}{len(judged):5}{_number(volume, 6, 3)} | "
        f"{_number(at_best[0], 6)} {_number(at_best[1], 7)} {_number(at_best[2], 7)} | "
        f"{_number(at_1[0], 6)} {_number(at_1[1], 7)} {_number(at_1[2], 7)} | "
        f"{f'{len(found)} of {len(delays)}':>12} {_duration(found):>7} "
        f"{false_alarms / days:6.2f} {7 * false_alarms / days:7.2f}"
    )


def _number(value: float, width: int, digits: int = 1) -> str:
    return f"{value:{width}.{digits}f}" if np.isfinite(value) else f"{'-':>{width}}"


def _duration(delays: Sequence[int]) -> str:
    if not delays:
        return "-"
    hours = float(np.median(delays)) / 3_600_000
    return f"{hours * 60:.0f}m" if hours < 1 else f"{hours:.1f}h"


def summary(judged: Sequence[Judged], source: str) -> dict[str, float]:
    """Return the few figures that designs are compared by."""
    members = [item for item in judged if item.run.series.source == source]
    scored = [item.scored for item in members]
    days = sum(item.alarms.days for item in members)
    return {
        "VUS-PR": float(np.nanmean([item.vus_pr for item in members])),
        "NAB": best_threshold(scored, STANDARD)[1],
        "NAB at 1": nab_score(scored, STANDARD, float(np.nextafter(1.0, 2.0))),
        "false alarms/week": 7 * sum(len(item.alarms.false_alarms) for item in members) / days,
    }
