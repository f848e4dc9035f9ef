"""What tuning gains over the defaults: `python -m benchmarks.quality.tuning FILE...`.

Every series of the files is tuned by itself on its first two thirds, as the model `auto` does. The
table says in how many series the parameters found are better than, equal to or worse than the
defaults: in the objective of the search, where worse is a failure, and on the last third, which the
search has not seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.reader import Query
from vmanomaly.config.tuned import tuned_section
from vmanomaly.context import RunContext
from vmanomaly.series import SeriesBatch
from vmanomaly.tables import guess_layout, read_files, to_batch
from vmanomaly.tuning import Evaluation, Outcome, Sample, tune
from vmanomaly.tuning.objective import evaluate
from vmanomaly.tuning.spaces import Facts, space_of
from vmanomaly.tuning.splits import Fold, split

CLASSES = (
    "zscore_online",
    "mad_online",
    "quantile_online",
    "rolling_quantile",
    "std",
    "temporal_envelope",
)


@dataclass
class Tally:
    """How often tuned parameters were better, equal, or worse."""

    better: int = 0
    equal: int = 0
    worse: list[str] = field(default_factory=list)

    def count(self, name: str, tuned: Evaluation, defaults: Evaluation) -> None:
        if not (tuned.is_judged and defaults.is_judged) or tuned.rank == defaults.rank:
            self.equal += 1
        elif tuned.rank < defaults.rank:
            self.better += 1
        else:
            self.worse.append(name)

    def __str__(self) -> str:
        return f"{self.better} / {self.equal} / {len(self.worse)}"


def series_of(files: list[str]) -> Iterator[tuple[str, Query, SeriesBatch]]:
    """Yield the name, the query and the batch of each series of some files."""
    for file in files:
        table = read_files([file])
        gridded = to_batch(table, guess_layout(table), "UTC", None)
        query = Query(alias="q", expr="q", step=gridded.step)
        for row, labels in enumerate(gridded.batch.labels):
            yield f"{file}{labels}", query, gridded.batch.keep([row])


def tune_one(section: AutoSection, query: Query, batch: SeriesBatch) -> Outcome:
    """Tune a class on one series."""
    params, sample = section.optimization_params, Sample([query], [batch])
    folds = split(sample.n_columns, params.n_splits, params.validation_scheme, 3.0)
    n_points = min(fold.n_fit for fold in folds)
    facts = Facts(int(query.step), n_points, limit=params.anomaly_percentage)
    space = space_of(section.tuned_class_name, facts, section.frozen)
    return tune(lambda chosen: tuned_section(section, chosen), sample, space, params)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.tuning")
    parser.add_argument("files", nargs="+", help="CSV, Parquet or JSON lines")
    parser.add_argument("--models", nargs="+", default=CLASSES, help="classes")
    parser.add_argument("--n-trials", type=int, default=32)
    parser.add_argument("--anomaly-percentage", type=float, default=0.01)
    parser.add_argument("--n-splits", type=int, default=3)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args()
    every = list(series_of(options.files))
    print(f"{len(every)} series, {options.n_trials} trials each; better / equal / worse\n")
    print("| class | objective | last third | violation | loss, ratio | s per series |")
    print("|---|---|---|---|---|---|")
    worse: list[str] = []
    for class_name in options.models:
        section = read_model_spec(
            {
                "class": "auto",
                "tuned_class_name": class_name,
                "optimization_params": {
                    "n_trials": options.n_trials,
                    "anomaly_percentage": options.anomaly_percentage,
                    "n_splits": options.n_splits,
                    "exact": options.exact,
                },
            }
        )
        assert isinstance(section, AutoSection)
        own, held_out, outcomes = Tally(), Tally(), []
        for name, query, batch in every:
            n = len(batch.timestamps)
            first = 2 * n // 3
            outcome = tune_one(section, query, batch.columns(0, first))
            outcomes.append(outcome)
            own.count(name, outcome.evaluation, outcome.defaults)

            def on_the_rest(
                inside: ModelSection,
                query: Query = query,
                batch: SeriesBatch = batch,
                fold: Fold = Fold(0, n, first, n),  # noqa: B008
            ) -> Evaluation:
                limit = options.anomaly_percentage
                sample = Sample([query], [batch])
                return evaluate(inside, sample, [fold], limit, True, RunContext())

            held_out.count(
                name,
                on_the_rest(tuned_section(section, outcome.parameters)),
                on_the_rest(tuned_section(section)),
            )
        worse += own.worse
        print(f"| `{class_name}` | {own} | {held_out} | {_figures(outcomes)} |", flush=True)
    for name in worse:
        print(f"worse than the defaults: {name}", file=sys.stderr)
    return 1 if worse else 0


def _figures(outcomes: list[Outcome]) -> str:
    judged = [outcome for outcome in outcomes if outcome.defaults.is_judged]
    if not judged:
        return "no point was judged | |"
    before = np.mean([outcome.defaults.violation for outcome in judged])
    after = np.mean([outcome.evaluation.violation for outcome in judged])
    ratio = np.median([outcome.evaluation.loss / outcome.defaults.loss for outcome in judged])
    took = np.mean([outcome.took_s for outcome in outcomes])
    return f"{100 * before:.2f} % to {100 * after:.2f} % | {ratio:.2f} | {took:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
