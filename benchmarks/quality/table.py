"""Figures of quality, by source and family, for one score of one model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.alarms import THRESHOLDS, Alarms, alarms_of, event_f1
from benchmarks.quality.labelled import inside
from benchmarks.quality.nab_score import STANDARD, Scored, best_threshold, nab_score
from benchmarks.quality.run import Run
from benchmarks.quality.vus_pr import longest_buffer, vus_pr

HEADER = (
    f"{'':34}{'':5}{'event F1':^11} | {'NAB score':^13} |{'VUS':>6} | "
    f"{'found at 1.0':>13} {'delay':>7} {'false alarms/week':>18}\n"
    f"{'':34}{'n':>5}{'1.0':>5} {'best':>5} | {'1.0':>6} {'best':>6} |{'PR':>6} | "
    f"{'windows':>13} {'median':>7} {'mean':>9} {'worst':>8}"
)
ABOVE_1 = float(np.nextafter(1.0, 2.0))


@dataclass(frozen=True, slots=True)
class Judged:
    """One score of one series against its labels."""

    run: Run
    scored: Scored
    vus_pr: float
    alarms: Alarms
    at_thresholds: tuple[Alarms, ...]


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
    return Judged(
        run,
        Scored(scores, spans),
        volume,
        alarms_of(series, timestamps, scores),
        tuple(alarms_of(series, timestamps, scores, threshold) for threshold in THRESHOLDS),
    )


def table(title: str, judged: Sequence[Judged]) -> Iterable[str]:
    """Yield a line for each source and each of its families.

    The best threshold is one for all series of a source, as NAB has it.
    """
    yield title
    for source in dict.fromkeys(item.run.series.source for item in judged):
        members = [item for item in judged if item.run.series.source == source]
        best_nab, _ = best_threshold([item.scored for item in members], STANDARD)
        best = int(np.argmax([_event_f1_at(members, i) for i in range(len(THRESHOLDS))]))
        families = dict.fromkeys(item.run.series.family for item in members)
        for family in families:
            of_family = [item for item in members if item.run.series.family == family]
            yield _line(f"  {source} {family}", of_family, best, best_nab)
        if len(families) > 1:
            yield _line(f"  {source}, all", members, best, best_nab)


def _event_f1_at(judged: Sequence[Judged], index: int) -> float:
    return event_f1([item.at_thresholds[index] for item in judged])


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


def _line(name: str, judged: Sequence[Judged], best: int, best_nab: float) -> str:
    scored = [item.scored for item in judged]
    alarms = [item.alarms for item in judged]
    volumes = [item.vus_pr for item in judged if np.isfinite(item.vus_pr)]
    volume = float(np.mean(volumes)) if volumes else np.nan
    delays = [delay for item in alarms for delay in item.delays]
    found = [delay for delay in delays if delay is not None]
    weekly = [item.false_per_week for item in alarms]
    return (
        f"{name:34}{len(judged):5}{_number(event_f1(alarms), 5, 2)} "
        f"{_number(_event_f1_at(judged, best), 5, 2)} | "
        f"{_number(nab_score(scored, STANDARD, ABOVE_1), 6)} "
        f"{_number(nab_score(scored, STANDARD, best_nab), 6)} |{_number(volume, 6, 3)} | "
        f"{f'{len(found)} of {len(delays)}':>13} {_duration(found):>7} "
        f"{np.mean(weekly):9.2f} {max(weekly):8.2f}"
    )


def _number(value: float, width: int, digits: int = 1) -> str:
    return f"{value:{width}.{digits}f}" if np.isfinite(value) else f"{'-':>{width}}"


def _duration(delays: Sequence[int]) -> str:
    if not delays:
        return "-"
    hours = float(np.median(delays)) / 3_600_000
    return f"{hours * 60:.0f}m" if hours < 1 else f"{hours:.1f}h"
