"""The result of a fit or an infer: predictions, what was left out, and what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vmanomaly.errors import StoppedError
from vmanomaly.failures import as_remote, kind_of, reason_of
from vmanomaly.model.grouping import Channel, Mismatch
from vmanomaly.series import Labels, Predictions

_REASONS_SHOWN = 3


class Part(NamedTuple):
    """Predictions, and what they are about.

    Attributes
    ----------
    query : str or None
        Alias of the query whose channels they are about; None if they are about the series, or the
        groups, that the model scores.
    predictions : Predictions
    """

    query: str | None
    predictions: Predictions


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was read but neither learned nor scored.

    Attributes
    ----------
    unknown : tuple of Labels
        Series that a model which is not online was not fitted on.
    mismatches : tuple of Mismatch
        Groups whose channels are not those of the fit.
    ungrouped : tuple of Channel
        Series that lack a label of `groupby`.
    groupby : tuple of str
        These labels.
    skipped : mapping of Labels to str
        Series or groups that could not be fitted for want of data, with the reason.

    Examples
    --------
    >>> print(LeftOut(unknown=(Labels({"cpu": "0"}),)))
    1 series not present at the fit
    """

    unknown: tuple[Labels, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    ungrouped: tuple[Channel, ...] = ()
    groupby: tuple[str, ...] = ()
    skipped: Mapping[Labels, str] = field(default_factory=dict)

    @property
    def n_skipped(self) -> int:
        """The series and groups that wait for another fit, or for their channels."""
        return len(self.unknown) + len(self.mismatches) + len(self.skipped)

    def __str__(self) -> str:
        """Say why what `n_skipped` counts is left out; empty if there is none."""
        reasons = [f"{len(self.unknown)} series not present at the fit"] if self.unknown else []
        if self.mismatches:
            reasons.append(str(self.mismatches[0]))
        if len(self.mismatches) > 1:
            reasons.append(f"and {len(self.mismatches) - 1} more groups")
        for reason, n in Counter(self.skipped.values()).most_common(_REASONS_SHOWN):
            first = next(labels for labels, each in self.skipped.items() if each == reason)
            reasons.append(f"{first}{f' and {n - 1} more' if n > 1 else ''}: {reason}")
        return "; ".join(reasons)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a model failed on some series or groups.

    In a pickle, the exception becomes a `RemoteError`, since not every exception can be rebuilt.

    Attributes
    ----------
    error : BaseException
        What was raised for the first of them.
    labels : tuple of Labels
        The series or groups for which the same line of code raised the same type.

    Examples
    --------
    >>> print(Failure(ValueError("no samples"), (Labels({"cpu": "0"}), Labels({"cpu": "1"}))))
    {cpu="0"} and 1 more: ValueError: no samples
    """

    error: BaseException
    labels: tuple[Labels, ...]

    def __str__(self) -> str:
        return f"{self.whose}: {reason_of(self.error)}"

    @property
    def whose(self) -> str:
        """The first of the series or groups, and how many more there are."""
        more = f" and {len(self.labels) - 1} more" if len(self.labels) > 1 else ""
        return f"{self.labels[0]}{more}"

    def __reduce__(self) -> tuple[object, ...]:
        return Failure, (as_remote(self.error), self.labels)


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a fit.

    Attributes
    ----------
    failures : tuple of Failure
        Of single series or groups; the others are fitted.
    left_out : LeftOut
        What was not learned.
    n_valid_points : int
        The valid points that there were to learn.
    """

    failures: tuple[Failure, ...]
    left_out: LeftOut
    n_valid_points: int


@dataclass(frozen=True, slots=True)
class InferResult:
    """The result of an infer.

    Attributes
    ----------
    parts : tuple of Part
        The predictions.
    failures : tuple of Failure
        Of single series or groups; the others are scored.
    left_out : LeftOut
        What was not scored.
    n_series : int
        The series or groups that were scored, those that failed included.
    n_valid_points : int
        Their valid points.
    n_scored_points : int
        The valid points that were scored, each once, however many outputs there are of it. A
        group that is scored at a timestamp scores the points of all its channels.
    stopped : StoppedError or None
        Why the infer stopped before it was done. What it has scored until then is here, and is
        learned; the other series are as if nothing had happened.
    """

    parts: tuple[Part, ...]
    failures: tuple[Failure, ...]
    left_out: LeftOut
    n_series: int
    n_valid_points: int
    n_scored_points: int
    stopped: StoppedError | None = None


def failures_of(errors: Mapping[Labels, BaseException]) -> tuple[Failure, ...]:
    """Merge failures of the same type from the same line of code."""
    kinds: dict[object, list[Labels]] = {}
    for labels, error in errors.items():
        kinds.setdefault(kind_of(error), []).append(labels)
    return tuple(Failure(errors[failed[0]], tuple(failed)) for failed in kinds.values())
