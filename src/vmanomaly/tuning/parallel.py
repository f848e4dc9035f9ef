"""The one place where trials are run next to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from joblib import Parallel, delayed

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


def run_all(
    work: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT], n_jobs: int
) -> list[_ResultT]:
    """Return what `work` makes of each item, in their order.

    Parameters
    ----------
    work
        May be called by several threads at once.
    items
        What to do.
    n_jobs
        How many at a time; -1 for one per CPU.

    Examples
    --------
    >>> run_all(abs, [-1, -2], n_jobs=2)
    [1, 2]
    """
    if n_jobs == 1:
        return [work(item) for item in items]
    return list(Parallel(n_jobs=n_jobs, backend="threading")(delayed(work)(i) for i in items))
