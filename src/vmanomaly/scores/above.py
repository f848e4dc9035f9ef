"""The scores above the threshold, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vmanomaly.series import FloatArray, IntArray, Labels


@dataclass(frozen=True, slots=True)
class Scorer:
    """A series, and the model that scores it.

    Attributes
    ----------
    query, model, scheduler, preset : str
        Aliases in the configuration that wrote the scores; empty where they were not written.
    series : Labels
        The labels that the query gave the series.
    """

    query: str
    model: str
    scheduler: str
    preset: str
    series: Labels


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which scores are wanted: those that have all of these values.

    Attributes
    ----------
    query, model, scheduler, preset : str or None
        Aliases; None for any.
    series : mapping of str to str
        Labels of the series.
    """

    query: str | None = None
    model: str | None = None
    scheduler: str | None = None
    preset: str | None = None
    series: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Above:
    """The scores above the threshold in a window.

    Attributes
    ----------
    scorers : list of Scorer
        S of them, each with at least one score above the threshold.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC, ascending: the ends of intervals of equal length.
    scores : ndarray of float64, shape (S, T)
        The highest score of each interval; NaN where none was above the threshold.
    n_scored : int
        How many series are scored at all, each by each model.
    universal : Labels
        Those labels of the S series that all scored series have: they tell nothing apart.
    """

    scorers: list[Scorer]
    timestamps: IntArray
    scores: FloatArray
    n_scored: int
    universal: Labels


def shared_labels(series: Iterable[Mapping[str, str]]) -> Labels:
    """Return the labels that some series have in common; none of no series.

    Examples
    --------
    >>> shared_labels([{"host": "a", "job": "node"}, {"host": "b", "job": "node"}])
    {job="node"}
    """
    shared: Mapping[str, str] | None = None
    for each in series:
        if shared is None:
            shared = each
        else:
            shared = {name: value for name, value in shared.items() if each.get(name) == value}
    return Labels(shared or {})
