"""What executes trials, and searches of many series, next to each other."""

from __future__ import annotations

from dataclasses import replace

from joblib import cpu_count

from vmanomaly.config.registry import MODELS
from vmanomaly.executor import Executor
from vmanomaly.model.parallel import ParallelModel


def with_workers(executor: Executor, n_jobs: int) -> Executor:
    """Return an executor with so many workers, -1 for one per CPU of this machine.

    On this machine there are not more of them than CPUs: each computes all the time.

    Examples
    --------
    >>> with_workers(Executor("ray", address="10.0.0.5:6379"), 300).n_workers
    300
    >>> with_workers(Executor("ray"), 1_000_000) == with_workers(Executor("ray"), -1)
    True
    """
    n_cpus = cpu_count()
    is_too_many = executor.address is None and n_jobs > n_cpus
    return replace(executor, n_workers=n_cpus if n_jobs == -1 or is_too_many else n_jobs)


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
