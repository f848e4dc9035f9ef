"""One pass over the data of a job, and the contract of what carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vmanomaly.context import RunContext
from vmanomaly.series import IntArray, TimeRange


@dataclass(frozen=True, slots=True)
class Run:
    """What one pass has to do: a fit, an infer, or a fit and then an infer.

    Attributes
    ----------
    fit : TimeRange or None
        The window the models learn from scratch.
    infer : TimeRange or None
        The range that is scored.
    micro_batch : int or None
        Milliseconds of data that an online model predicts with one state before it learns them;
        None for the step of the query.
    micro_batch_end : int
        A Unix time in milliseconds at which a micro-batch ends.
    refits : bool
        Whether a fit is for every model; otherwise only for those that wait for their first one.
    written_to : int or None
        The run replays what was done before: scores up to this Unix time in milliseconds are
        written already. None for a run that replays nothing.
    """

    fit: TimeRange | None
    infer: TimeRange | None
    micro_batch: int | None = None
    micro_batch_end: int = 0
    refits: bool = True
    written_to: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run.

    Attributes
    ----------
    fitted : bool
        The fit window was read. True as well when the run had none.
    inferred : bool
        The infer range was read. True as well when the run had none.
    reasons : tuple of str
        What failed, in words; empty if all went well.

    Examples
    --------
    >>> RunResult(fitted=False, inferred=True, reasons=("no connection",)).failed
    True
    """

    fitted: bool
    inferred: bool
    reasons: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether some part of the run failed."""
        return bool(self.reasons)


class Job(Protocol):
    """The work on the data of one query; a scheduler decides when and over which range."""

    @property
    def name(self) -> str:
        """What the job is called in logs."""
        ...

    def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
        """Carry out one run. Never raises for a failing datasource or model, nor when cancelled.

        Parameters
        ----------
        run
            What to do.
        context
            Says whether to stop, and counts every step.
        """
        ...

    def n_steps(self, run: Run) -> int:
        """Return how many steps the context will count."""
        ...

    def unlearned(self) -> Job:
        """Return the same job with models that have learned nothing."""
        ...


def micro_batch_starts(timestamps: IntArray, micro_batch: int, micro_batch_end: int) -> IntArray:
    """Return the column at which each micro-batch of a grid starts.

    Micro-batches are `micro_batch` long and end at `micro_batch_end` plus a multiple of it,
    wherever the grid was cut: a run that is late and covers several intervals finds the same ones
    as runs on time would have.

    Parameters
    ----------
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, ascending.
    micro_batch : int
        Length of a micro-batch in milliseconds.
    micro_batch_end : int
        Unix milliseconds.

    Returns
    -------
    ndarray of int64
        Ascending, the first is 0; empty when there are no timestamps.

    Examples
    --------
    >>> import numpy as np
    >>> micro_batch_starts(np.array([10, 20, 30, 40, 50]), micro_batch=20, micro_batch_end=0)
    array([0, 2, 4])
    """
    if timestamps.size == 0:
        return np.empty(0, np.int64)
    batch_of_timestamp = -((micro_batch_end - timestamps) // micro_batch)
    return np.concatenate(
        (np.zeros(1, np.int64), np.flatnonzero(np.diff(batch_of_timestamp)).astype(np.int64) + 1)
    )
