"""How well models of groups find labelled incidents: `python -m benchmarks.quality.groups`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.quality.labelled_groups import LabelledGroup, generate_groups, read_skab
from vmanomaly.config.model import INCIDENT_SCORE, ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.detector import create_detector
from vmanomaly.model.registry import create_multivariate_model
from vmanomaly.scheduler.run import micro_batch_starts
from vmanomaly.series import BoolArray, FloatArray

SCORES = ("anomaly_score", INCIDENT_SCORE)
APART = 12
"""Steps between two runs of false alarms that count as two."""
_WEEK = 7 * 86_400_000

HEADER = (
    f"{'':34}{'n':>4}{'found at 1.0':>14}{'F1 points':>11}{'FAR %':>8}{'false alarms/week':>19}"
)


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """The points of a group after its fit, by what is true and what a score above 1 says.

    Attributes
    ----------
    family : str
    found : tuple of bool
        For each incident, whether a point in it scores above 1.
    hits, false, missed, quiet : int
        Points: anomalous or not, above 1 or not.
    false_alarms : int
        Runs of false points.
    weeks : float
        The time scored.
    """

    family: str
    found: tuple[bool, ...]
    hits: int
    false: int
    missed: int
    quiet: int
    false_alarms: int
    weeks: float


def score_group(section: ModelSection, group: LabelledGroup) -> dict[str, FloatArray]:
    """Fit a model on the fit window of a group, and score the rest a step at a time; shape (T,).

    Raises
    ------
    RuntimeError
        The model failed on the group.
    """
    query = Query.model_validate({"alias": "group", "expr": "group", "step": f"{group.step}ms"})
    section = section.model_copy(update={"provide_series": SCORES})
    model = create_multivariate_model(section, [query])
    detector = create_detector(model, section, [query])
    present = group.batch(group.n_fit, len(group.timestamps))
    last = int(group.timestamps[group.n_fit - 1])
    learned, fitted = detector.fit([group.batch(0, group.n_fit)])
    starts = micro_batch_starts(present.timestamps, group.step, last)
    _, result = detector.infer(learned, [present], starts)
    for failure in (*fitted.failures, *result.failures):
        raise RuntimeError(f"{section.class_name} on {group.name}: {failure}")
    ((_, predictions),) = result.parts
    return {name: values[0] for name, values in predictions.outputs.items()}


def judge_group(group: LabelledGroup, scores: FloatArray) -> JudgedGroup:
    """Compare the scores after the fit with the labels."""
    alarmed, anomalous = scores > 1.0, group.anomalous[group.n_fit :]
    edges = np.flatnonzero(np.diff(anomalous, prepend=False, append=False)).reshape(-1, 2)
    false = np.flatnonzero(alarmed & ~anomalous)
    timestamps = group.timestamps[group.n_fit :]
    return JudgedGroup(
        group.family,
        tuple(bool(alarmed[first:stop].any()) for first, stop in edges),
        _count(alarmed & anomalous),
        len(false),
        _count(~alarmed & anomalous),
        _count(~alarmed & ~anomalous),
        int(len(false) > 0) + _count(np.diff(false) > APART),
        float(timestamps[-1] - timestamps[0]) / _WEEK,
    )


def _count(where: BoolArray) -> int:
    return int(np.count_nonzero(where))


def table(title: str, judged: Sequence[JudgedGroup]) -> Iterable[str]:
    """Yield a line for each family."""
    yield title
    for family in dict.fromkeys(item.family for item in judged):
        yield _line(family, [item for item in judged if item.family == family])


def _line(name: str, judged: Sequence[JudgedGroup]) -> str:
    found = [each for item in judged for each in item.found]
    hits, false, missed, quiet = (
        sum(getattr(item, part) for item in judged) for part in ("hits", "false", "missed", "quiet")
    )
    f1 = f"{2 * hits / (2 * hits + false + missed):.2f}" if hits + missed else "-"
    per_week = sum(item.false_alarms for item in judged) / sum(item.weeks for item in judged)
    return (
        f"  {name:32}{len(judged):4}{f'{sum(found)} of {len(found)}' if found else '-':>14}{f1:>11}"
        f"{100.0 * false / (false + quiet):8.1f}{per_week:19.2f}"
    )


def report(section: ModelSection, title: str, groups: Sequence[LabelledGroup]) -> Iterable[str]:
    """Yield the tables of all scores of a model."""
    outputs = [score_group(section, group) for group in groups]
    for score in SCORES:
        judged = [
            judge_group(group, of_group[score])
            for group, of_group in zip(groups, outputs, strict=True)
        ]
        yield from table(f"{title} {score}", judged)


def groups_of(skab: Path | None) -> list[LabelledGroup]:
    """Return the runs of SKAB where they are, and the groups made up."""
    if skab is None:
        return generate_groups()
    found = read_skab(skab)
    if not found:
        print(f"There is no SKAB in {skab}; set SKAB to its folder. Only generated groups are run.")
    return [*found, *generate_groups()]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.groups", description=__doc__
    )
    parser.add_argument(
        "models", nargs="*", default=["temporal_envelope_multivariate"], help="classes, or sections"
    )
    parser.add_argument("--skab", type=Path, help="folder of the Skoltech Anomaly Benchmark")
    arguments = parser.parse_args()
    groups = groups_of(arguments.skab)
    print(f"{len(groups)} groups\n\n{HEADER}")
    for text in arguments.models:
        raw = yaml.safe_load(text)
        raw = {"class": raw} if isinstance(raw, str) else raw
        section = MODELS[raw["class"]].section.model_validate(raw)
        print("\n".join(report(section, text, groups)), flush=True)


if __name__ == "__main__":
    main()
