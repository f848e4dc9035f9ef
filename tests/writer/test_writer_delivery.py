import itertools
import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes import FakeClock, SteppedClock
from vmanomaly.clock import Clock
from vmanomaly.errors import DatasourceError
from vmanomaly.writer.delivery.delivery import Delivery, Drops, Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.queue import MemoryQueue, Queue, QueueError, Record

DOWN = Retry(DatasourceError("connection refused", "connection_error"))


def refused(n_points: int) -> Refused:
    return Refused(DatasourceError("cannot parse JSON line", "400"), {"400": n_points})


LONG_S = 60.0


class Database:
    """Answers as it is told, then takes everything; stops at a gate where there is one."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = iter(answers)
        self.received: list[int] = []
        self.taken: list[int] = []
        self.times: list[float] = []
        self.now: Callable[[], float] = lambda: 0.0
        self.before_answer: Callable[[int], None] = lambda number: None

    def send(self, record: Record) -> Outcome:
        number = record.oldest_timestamp // 1000
        self.received.append(number)
        self.times.append(self.now())
        self.before_answer(number)
        answer = next(self.answers, Sent())
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Sent):
            self.taken.append(number)
        return answer


class Setup:
    """A delivery and what can be seen of it."""

    def __init__(self, database: Database, queue: Queue | None, clock: Clock) -> None:
        self.dropped: dict[str, int] = {}
        self.queue_bytes: list[float] = []
        self.oldest: list[float] = []
        database.now = clock.monotonic
        self.drops = Drops(self.count)
        self.queue = MemoryQueue(1 << 20, self.drops) if queue is None else queue
        self.delivery = Delivery(
            self.queue,
            database.send,
            self.drops,
            set_queue_bytes=self.queue_bytes.append,
            set_oldest_timestamp=self.oldest.append,
            clock=clock,
            jitter=lambda: 1.0,
        )
        self.delivery.start()

    def count(self, reason: str, n_points: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + n_points

    def wait_until_empty(self) -> None:
        """Wait for the background thread, without moving the clock."""
        with self.delivery._changed:
            assert self.delivery._changed.wait_for(lambda: not len(self.queue), LONG_S)


@contextmanager
def running(
    database: Database, queue: Queue | None = None, clock: Clock | None = None
) -> Iterator[Setup]:
    setup = Setup(database, queue, clock or FakeClock())
    try:
        yield setup
    finally:
        setup.delivery.close()


def make_record(number: int, n_points: int = 10) -> Record:
    return Record(b"x" * 100, "cpu", n_points, 1000 * number, "live", 1, "text/plain")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.message for line in caplog.records]


def cannot_write(n_points: int) -> str:
    return (
        f"Cannot write {n_points} points for cpu: connection refused. "
        "Points wait in the queue until the database takes them"
    )


@pytest.fixture(autouse=True)
def log_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmanomaly")


def test_a_database_that_is_there_gets_records_in_the_caller_s_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database()
    threads = []
    database.before_answer = lambda number: threads.append(threading.current_thread())
    with running(database) as setup:
        for number in range(3):
            setup.delivery.deliver(make_record(number))
        assert database.taken == [0, 1, 2]
        assert set(threads) == {threading.current_thread()}
        assert setup.delivery.last_error is None
        assert setup.delivery.flush(0)
    assert setup.queue_bytes == [0]
    assert messages(caplog) == []


def test_records_wait_while_the_database_is_down_and_keep_their_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database(*[DOWN] * 3)
    gate = threading.Event()
    started = threading.Event()

    def hold(number: int) -> None:
        if len(database.received) == 3:
            started.set()
            assert gate.wait(LONG_S)

    database.before_answer = hold
    with running(database) as setup:
        setup.delivery.deliver(make_record(1))
        assert started.wait(LONG_S)
        for number in (2, 3, 4):
            setup.delivery.deliver(make_record(number))
        assert database.received == [1, 1, 1]
        assert str(setup.delivery.last_error) == "connection refused"
        assert setup.delivery.n_points_queued == 40
        assert setup.queue_bytes[-1] == setup.queue.n_bytes > 400
        assert setup.oldest[-1] == 1.0
        gate.set()
        setup.wait_until_empty()
        assert setup.delivery.last_error is None
    assert database.received == [1, 1, 1, 1, 2, 3, 4]
    assert database.taken == [1, 2, 3, 4]
    assert (setup.queue_bytes[-1], setup.oldest[-1]) == (0, 0)
    assert setup.dropped == {}
    assert messages(caplog) == [
        cannot_write(10),
        "Delivering again after 7 s and 3 failures: 40 points are queued, 0 were dropped",
        "The queue is empty",
    ]


def test_waiting_times_double_up_to_a_minute() -> None:
    database = Database(*[DOWN] * 9)
    clock = FakeClock()
    with running(database, clock=clock) as setup:
        setup.delivery.deliver(make_record(1))
        setup.wait_until_empty()
        assert clock.waited == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        clock.waited.clear()
        database.answers = iter([DOWN] * 2)
        setup.delivery.deliver(make_record(2))
        setup.wait_until_empty()
        assert clock.waited == [1, 2]


def test_jitter_takes_up_to_half_of_a_waiting_time() -> None:
    database = Database(*[DOWN] * 3)
    clock = FakeClock()
    with running(database, clock=clock) as setup:
        setup.delivery._jitter = iter([0.0, 0.5, 1.0]).__next__
        setup.delivery.deliver(make_record(1))
        setup.wait_until_empty()
        assert clock.waited == [0.5, 1.5, 4]


@pytest.mark.parametrize(
    ("asked", "waited"), [(0.0, 1.0), (0.2, 1.0), (17.0, 17.0), (1e9, 300.0), (-5.0, 1.0)]
)
def test_the_server_is_given_the_time_it_asks_for_within_bounds(
    asked: float, waited: float
) -> None:
    database = Database(Retry(DatasourceError("slow down", "429"), asked))
    clock = FakeClock()
    with running(database, clock=clock) as setup:
        setup.delivery.deliver(make_record(1))
        setup.wait_until_empty()
        assert clock.waited == [waited]
    assert database.taken == [1]


def test_refused_records_are_dropped_and_counted_and_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    duplicate = Refused(DatasourceError("duplicate sample", "400"), {"duplicate": 40})
    database = Database(refused(5), DOWN, refused(20), Sent(), duplicate)
    clock = SteppedClock()
    with running(database, clock=clock) as setup:
        setup.delivery.deliver(make_record(1, 5))
        assert str(setup.delivery.last_error) == "cannot parse JSON line"
        for number in (2, 3, 4, 5):
            setup.delivery.deliver(make_record(number, 10 * number))
        assert database.received == [1, 2]
        clock.advance(1000)
        assert setup.delivery.flush(LONG_S)
        assert setup.delivery.last_error is None
    assert database.taken == [3, 5]
    assert setup.dropped == {"400": 25, "duplicate": 40}
    assert messages(caplog) == [
        "Cannot write 5 points for cpu: cannot parse JSON line",
        cannot_write(20),
        "Cannot write 20 points for cpu: cannot parse JSON line",
        "Delivering again after 1 s and 1 failure: 140 points are queued, 20 were dropped",
        "Cannot write 40 points for cpu: duplicate sample",
        "The queue is empty",
    ]


def test_a_bug_of_the_sender_is_logged_with_its_trace_and_loses_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database(ZeroDivisionError("oops"), ZeroDivisionError("oops"))
    with running(database) as setup:
        setup.delivery.deliver(make_record(1))
        setup.wait_until_empty()
    assert database.taken == [1]
    assert [line.exc_info is not None for line in caplog.records] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert "internal error: ZeroDivisionError('oops')" in messages(caplog)[1]


def test_flush_tries_at_once() -> None:
    database = Database(DOWN)
    with running(database, clock=SteppedClock()) as setup:
        setup.delivery.deliver(make_record(1))
        assert database.received == [1]
        assert setup.delivery.flush(LONG_S)
        assert database.taken == [1]


def test_flush_respects_what_the_server_asked_for_and_gives_up_in_time() -> None:
    database = Database(Retry(DatasourceError("slow down", "429"), 100.0))

    class Patient(FakeClock):
        def wait_for_change(self, changed: threading.Condition, seconds: float | None) -> None:
            if threading.current_thread() is threading.main_thread():
                assert seconds is not None
                self.time += math.ceil(seconds * 1000)
            else:
                changed.wait()

    clock = Patient()
    with running(database, clock=clock) as setup:
        setup.delivery.deliver(make_record(1))
        assert not setup.delivery.flush(20.0)
        assert clock.time == 20_000
        assert database.received == [1]


def test_close_ends_the_wait_and_reports_what_memory_cannot_keep(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database(DOWN)
    with running(database, clock=SteppedClock()) as setup:
        setup.delivery.deliver(make_record(1))
        setup.delivery.deliver(make_record(2))
    assert setup.dropped == {"shutdown": 20}
    assert "Service is shutting down: points queued in memory are lost" in messages(caplog)[-1]
    database.answers = iter([DOWN])
    setup.delivery.deliver(make_record(3))
    assert setup.dropped == {"shutdown": 30}


def test_close_does_not_wait_for_a_request_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vmanomaly.writer.delivery.delivery._CLOSING_S", 0.01)
    hanging, answered = threading.Event(), threading.Event()
    database = Database(DOWN)

    def hang(number: int) -> None:
        if threading.current_thread().name == "writer-delivery":
            hanging.set()
            assert answered.wait(LONG_S)

    database.before_answer = hang
    setup = Setup(database, DiskQueue(tmp_path, 1 << 20, lambda *dropped: None), FakeClock())
    setup.delivery.deliver(make_record(1))
    assert hanging.wait(LONG_S)
    setup.delivery.close()
    assert "Abandoned a request in progress" in caplog.text
    answered.set()
    setup.delivery._thread.join(LONG_S)
    assert setup.dropped == {}
    # Nobody knows whether the request arrived, so it is sent again.
    with running(again := Database(), DiskQueue(tmp_path, 1 << 20, lambda *dropped: None)) as next_:
        next_.wait_until_empty()
    assert again.taken == [1]


def test_what_is_left_on_disk_is_sent_by_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drops = Drops(lambda reason, n_points: None)
    database = Database(DOWN)
    with running(database, DiskQueue(tmp_path, 1 << 20, drops), SteppedClock()) as setup:
        for number in (1, 2, 3):
            setup.delivery.deliver(make_record(number))
    assert messages(caplog)[-1] == f"30 points stay in the queue in {tmp_path} until the next start"
    caplog.clear()
    database = Database()
    with running(database, DiskQueue(tmp_path, 1 << 20, drops), SteppedClock()) as setup:
        assert setup.delivery.flush(LONG_S)
        setup.delivery.deliver(make_record(4))
    assert database.taken == [1, 2, 3, 4]
    assert messages(caplog) == [
        "30 points queued since the last run",
        "The queue is empty",
    ]


def test_a_full_queue_counts_what_it_drops_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database(DOWN, DOWN)
    clock = SteppedClock()
    drops: dict[str, int] = {}

    def count(reason: str, n_points: int) -> None:
        drops[reason] = drops.get(reason, 0) + n_points

    shared = Drops(count)
    queue = MemoryQueue(2000, shared)
    delivery = Delivery(
        queue,
        database.send,
        shared,
        set_queue_bytes=lambda n_bytes: None,
        set_oldest_timestamp=lambda seconds: None,
        clock=clock,
    )
    delivery.start()
    for number in range(1, 8):
        delivery.deliver(make_record(number, number))
    assert delivery.n_points_queued == 5 + 6 + 7
    assert drops == {"queue_full": 1 + 2 + 3 + 4}
    database.answers = iter(())
    assert delivery.flush(LONG_S)
    assert database.taken == [5, 6, 7]
    assert sum("Queue full" in message for message in messages(caplog)) == 1
    assert "18 points are queued, 10 were dropped" in caplog.text
    delivery.close()


def test_what_waits_is_sent_from_the_start_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = MemoryQueue(1 << 20, lambda *drop: None)
    queue.append(make_record(1))
    database = Database()
    delivery = Delivery(
        queue,
        database.send,
        Drops(lambda *drop: None),
        set_queue_bytes=lambda n_bytes: None,
        set_oldest_timestamp=lambda seconds: None,
    )
    delivery.deliver(make_record(2))
    assert (database.received, messages(caplog)) == ([], [])
    delivery.start()
    assert delivery.flush(LONG_S)
    assert database.taken == [1, 2]
    assert messages(caplog)[0] == "20 points queued since the last run"
    delivery.close()


@pytest.mark.parametrize("end", [Delivery.close, Delivery.hand_over])
def test_a_delivery_that_was_not_started_can_be_closed(
    end: Callable[[Delivery], object],
) -> None:
    drops = Drops(lambda *drop: None)
    queue = MemoryQueue(1 << 20, drops)
    queue.append(make_record(1))
    delivery = Delivery(
        queue,
        Database().send,
        drops,
        set_queue_bytes=lambda n_bytes: None,
        set_oldest_timestamp=lambda seconds: None,
    )
    end(delivery)
    assert len(queue) == 0


class UnreadableOnce(MemoryQueue):
    """Fails once when it is read by the background thread."""

    failed = False

    def peek(self) -> Record | None:
        if threading.current_thread().name == "writer-delivery" and not self.failed:
            self.failed = True
            raise QueueError("cannot read the queue in /data: Too many open files")
        return super().peek()


def test_a_queue_that_cannot_be_read_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    queue = UnreadableOnce(1 << 20, Drops(lambda reason, n_points: None))
    queue.append(make_record(1))
    clock = FakeClock()
    with running(database, queue, clock) as setup:
        setup.wait_until_empty()
        assert clock.waited == [1]
    assert database.taken == [1]
    assert "Cannot write: cannot read the queue in /data: Too many open files" in messages(caplog)


class Unreadable(MemoryQueue):
    def peek(self) -> Record | None:
        raise QueueError("cannot read the queue")


def test_a_queue_that_cannot_be_read_still_takes_records() -> None:
    clock = SteppedClock()
    database = Database(DOWN)
    with running(database, Unreadable(1 << 20, lambda *drop: None), clock) as setup:
        setup.delivery.deliver(make_record(1))
        setup.delivery.deliver(make_record(2))
        assert setup.delivery.n_points_queued == 20


def test_failures_side_by_side_count_as_one() -> None:
    database = Database(DOWN, DOWN, DOWN)
    barrier = threading.Barrier(3)

    def together(number: int) -> None:
        if len(database.received) <= 3:
            barrier.wait(LONG_S)

    database.before_answer = together
    clock = SteppedClock()
    with running(database, clock=clock) as setup:
        threads = [
            threading.Thread(target=setup.delivery.deliver, args=(make_record(number),))
            for number in (1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert setup.delivery._next_try == clock.monotonic() + 1
        assert setup.delivery.flush(LONG_S)
    assert sorted(database.taken) == [1, 2, 3]


def test_order_holds_for_each_of_many_threads_on_a_shaky_line(tmp_path: Path) -> None:
    answers: Iterator[Outcome] = itertools.cycle([Sent(), Sent(), DOWN, Sent(), DOWN, DOWN])
    lock = threading.Lock()
    taken: dict[str, list[int]] = {}

    def send(record: Record) -> Outcome:
        with lock:
            answer = next(answers)
            if isinstance(answer, Sent):
                taken.setdefault(record.query_key, []).append(record.n_points)
            return answer

    drops = Drops(lambda reason, n_points: None)
    delivery = Delivery(
        DiskQueue(tmp_path, 1 << 20, drops, segment_bytes=2000),
        send,
        drops,
        set_queue_bytes=lambda n_bytes: None,
        set_oldest_timestamp=lambda seconds: None,
        clock=FakeClock(),
    )
    delivery.start()

    def bring(query_key: str) -> None:
        for number in range(100):
            delivery.deliver(Record(b"x" * 50, query_key, number, 1000, "live", 1, "text/plain"))

    threads = [threading.Thread(target=bring, args=(key,)) for key in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with delivery._changed:
        assert delivery._changed.wait_for(lambda: not len(delivery._queue), LONG_S)
    delivery.close()
    assert taken == {key: list(range(100)) for key in ("a", "b", "c")}
