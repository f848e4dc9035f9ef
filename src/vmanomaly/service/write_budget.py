"""How often states may be written: seldom enough for the disk, and small ones more often."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from vmanomaly.series import JobKey

BYTES_PER_DAY = 50_000_000_000
"""The bytes of states that a process writes in a day, at most."""

BYTES_PER_RUN = 18_000
"""What the progress of a job takes on the disk at the end of each run, measured with ext4."""

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class _Cost:
    n_bytes: int
    fit_every: int
    infer_every: int

    @property
    def root(self) -> float:
        return math.sqrt(self.n_bytes)

    @property
    def of_fits(self) -> float:
        """The bytes per millisecond of states that are stored after every fit."""
        return self.n_bytes / self.fit_every

    @property
    def of_runs(self) -> float:
        """The bytes per millisecond of the index, which is written after every run."""
        return BYTES_PER_RUN / self.infer_every


class WriteBudget:
    r"""Shares among jobs the bytes that may be written in a day. Safe to use from several threads.

    A job whose states take :math:`s` bytes is given the interval

    .. math::

        T = \sqrt{s} \cdot \frac{\sum \sqrt{s}}{B}

    with the sum over all jobs. Then :math:`\sum s / T = B`, and no other intervals with the same
    sum have a lower mean: a small state next to a large one is written more often.

    Every fit is stored as well, in addition, unless it comes more often than :math:`T`; `B` is what
    fits leave of the bytes for states :math:`R`, or half of it if they leave less:

    .. math::

        B = \max(R - \sum s / fit\_every,\ R / 2)

    :math:`R` is what the index leaves of the budget, which is written after every run, or half of
    the budget if that leaves less.

    Parameters
    ----------
    bytes_per_day
        The budget.

    Examples
    --------
    >>> budget = WriteBudget()
    >>> large, small = JobKey("live", ("all",)), JobKey("live", ("one",))
    >>> day = 86_400_000
    >>> budget.note(large, 1_000_000_000, fit_every=1000 * day, infer_every=60_000)
    >>> round(budget.interval(large) / 60_000, 1)
    28.8
    >>> budget.note(small, 10_000, fit_every=1000 * day, infer_every=60_000)
    >>> [round(budget.interval(job) / 60_000, 1) for job in (large, small)]
    [28.9, 0.1]
    """

    def __init__(self, bytes_per_day: int = BYTES_PER_DAY) -> None:
        self._rate = bytes_per_day / _DAY_MS
        self._costs: dict[JobKey, _Cost] = {}
        self._roots = 0.0
        self._of_fits = 0.0
        self._of_runs = 0.0
        self._lock = threading.Lock()

    @property
    def jobs(self) -> list[JobKey]:
        """The jobs that share it."""
        with self._lock:
            return list(self._costs)

    def note(self, job: JobKey, n_bytes: int, fit_every: int, infer_every: int) -> None:
        """Note how much a job writes at a time.

        Parameters
        ----------
        job
            The job.
        n_bytes
            Of all its states.
        fit_every, infer_every
            How often it is fitted, and how often it runs, milliseconds.
        """
        cost = _Cost(n_bytes, fit_every, infer_every)
        with self._lock:
            self._remove(job)
            self._costs[job] = cost
            self._roots += cost.root
            self._of_fits += cost.of_fits
            self._of_runs += cost.of_runs

    def forget(self, job: JobKey) -> None:
        """Give the share of a job to the others."""
        with self._lock:
            self._remove(job)

    def interval(self, job: JobKey) -> int:
        """Return how often a job may store its states, milliseconds; 0 where it has stored none."""
        with self._lock:
            cost = self._costs.get(job)
            if cost is None:
                return 0
            of_states = max(self._rate - self._of_runs, self._rate / 2)
            left = max(of_states - self._of_fits, of_states / 2)
            return math.ceil(cost.root * self._roots / left)

    def _remove(self, job: JobKey) -> None:
        cost = self._costs.pop(job, None)
        if cost is not None:
            self._roots -= cost.root
            self._of_fits -= cost.of_fits
            self._of_runs -= cost.of_runs
