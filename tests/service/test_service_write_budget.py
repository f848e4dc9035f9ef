"""What states may be written a day is kept to, whatever their sizes and however often they fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.series import JobKey
from vmanomaly.service.write_budget import BYTES_PER_DAY, BYTES_PER_RUN, WriteBudget

MINUTE = 60_000
DAY = 1440 * MINUTE
N_DAYS = 3


def written(jobs: list[tuple[int, int, int]], bytes_per_day: int = BYTES_PER_DAY) -> list[int]:
    """Return the bytes that each job writes in three days.

    Parameters
    ----------
    jobs
        The bytes of its states, and how often it infers and fits, in minutes.
    """
    budget = WriteBudget(bytes_per_day)
    keys = [JobKey("live", (str(number),)) for number in range(len(jobs))]
    for key, (n_bytes, infer_every, fit_every) in zip(keys, jobs, strict=True):
        budget.note(key, n_bytes, fit_every * MINUTE, infer_every * MINUTE)
    result = []
    for key, (n_bytes, infer_every, fit_every) in zip(keys, jobs, strict=True):
        interval, last, n = budget.interval(key), 0, 0
        for at in range(infer_every, N_DAYS * 1440 + 1, infer_every):
            fits = at // fit_every > (at - infer_every) // fit_every
            if (fits and fit_every * MINUTE >= interval) or (at - last) * MINUTE >= interval:
                last, n = at, n + 1
        result.append(n * n_bytes)
    return result


SIZES = st.integers(0, 4_000_000_000)
JOB = st.tuples(SIZES, st.sampled_from([1, 5, 60]), st.sampled_from([1, 5, 60, 1440, 10**6]))


@given(st.lists(JOB, min_size=1, max_size=6))
def test_no_day_has_more_than_the_budget(jobs: list[tuple[int, int, int]]) -> None:
    # What falls on the first and the last minute of the days counts twice at most.
    at_the_edges = 2 * sum(n_bytes for n_bytes, _, _ in jobs)
    of_index = sum(N_DAYS * DAY // (every * MINUTE) * BYTES_PER_RUN for _, every, _ in jobs)
    assert sum(written(jobs)) + of_index <= N_DAYS * BYTES_PER_DAY + at_the_edges


@pytest.mark.parametrize(
    ("n_series", "bytes_a_series", "every_run", "at_checkpoints"),
    [(100_000, 1_550, 223, 45), (500_000, 2_100, 1_512, 49), (100_000, 172, 25, 25)],
    ids=["mad_online", "temporal_envelope", "zscore_online"],
)
def test_gigabytes_a_day(
    n_series: int, bytes_a_series: int, every_run: int, at_checkpoints: int
) -> None:
    """A run a minute, a fit once, and the label sets counted in."""
    n_bytes = n_series * bytes_a_series
    assert round(n_bytes * 1440 / 1e9) == every_run
    assert round(sum(written([(n_bytes, 1, 10**6)])) / N_DAYS / 1e9) == at_checkpoints


def test_small_states_are_written_at_every_run_next_to_a_large_one() -> None:
    large, *small = written([(1_000_000_000, 1, 10**6)] + 5 * [(100_000, 1, 10**6)])
    assert small == 5 * [N_DAYS * 1440 * 100_000]
    assert 0.8 * BYTES_PER_DAY < large / N_DAYS < BYTES_PER_DAY


def test_what_is_gone_leaves_its_share_to_the_others() -> None:
    budget = WriteBudget()
    one, other = JobKey("live", ("one",)), JobKey("live", ("other",))
    for job in (one, other):
        budget.note(job, 10**9, 1000 * DAY, MINUTE)
    shared = budget.interval(one)
    budget.forget(other)
    assert budget.interval(one) == pytest.approx(shared / 2, rel=0.01)
    assert budget.interval(other) == 0
    assert budget.jobs == [one]
