"""How many threads the native libraries under a model may use: BLAS, and kernels run in parallel.

Without a limit each of them takes every CPU of the machine, even if a container may use only
some, and several workers at a time would compete for the CPUs.
"""

from __future__ import annotations

import logging

from numba import config as numba_config
from threadpoolctl import threadpool_limits

from vmanomaly.config.settings import SettingsSection

logger = logging.getLogger(__name__)


def n_workers(settings: SettingsSection, cpus: float) -> int:
    """Return how many workers there are: one per CPU where the settings say 0 or less.

    Examples
    --------
    >>> n_workers(SettingsSection(n_workers=0), cpus=1.5)
    1
    """
    return settings.n_workers if settings.n_workers > 0 else max(1, int(cpus))


def n_native_threads(settings: SettingsSection, cpus: float) -> int:
    """Return how many native threads a worker may use: at most its share of the CPUs.

    Parameters
    ----------
    settings
        The section `settings`.
    cpus
        How many CPUs the service may use.

    Examples
    --------
    >>> n_native_threads(SettingsSection(n_workers=2), cpus=8.0)
    4
    >>> n_native_threads(SettingsSection(native_threads_per_worker=3), cpus=1.5)
    1
    """
    share = max(1, int(cpus / n_workers(settings, cpus)))
    return min(settings.native_threads_per_worker or share, share)


def limit_native_threads(n_threads: int) -> None:
    """Limit the libraries that are loaded by now to that many threads.

    Parameters
    ----------
    n_threads
        1 or more.
    """
    threadpool_limits(n_threads)
    # Read by Numba when the first kernel runs in parallel.
    numba_config.NUMBA_NUM_THREADS = n_threads  # type: ignore[attr-defined]
    logger.debug("Native libraries use at most %d threads", n_threads)
