from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.fakes import eventually
from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DatasourceError
from vmanomaly.series import JobKey, SeriesBatch, TimeRange
from vmanomaly.service.reads import SharedReads

CPU, RAM = (Query.model_validate({"alias": a, "expr": a, "step": "1s"}) for a in ("cpu", "ram"))
ONE, BOTH, TWO = (JobKey("s", queries) for queries in (("cpu",), ("cpu", "ram"), ("cpu", "x")))
MINUTE, NEXT = TimeRange(0, 60_000), TimeRange(60_000, 120_000)


class CountingReader:
    def __init__(self, on_read: Callable[[], object] = lambda: None) -> None:
        self.asked: list[tuple[str, TimeRange, str]] = []
        self.on_read = on_read
        self.on_context: Callable[[RunContext], None] = RunContext.check

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        self.asked.append((query.alias, time_range, stage))
        self.on_read()
        self.on_context(context or RunContext())
        return SeriesBatch((), np.empty(0, np.int64), np.empty((0, 0)))

    def check_health(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def reader() -> CountingReader:
    return CountingReader()


@pytest.fixture
def reads(reader: CountingReader) -> SharedReads:
    """One job reads `cpu`, another `cpu` and `ram`."""
    reads = SharedReads(reader, 4)
    reads.expect(ONE)
    reads.expect(BOTH)
    return reads


def test_what_two_jobs_want_is_read_once(reads: SharedReads, reader: CountingReader) -> None:
    (alone,) = reads.read(ONE, [CPU], MINUTE, "infer")
    together = reads.read(BOTH, [CPU, RAM], MINUTE, "infer")
    assert sorted(alias for alias, *_ in reader.asked) == ["cpu", "ram"]
    assert together[0] is alone
    assert reads._kept == {}


def test_other_ranges_stages_and_runs_are_read_again(
    reads: SharedReads, reader: CountingReader
) -> None:
    reads.read(ONE, [CPU], MINUTE, "infer")
    reads.read(BOTH, [CPU, RAM], MINUTE, "fit")
    reads.read(BOTH, [CPU, RAM], NEXT, "infer")
    reads.read(BOTH, [CPU, RAM], NEXT, "infer")
    assert [alias for alias, *_ in reader.asked].count("cpu") == 4


def test_at_most_one_range_a_stage_is_kept(reads: SharedReads) -> None:
    for minute in range(5):
        reads.read(ONE, [CPU], TimeRange(minute, minute + 1), "fit")
    assert len(reads._kept) == 1


def test_nothing_is_kept_for_a_job_that_went_on(reads: SharedReads) -> None:
    reads.read(ONE, [CPU], MINUTE, "fit")
    reads.end_run(ONE)
    assert len(reads._kept) == 1
    reads.end_run(BOTH)
    assert reads._kept == {}


def test_a_query_of_one_job_is_never_kept(reader: CountingReader) -> None:
    reads = SharedReads(reader, 4)
    reads.expect(ONE)
    reads.expect(JobKey("t", ("cpu",)))
    reads.read(ONE, [CPU], MINUTE, "fit")
    assert reads._kept == {}


def test_a_failure_is_everybodys() -> None:
    def refuse() -> None:
        raise DatasourceError("refused", "503")

    reader = CountingReader(refuse)
    reads = SharedReads(reader, 4)
    for job in (ONE, TWO):
        reads.expect(job)
    (first,) = reads.read(ONE, [CPU], MINUTE, "infer")
    (second,) = reads.read(TWO, [CPU], MINUTE, "infer")
    assert isinstance(first, DatasourceError)
    assert second is first
    assert len(reader.asked) == 1


def test_queries_are_read_side_by_side(reads: SharedReads, reader: CountingReader) -> None:
    meet = threading.Barrier(2, timeout=60)
    reader.on_read = meet.wait
    assert len(reads.read(BOTH, [CPU, RAM], MINUTE, "infer")) == 2


def test_who_comes_while_it_is_read_waits_for_it(reader: CountingReader) -> None:
    reads = SharedReads(reader, 4)
    for job in (ONE, TWO):
        reads.expect(job)
    go_on = threading.Event()
    reader.on_read = go_on.wait
    answers = []
    threads = [
        threading.Thread(
            target=lambda job=job: answers.extend(reads.read(job, [CPU], MINUTE, "fit"))
        )
        for job in (ONE, TWO)
    ]
    for thread in threads:
        thread.start()
    assert eventually(lambda: bool(reader.asked) and not reads._kept)
    go_on.set()
    for thread in threads:
        thread.join()
    assert answers[0] is answers[1]
    assert len(reader.asked) == 1


def waiting_reader(reader: CountingReader, *, n_hang: int = 1_000) -> threading.Semaphore:
    """Have the first reads wait until they are cancelled. Return what counts those that do."""
    under_way = threading.Semaphore(0)

    def wait(context: RunContext) -> None:
        if len(reader.asked) <= n_hang:
            under_way.release()
            context.wait(threading.Event())

    reader.on_context = wait
    return under_way


def test_a_stop_ends_what_is_under_way_and_begins_nothing(
    reads: SharedReads, reader: CountingReader
) -> None:
    under_way = waiting_reader(reader)
    with ThreadPoolExecutor(1) as executor:
        read = executor.submit(reads.read, BOTH, [CPU, RAM], MINUTE, "infer")
        for _ in range(2):
            assert under_way.acquire(timeout=60)
        reads.stop()
        assert isinstance(read.exception(60), CancelledError)
    with pytest.raises(CancelledError):
        reads.read(BOTH, [CPU, RAM], MINUTE, "infer")


def test_a_job_does_not_fail_with_another_one_that_is_cancelled(reader: CountingReader) -> None:
    reads, context = SharedReads(reader, 4), RunContext()
    for job in (ONE, TWO):
        reads.expect(job)
    under_way = waiting_reader(reader, n_hang=1)
    with ThreadPoolExecutor(2) as executor:
        first = executor.submit(reads.read, ONE, [CPU], MINUTE, "fit", context)
        assert under_way.acquire(timeout=60)
        second = executor.submit(reads.read, TWO, [CPU], MINUTE, "fit")
        assert eventually(lambda: not reads._kept)
        context.cancel()
        assert isinstance(first.exception(60), CancelledError)
        assert len(second.result(60)) == 1
    assert len(reader.asked) == 2


def test_a_job_that_waits_for_the_read_of_another_can_be_cancelled(
    reader: CountingReader,
) -> None:
    reads, context, other = SharedReads(reader, 4), RunContext(), RunContext()
    for job in (ONE, TWO):
        reads.expect(job)
    under_way = waiting_reader(reader)
    with ThreadPoolExecutor(2) as executor:
        first = executor.submit(reads.read, ONE, [CPU], MINUTE, "fit", other)
        assert under_way.acquire(timeout=60)
        second = executor.submit(reads.read, TWO, [CPU], MINUTE, "fit", context)
        assert eventually(lambda: not reads._kept)
        context.cancel()
        assert isinstance(second.exception(60), CancelledError)
        assert not first.done()
        other.cancel()
