from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numba.np.ufunc.parallel import get_thread_count
from threadpoolctl import threadpool_info, threadpool_limits

from vmanomaly.config.settings import SettingsSection
from vmanomaly.service.native_threads import limit_native_threads, n_native_threads


@pytest.fixture(autouse=True)
def restored_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 64)
    with threadpool_limits():
        yield


@pytest.mark.parametrize(
    ("n_workers", "native_threads", "cpus", "expected"),
    [
        (1, 0, 8.0, 8),
        (2, 0, 8.0, 4),
        (3, 0, 8.0, 2),
        (16, 0, 8.0, 1),
        (0, 0, 8.0, 1),
        (-1, 0, 8.0, 1),
        (1, 0, 0.5, 1),
        (1, 0, 2.7, 2),
        (-1, 0, 0.5, 1),
        (1, 3, 8.0, 3),
        (1, 16, 8.0, 8),
        (4, 3, 8.0, 2),
    ],
)
def test_a_worker_uses_at_most_its_share_of_the_cpus(
    n_workers: int, native_threads: int, cpus: float, expected: int
) -> None:
    settings = SettingsSection(n_workers=n_workers, native_threads_per_worker=native_threads)
    assert n_native_threads(settings, cpus) == expected


def test_blas_and_numba_are_held_to_the_limit() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    limit_native_threads(1)
    assert {library["num_threads"] for library in threadpool_info()} == {1}
    assert get_thread_count() == 1  # type: ignore[no-untyped-call]
