"""What another process needs to continue jobs whose states it does not have: their progress."""

from __future__ import annotations

from dataclasses import replace

from vmanomaly.scheduler.schedule import Progress, Replay


def without_states(progress: Progress, fitted_to: int | None, settled: int | None) -> Progress:
    """Return the progress of a job as it is for a process that has no states.

    It fits the models again on the window of their last fit, and takes them through what came
    after it, so that its scores are those that this process would have given.

    Parameters
    ----------
    progress
        How far the job has come.
    fitted_to
        The end of the window of the last fit, Unix milliseconds; None if that is not known, so that
        the models are fitted on what came before `settled`.
    settled
        Up to here every score is delivered, Unix milliseconds.

    Examples
    --------
    >>> without_states(Progress(first_run=0, covered=180_000, last_fit=1), 60_000, 120_000).replay
    Replay(start=60000, fits=True, written_to=120000)
    >>> without_states(Progress(first_run=0, covered=180_000, last_fit=1), None, 120_000)
    Progress(first_run=0, covered=120000, last_fit=None, replay=None)
    """
    if fitted_to is None or settled is None or progress.covered is None:
        return replace(progress, covered=settled, last_fit=None, replay=None)
    return replace(progress, replay=Replay(fitted_to, fits=True, written_to=settled))


def bounded(progress: Progress, longest: int) -> Progress:
    """Return the same progress with a replay of at most `longest` milliseconds, or with a new fit.

    Examples
    --------
    >>> far = Progress(0, 900_000, 1, Replay(60_000, fits=True, written_to=840_000))
    >>> bounded(far, 600_000)
    Progress(first_run=0, covered=840000, last_fit=None, replay=None)
    >>> bounded(far, 900_000) == far
    True
    """
    replay, covered = progress.replay, progress.covered
    if replay is None or covered is None or covered - replay.start <= longest:
        return progress
    return without_states(progress, None, replay.written_to)
