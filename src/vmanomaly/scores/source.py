"""Where the scores of a run are read from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vmanomaly.config.model.base import DRIFT, DRIFT_SCORE, FLATLINE_SCORE
from vmanomaly.context import RunContext
from vmanomaly.report import ScoredSeries
from vmanomaly.report.contents import ANOMALY_SCORE, INCIDENT_SCORE
from vmanomaly.report.contents import OUTPUTS as SHOWN
from vmanomaly.scores.above import Above, ScoreFilter, Scorer
from vmanomaly.series import Labels, TimeRange

SCORES = (INCIDENT_SCORE, ANOMALY_SCORE)
"""The outputs that tell incidents: the second where the first is not written."""

EVIDENCE = (FLATLINE_SCORE, DRIFT_SCORE)
"""The outputs of which the incident score is made in addition to the anomaly score."""

OUTPUTS = (*SHOWN, *EVIDENCE, DRIFT)
"""The outputs that are read of a series."""

ALIASES = ("model_alias", "scheduler_alias", "preset")
"""The labels of a written series that tell whose it is, next to the one that names the query."""

MOST_SERIES = 10_000
"""Series with scores above the threshold that are read."""

MOST_POINTS = 5_000_000
"""Points in a matrix of scores."""


class ScoreSource(Protocol):
    """What a run has written."""

    @property
    def name(self) -> str:
        """Where that is, without credentials."""
        ...

    def last_timestamp(self, context: RunContext) -> int | None:
        """Return the newest timestamp; None where only the clock can tell it.

        Raises
        ------
        DatasourceError
            The scores cannot be read.
        """
        ...

    def above(
        self,
        window: TimeRange,
        step: int,
        threshold: float,
        wanted: ScoreFilter,
        context: RunContext,
    ) -> Above:
        """Return the scores above a threshold.

        Parameters
        ----------
        window
            After its start, up to and including its end.
        step
            Length of the intervals whose highest score is returned, milliseconds; not shorter
            than the distance of the points.
        threshold
            Scores up to and including it are left out.
        wanted
            Which series.
        context
            May stop the work.

        Raises
        ------
        DatasourceError
            The scores cannot be read, or there are too many.
        CancelledError, DeadlineExceededError
            As the context says.
        """
        ...

    def outputs(
        self, scorer: Scorer, window: TimeRange, step: int, context: RunContext
    ) -> ScoredSeries | None:
        """Return what a model wrote about a series, a point every `step` milliseconds.

        Errors are those of `above`. None where there is nothing.
        """
        ...


def name_pattern(metric_format: Mapping[str, str], outputs: tuple[str, ...]) -> str:
    r"""Return a regular expression of the names under which outputs are written.

    Parameters
    ----------
    metric_format
        As the writer's.
    outputs
        Their names.

    Examples
    --------
    >>> name_pattern({"__name__": "vm.$QUERY_KEY.$VAR"}, ("yhat", "y"))
    'vm\\..+\\.(yhat|y)'
    """
    template = metric_format.get("__name__", "$VAR")
    parts = []
    while template:
        head, found, rest = _first_placeholder(template)
        parts.append(_escaped(head))
        if found:
            parts.append(f"({'|'.join(outputs)})" if found == "$VAR" else ".+")
        template = rest
    return "".join(parts)


def query_label(metric_format: Mapping[str, str]) -> str | None:
    """Return the label that names the query; None where there is none.

    Examples
    --------
    >>> query_label({"__name__": "$VAR", "for": "$QUERY_KEY"})
    'for'
    """
    names = (name for name, value in metric_format.items() if value == "$QUERY_KEY")
    return next((name for name in names if name != "__name__"), None)


def output_labels(metric_format: Mapping[str, str]) -> list[str]:
    """Return the labels that differ from output to output.

    Examples
    --------
    >>> output_labels({"__name__": "$VAR", "for": "$QUERY_KEY", "part": "of $VAR"})
    ['part']
    """
    return [name for name, text in metric_format.items() if "$VAR" in text and name != "__name__"]


def series_of(labels: Mapping[str, str], metric_format: Mapping[str, str]) -> Labels:
    """Return the labels of a written series that the query gave it.

    Examples
    --------
    >>> series_of({"for": "cpu", "model_alias": "m", "host": "a"}, {"for": "$QUERY_KEY"})
    {host="a"}
    """
    own = {"__name__", *ALIASES, query_label(metric_format), *output_labels(metric_format)}
    return Labels({name: value for name, value in labels.items() if name not in own})


def _first_placeholder(template: str) -> tuple[str, str, str]:
    at = [(template.find(each), each) for each in ("$VAR", "$QUERY_KEY") if each in template]
    if not at:
        return template, "", ""
    start, found = min(at)
    return template[:start], found, template[start + len(found) :]


def _escaped(text: str) -> str:
    return "".join(each if each.isalnum() or each in "_:" else f"\\{each}" for each in text)
