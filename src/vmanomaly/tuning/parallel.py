"""What executes trials, and searches of many series, next to each other."""

from __future__ import annotations

from dataclasses import replace

from joblib import cpu_count

from vmanomaly.config.registry import MODELS
from vmanomaly.executor import Executor
from vmanomaly.model.parallel import ParallelModel


def with_workers(executor: Executor, n_jobs: int) -> Executor:
    """Return an executor with so many workers, -1 for one per CPU.

    On this machine there are not more of them than CPUs: each computes all the time.

    Examples
    --------
    >>> with_workers(Executor("ray"), 300)
    Executor(kind='ray', n_workers=300, address=None, native_threads=1)
    >>> with_workers(Executor(), 300).n_workers == with_workers(Executor(), -1).n_workers
    True
    """
    n_cpus = cpu_count()
    is_here = executor.kind not in {"ray", "dask"}
    n_workers = n_cpus if n_jobs == -1 or (is_here and n_jobs > n_cpus) else n_jobs
    return replace(executor, n_workers=n_workers)


def preferred_for(class_name: str) -> str:
    """Return the kind of executor that suits the trials of a class.

    Compiled kernels release the lock of the interpreter, libraries hold it.

    Examples
    --------
    >>> preferred_for("zscore_online"), preferred_for("prophet")
    ('threads', 'processes')
    """
    made = MODELS.implementation(class_name)
    is_library = isinstance(made, type) and issubclass(made, ParallelModel)
    return "processes" if is_library else "threads"
