"""Tuning one configuration of a class on series that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmanomaly.config.loading.build import POLICIES
from vmanomaly.config.reader import Query
from vmanomaly.config.spec import dump_yaml, written_value
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.mappings import merged
from vmanomaly.context import RunContext
from vmanomaly.series import SeriesBatch
from vmanomaly.tasks.autotune import Read, Suggestion, read_autotune, suggest
from vmanomaly.tasks.task import Note
from vmanomaly.tuning import Evaluation
from vmanomaly.tuning.report import summary


@dataclass(frozen=True)
class Tuning:
    """One configuration of a class for some series.

    Attributes
    ----------
    model : str
        The class.
    settings : dict
        Its keys, tuned and given, to pass to `detect`; all others have their defaults.
    evaluation, defaults : Evaluation
        How good they are, and how good the defaults of the class are: `share` of the points with
        a score above 1, `loss` and `violation`.
    n_trials : int
        How many parameter sets were tried.
    stopped_by : str
        `n_trials`, `timeout`, `space` or `data`.
    took_s : float
        Seconds.
    profile : dict
        What the series are like.
    n_series, n_points : int
        What it was tuned on.
    text : str
        All of that in one line.
    """

    model: str
    settings: dict[str, Any]
    evaluation: Evaluation
    defaults: Evaluation
    n_trials: int
    stopped_by: str
    took_s: float
    profile: Mapping[str, Any] = field(repr=False)
    n_series: int
    n_points: int
    text: str = field(repr=False)

    def __str__(self) -> str:
        """Say in one line what was found."""
        return f"{self.model}: {self.text}"

    def yaml(self) -> str:
        """Return the section `models` of a configuration, and what was done as comments.

        Policies are a comment too: they belong on the query.
        """
        keys = {key: value for key, value in self.settings.items() if key not in POLICIES}
        policies = {key: self.settings[key] for key in POLICIES if key in self.settings}
        spec = {"class": self.model, **keys}
        comments = [f"Tuned on {self.n_series} series, {self.n_points:,} points: {self.text}"]
        if policies:
            comments.append("On the query:")
            comments += [f"  {line}" for line in dump_yaml(written_value(policies)).splitlines()]
        head = "".join(f"# {line}\n" for line in comments)
        return head + dump_yaml({"models": {"tuned": written_value(spec)}})


def tune_batch(
    batch: SeriesBatch,
    step: Duration,
    model: str,
    optimization: Mapping[str, Any],
    frozen: Mapping[str, Any] | None = None,
    tz: str = "UTC",
    context: RunContext | None = None,
    note: Note = lambda share, message, counts: None,
) -> Tuning:
    """Find one configuration of a class for some series.

    Parameters
    ----------
    batch
        The series.
    step
        Milliseconds between two points.
    model
        The class.
    optimization
        As `optimization_params` of the model `auto`.
    frozen
        Keys of the class, and policies, that stay as they are given.
    tz
        IANA name of the zone of calendar patterns.
    context
        May stop the work.
    note
        Told how far it is.

    Raises
    ------
    ConfigError
        Model or settings are wrong.
    TaskError
        There are no series.
    StoppedError
        As the context says.
    """
    query = Query(alias="data", expr="data", step=step, tz=tz)
    given = [(batch, len(batch.labels))]
    return tune_queries([query], lambda _: given, model, optimization, frozen, context, note)


def tune_queries(
    queries: Sequence[Query],
    read: Read,
    model: str,
    optimization: Mapping[str, Any],
    frozen: Mapping[str, Any] | None = None,
    context: RunContext | None = None,
    note: Note = lambda share, message, counts: None,
) -> Tuning:
    """Find one configuration for the series of some queries; otherwise as `tune_batch`.

    Parameters
    ----------
    queries
        In one time zone.
    read
        Reads them.
    model, optimization, frozen, context, note
        As for `tune_batch`.
    """
    asked = read_autotune(model, optimization, frozen or {}, queries, timezone=queries[0].tz)
    n_points = 0

    def noted(share: float, message: str, counts: Mapping[str, int]) -> None:
        nonlocal n_points
        n_points = counts["points"]
        note(share, message, counts)

    found = suggest(asked, read, context, noted)
    return _tuning(found, asked.frozen, n_points)


def _tuning(found: Suggestion, frozen: Mapping[str, Any], n_points: int) -> Tuning:
    outcome = found.outcome
    return Tuning(
        model=found.model.class_name,
        settings=merged(outcome.parameters, frozen),
        evaluation=outcome.evaluation,
        defaults=outcome.defaults,
        n_trials=outcome.n_trials,
        stopped_by=outcome.stopped_by,
        took_s=outcome.took_s,
        profile=found.profile,
        n_series=found.n_series,
        n_points=n_points,
        text=summary(outcome),
    )
