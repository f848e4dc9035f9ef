import errno
import itertools
import logging
import os
import resource
import shutil
import signal
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.examples import examples
from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.open_queue import FallbackQueue, open_queue
from vmanomaly.writer.delivery.queue import MemoryQueue, Queue, QueueError, Record

BIG = 1 << 30


def make_record(number: int, size: int = 100) -> Record:
    """A record that can be told from every other."""
    body = (number.to_bytes(8, "big") * (size // 8 + 1))[:size]
    compressed = "snappy" if number % 2 else None
    return Record(
        body, f"q{number % 3}", 1 + number % 7, 1000 * number, "s", number, "text/plain", compressed
    )


def drain(queue: Queue) -> list[Record]:
    """Take out everything."""
    records = []
    while (record := queue.peek()) is not None:
        records.append(record)
        queue.acknowledge(record)
    return records


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def ignore(reason: str, n_points: int) -> None:
    pass


def forbid(reason: str, n_points: int) -> None:
    raise AssertionError(f"{n_points} points dropped: {reason}")


class Queues(RuleBasedStateMachine):
    """A queue does what a deque does, but for what it reports as dropped."""

    max_bytes = 3000

    def __init__(self) -> None:
        super().__init__()
        self.model: deque[Record] = deque()
        self.numbers = itertools.count(1)
        self.queue: Queue = self.open()

    def open(self) -> Queue:
        return MemoryQueue(self.max_bytes, self.dropped)

    def dropped(self, reason: str, n_points: int) -> None:
        assert reason == "queue_full"
        while n_points > 0:
            n_points -= self.model.popleft().n_points
        assert n_points == 0

    @rule(size=st.integers(0, 900))
    def append(self, size: int) -> None:
        record = make_record(next(self.numbers), size)
        self.queue.append(record)
        self.model.append(record)

    @rule()
    def acknowledge(self) -> None:
        record = self.queue.peek()
        if record is not None:
            self.queue.acknowledge(record)
            assert record == self.model.popleft()

    @rule()
    def acknowledge_another(self) -> None:
        self.queue.acknowledge(make_record(0))

    @invariant()
    def same(self) -> None:
        assert len(self.queue) == len(self.model)
        assert self.queue.n_points == sum(record.n_points for record in self.model)
        assert self.queue.peek() == (self.model[0] if self.model else None)
        assert self.queue.oldest_timestamp == (
            self.model[0].oldest_timestamp if self.model else None
        )
        assert sum(len(record.body) for record in self.model) <= self.queue.n_bytes
        assert bool(self.queue.n_bytes) == bool(self.model)

    @invariant()
    def bounded(self) -> None:
        assert self.queue.n_bytes <= self.max_bytes


class DiskQueues(Queues):
    """The same, with reopening, and the size of the folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        super().__init__()

    def open(self) -> Queue:
        return DiskQueue(self.folder, self.max_bytes, self.dropped, segment_bytes=700)

    @rule()
    def reopen(self) -> None:
        self.queue.close()
        self.queue = self.open()

    @invariant()
    def small_folder(self) -> None:
        on_disk = sum(path.stat().st_size for path in segments(self.folder))
        assert self.queue.n_bytes <= on_disk <= self.max_bytes

    def teardown(self) -> None:
        self.queue.close()
        assert bool(segments(self.folder)) == bool(self.model)
        shutil.rmtree(self.folder)


class UnreliableDisk(DiskQueue):
    """A disk that is full whenever it is told to be."""

    full = False

    def append(self, record: Record) -> None:
        if self.full:
            raise QueueError("no space")
        super().append(record)


class FallbackQueues(Queues):
    """The same, on a disk that is full now and then."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        super().__init__()

    def open(self) -> Queue:
        self.disk = UnreliableDisk(self.folder, self.max_bytes, self.dropped, segment_bytes=700)
        self.memory = MemoryQueue(BIG, forbid)
        return FallbackQueue(self.disk, self.memory)

    @rule()
    def disk_full(self) -> None:
        self.disk.full = True

    @rule()
    def disk_has_space(self) -> None:
        self.disk.full = False

    @invariant()
    def bounded(self) -> None:
        assert self.disk.n_bytes <= self.max_bytes

    def teardown(self) -> None:
        self.disk.full = False
        self.queue.close()
        self.queue = self.open()
        assert drain(self.queue) == list(self.model)
        self.queue.close()
        shutil.rmtree(self.folder)


TestMemoryQueue = Queues.TestCase
TestDiskQueue = DiskQueues.TestCase
TestFallbackQueue = FallbackQueues.TestCase
TestMemoryQueue.settings = TestDiskQueue.settings = TestFallbackQueue.settings = settings(
    examples(25), stateful_step_count=40
)


def test_a_record_larger_than_the_queue_does_not_push_out_the_others(tmp_path: Path) -> None:
    drops: list[tuple[str, int]] = []
    for queue in (
        MemoryQueue(5000, lambda *drop: drops.append(drop)),
        DiskQueue(tmp_path, 5000, lambda *drop: drops.append(drop)),
    ):
        queue.append(make_record(1))
        queue.append(make_record(2, 5000))
        assert drops.pop() == ("queue_full", make_record(2).n_points)
        assert drain(queue) == [make_record(1)]
        queue.close()
    assert drops == []


def test_a_fallback_queue_keeps_order_and_everything_while_the_disk_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = UnreliableDisk(tmp_path, BIG, forbid)
    memory = MemoryQueue(BIG, forbid)
    queue = FallbackQueue(disk, memory)
    records = [make_record(number) for number in range(40)]
    with caplog.at_level(logging.INFO):
        for number, record in enumerate(records):
            disk.full = is_full = 10 <= number < 20 or 25 <= number < 35
            queue.append(record)
            assert len(queue) == number + 1
            assert bool(len(memory)) == is_full
            assert bool(queue.n_points_in_memory) == is_full
            assert queue.n_points == sum(each.n_points for each in records[: number + 1])
            assert queue.n_bytes == disk.n_bytes + memory.n_bytes
    told = [line.message for line in caplog.records]
    assert [message.split(" after ")[0] for message in told] == [
        "The queue continues in memory: no space",
        "The queue is on disk again",
    ] * 2
    assert told[1].endswith(" s and 10 failures")
    assert drain(queue) == records
    queue.close()


def test_a_disk_is_not_said_to_work_because_nothing_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = UnreliableDisk(tmp_path, BIG, forbid)
    queue = FallbackQueue(disk, MemoryQueue(BIG, forbid))
    disk.full = True
    queue.append(make_record(1))
    queue.acknowledge(make_record(1))
    with caplog.at_level(logging.INFO):
        queue.close()
    assert "The queue is on disk again" not in caplog.text


def test_a_record_that_moves_to_the_disk_while_it_is_sent_is_acknowledged_there(
    tmp_path: Path,
) -> None:
    disk = UnreliableDisk(tmp_path, BIG, forbid)
    queue = FallbackQueue(disk, MemoryQueue(BIG, forbid))
    disk.full = True
    queue.append(make_record(1))
    being_sent = queue.peek()
    assert being_sent is not None
    disk.full = False
    queue.append(make_record(2))
    queue.acknowledge(being_sent)
    assert drain(queue) == [make_record(2)]
    queue.close()


def test_closing_moves_to_the_disk_what_was_in_memory(tmp_path: Path) -> None:
    disk = UnreliableDisk(tmp_path, BIG, forbid)
    queue = FallbackQueue(disk, MemoryQueue(BIG, forbid))
    disk.full = True
    queue.append(make_record(1))
    disk.full = False
    queue.close()
    reopened = open_queue(tmp_path, None, forbid)
    assert drain(reopened) == [make_record(1)]
    reopened.close()


def test_what_was_in_memory_when_a_full_disk_is_closed_is_reported(tmp_path: Path) -> None:
    drops: list[tuple[str, int]] = []
    disk = UnreliableDisk(tmp_path, BIG, forbid)
    queue = FallbackQueue(disk, MemoryQueue(BIG, lambda *drop: drops.append(drop)))
    disk.full = True
    queue.append(make_record(3))
    queue.close()
    assert drops == [("shutdown", make_record(3).n_points)]


def test_a_queue_without_a_folder_is_in_memory() -> None:
    assert isinstance(open_queue(None, None, ignore), MemoryQueue)


def test_append_returns_after_data_and_folder_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = DiskQueue(tmp_path, BIG, forbid)
    calls: list[tuple[str, str]] = []

    def noted(name: str) -> Callable[..., object]:
        function = getattr(os, name)

        def call(file: int, *args: object) -> object:
            calls.append((name, Path(f"/proc/self/fd/{file}").readlink().name))
            return function(file, *args)

        return call

    monkeypatch.setattr(os, "pwrite", noted("pwrite"))
    monkeypatch.setattr(os, "fsync", noted("fsync"))
    queue.append(make_record(1))
    queue.append(make_record(2))
    write, sync = ("pwrite", "0000000001.segment"), ("fsync", "0000000001.segment")
    assert calls == [("fsync", tmp_path.name), write, sync, write, sync]
    queue.close()


def test_the_folder_belongs_to_its_owner_and_to_one_process(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "queue"
    queue = DiskQueue(folder, BIG, forbid)
    queue.append(make_record(1))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    with pytest.raises(QueueError, match=f"another process uses the queue in {folder}: stop it"):
        DiskQueue(folder, BIG, forbid)
    queue.close()
    queue.close()
    DiskQueue(folder, BIG, forbid).close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("")
    with pytest.raises(QueueError, match=r"cannot use the queue in .*/queue: File exists; make it"):
        DiskQueue(tmp_path / "queue", BIG, forbid)


def test_a_closed_queue_takes_nothing(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, BIG, forbid)
    queue.append(make_record(1))
    queue.close()
    with pytest.raises(QueueError, match="Bad file descriptor"):
        queue.append(make_record(2))
    assert (len(queue), queue.n_bytes, queue.peek()) == (0, 0, None)


def test_the_default_segment_is_a_part_of_a_small_queue(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, 160_000, ignore)
    for number in range(200):
        queue.append(make_record(number, 1000))
    assert 15 <= len(segments(tmp_path)) <= 18
    assert queue.n_bytes > 140_000
    queue.close()


def test_a_record_dropped_while_it_is_sent_does_not_acknowledge_another(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, 1000, ignore, segment_bytes=1)
    queue.append(make_record(0, 300))
    being_sent = queue.peek()
    assert being_sent is not None
    for number in (1, 2, 3):
        queue.append(make_record(number, 300))
    queue.acknowledge(being_sent)
    assert drain(queue) == [make_record(2, 300), make_record(3, 300)]
    queue.close()


def test_acknowledged_segments_are_removed_and_their_numbers_not_used_again(
    tmp_path: Path,
) -> None:
    for start in (0, 10, 20):
        queue = DiskQueue(tmp_path, BIG, forbid)
        for number in range(start, start + 5):
            queue.append(make_record(number))
        assert drain(queue) == [make_record(number) for number in range(start, start + 5)]
        assert segments(tmp_path) == []
        queue.append(make_record(start))
        queue.close()
        queue = DiskQueue(tmp_path, BIG, forbid)
        assert drain(queue) == [make_record(start)]
        queue.close()
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]


def filled(folder: Path, sizes: list[int], n_acknowledged: int) -> list[Record]:
    """Fill a queue. Return all records."""
    queue = DiskQueue(folder, BIG, forbid, segment_bytes=1850)
    records = [make_record(number, size) for number, size in enumerate(sizes)]
    for record in records:
        queue.append(record)
    for record in records[:n_acknowledged]:
        assert queue.peek() == record
        queue.acknowledge(record)
    queue.close()
    return records


@contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
@examples(60)
@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=12),
    acknowledged=st.integers(0, 11),
    damage=st.lists(
        st.tuples(
            st.integers(0, 99),
            st.integers(0, 1 << 30),
            st.one_of(st.none(), st.integers(1, 255)),
        ),
        min_size=1,
        max_size=4,
    ),
    while_open=st.booleans(),
)
def test_damage_never_raises_reorders_or_invents(
    sizes: list[int],
    acknowledged: int,
    damage: list[tuple[int, int, int | None]],
    while_open: bool,
) -> None:
    with temporary_folder() as folder:
        records = filled(folder, sizes, min(acknowledged, len(sizes)))
        drops: list[int] = []
        open_before = DiskQueue(folder, BIG, forbid) if while_open else None
        if open_before is not None:
            open_before._dropped = lambda reason, n_points: drops.append(n_points)
            n_points = open_before.n_points
        for file_choice, place, flip in damage:
            files = sorted(folder.iterdir())
            path = files[file_choice % len(files)]
            content = bytearray(path.read_bytes())
            if not content:
                continue
            byte = place % len(content)
            if flip is None:
                os.truncate(path, byte)
            else:
                content[byte] ^= flip
                path.write_bytes(content)
        queue = open_before
        if queue is None:
            queue = DiskQueue(folder, BIG, lambda *drop: drops.append(drop[1]))
        kept = drain(queue)
        queue.append(make_record(99))
        after = drain(queue)
        queue.close()
        positions = [records.index(record) for record in kept]
        assert positions == sorted(set(positions))
        assert after == [make_record(99)]
        if while_open:
            assert sum(record.n_points for record in kept) + sum(drops) == n_points
        assert segments(folder) == []


@examples(40)
@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=8),
    acknowledged=st.integers(0, 7),
    data=st.data(),
)
def test_an_unfinished_write_loses_nothing_before_it(
    sizes: list[int], acknowledged: int, data: st.DataObject
) -> None:
    with temporary_folder() as folder:
        acknowledged = min(acknowledged, len(sizes) - 1)
        records = filled(folder, sizes, acknowledged)
        last = segments(folder)[-1]
        content = last.read_bytes()
        last_record = len(content) - content.rindex(b'{"query_key"') + 16
        cut = data.draw(st.integers(1, last_record))
        zeros = data.draw(st.integers(0, 5000))
        last.write_bytes(content[:-cut] + bytes(zeros))
        queue = DiskQueue(folder, BIG, forbid)
        queue.append(make_record(99))
        queue.close()
        queue = DiskQueue(folder, BIG, forbid)
        kept = drain(queue)
        queue.close()
        # Zeros may stand for the zeros that were cut off.
        whole = kept[-2:-1] == records[-1:]
        assert kept == [*records[acknowledged : len(records) - (not whole)], make_record(99)]
        assert not whole or (content[-cut:].strip(b"\0") == b"" and zeros >= cut)


def test_a_damaged_body_costs_one_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = filled(tmp_path, [200] * 5, 0)
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[content.index(records[2].body) + 100] ^= 1
    path.write_bytes(content)
    drops: list[tuple[str, int]] = []
    queue = DiskQueue(tmp_path, BIG, lambda *drop: drops.append(drop))
    assert drain(queue) == [records[number] for number in (0, 1, 3, 4)]
    assert drops == [("corrupt", records[2].n_points)]
    assert "0000000001.segment is damaged at byte" in caplog.text
    queue.close()


def test_a_damaged_head_costs_one_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = filled(tmp_path, [400] * 9, 0)
    first, second, third = segments(tmp_path)
    content = bytearray(second.read_bytes())
    content[content.index(b'{"query_key":"q1"') + 3] ^= 1
    second.write_bytes(content)
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == records[:4] + records[5:]
    assert "0000000002.segment is damaged at byte" in caplog.text
    assert "bytes are lost" in caplog.text
    assert not first.exists()
    assert not third.exists()
    queue.close()


def test_a_segment_that_somebody_removed_is_reported(tmp_path: Path) -> None:
    records = filled(tmp_path, [400] * 9, 0)
    drops: list[tuple[str, int]] = []
    queue = DiskQueue(tmp_path, BIG, lambda *drop: drops.append(drop))
    segments(tmp_path)[1].unlink()
    assert drain(queue) == records[:3] + records[6:]
    assert drops == [("corrupt", sum(record.n_points for record in records[3:6]))]
    queue.close()


def test_damage_to_what_is_acknowledged_costs_nothing(tmp_path: Path) -> None:
    records = filled(tmp_path, [300] * 4, 2)
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == records[2:]
    queue.close()


def test_without_its_cursor_the_oldest_segment_is_sent_again(tmp_path: Path) -> None:
    records = filled(tmp_path, [400] * 9, 4)
    (tmp_path / "cursor").unlink()
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == records[3:]
    queue.close()


@pytest.mark.parametrize("byte", range(20))
def test_a_damaged_cursor_loses_nothing(tmp_path: Path, byte: int) -> None:
    records = filled(tmp_path, [100] * 6, 2)
    content = bytearray((tmp_path / "cursor").read_bytes())
    assert len(content) == 20
    content[byte] ^= 0x11
    (tmp_path / "cursor").write_bytes(content)
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == records
    queue.close()


def test_an_unfinished_write_is_cut_away_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = filled(tmp_path, [100] * 3, 0)
    path = segments(tmp_path)[0]
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"unfinished")
    for _ in range(2):
        queue = DiskQueue(tmp_path, BIG, forbid)
        assert path.stat().st_size == queue.n_bytes == whole
        queue.close()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        f"Cut 10 bytes off the end of {path}: an unfinished write, or damage"
    ]
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == records
    queue.close()


def test_a_record_whose_append_failed_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = DiskQueue(tmp_path, BIG, forbid)
    queue.append(make_record(1))

    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(QueueError, match="Input/output error"):
            queue.append(make_record(2))
    queue.append(make_record(3))
    queue.close()
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == [make_record(1), make_record(3)]
    queue.close()


def test_an_acknowledged_segment_that_came_back_is_not_sent_again(tmp_path: Path) -> None:
    records = filled(tmp_path, [400] * 9, 0)
    saved = segments(tmp_path)[0].read_bytes()
    queue = DiskQueue(tmp_path, BIG, forbid)
    for record in records[:4]:
        queue.peek()
        queue.acknowledge(record)
    queue.close()
    (tmp_path / "0000000001.segment").write_bytes(saved)
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == records[4:]
    assert segments(tmp_path) == []
    queue.close()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("1.segment", "notes.txt", "0000000001.segment.bak"):
        (tmp_path / name).write_text("mine")
    queue = DiskQueue(tmp_path, BIG, forbid)
    queue.append(make_record(1))
    assert drain(queue) == [make_record(1)]
    queue.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        "cursor",
        "1.segment",
        "notes.txt",
        "0000000001.segment.bak",
    }


def test_a_full_disk_is_an_error_that_leaves_the_queue_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = 3000
    write = os.pwrite

    def pwrite(file: int, data: bytes, offset: int) -> int:
        """Write as much as there is space, then fail, as the kernel does."""
        before = os.fstat(file).st_size
        used = sum(path.stat().st_size for path in segments(tmp_path))
        new = max(offset + len(data) - before, 0)
        if new and used >= space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[: len(data) - max(used + new - space, 0)], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    queue = DiskQueue(tmp_path, BIG, forbid, segment_bytes=1000)
    kept: deque[Record] = deque()
    n_failures = 0
    messages = set()
    for number in range(60):
        record = make_record(number, 200)
        size = queue.n_bytes
        try:
            queue.append(record)
        except QueueError as error:
            messages.add(str(error))
            n_failures += 1
            assert queue.n_bytes == size
            first = queue.peek()
            assert first is not None
            queue.acknowledge(first)
            assert first == kept.popleft()
        else:
            kept.append(record)
        assert len(queue) == len(kept)
        if number % 10 == 9:
            queue.close()
            queue = DiskQueue(tmp_path, BIG, forbid, segment_bytes=1000)
    assert n_failures > 5
    assert messages == {f"cannot write to the queue in {tmp_path}: No space left on device"}
    assert drain(queue) == list(kept)
    queue.close()


def test_the_kernel_refusing_to_write_is_survived(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, BIG, forbid)
    queue.append(make_record(1, 5000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        with pytest.raises(QueueError, match="a file is as large as allowed"):
            queue.append(make_record(2, 5000))
        queue.append(make_record(3, 5000))
        with pytest.raises(QueueError, match="a file is as large as allowed"):
            queue.append(make_record(4, 9000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    queue.append(make_record(5, 5000))
    assert len(segments(tmp_path)) == 3
    queue.close()
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == [make_record(number, 5000) for number in (1, 3, 5)]
    queue.close()


@pytest.mark.parametrize("functions", [["fsync"], ["open"], ["fsync", "ftruncate"]])
def test_failing_calls_cost_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, functions: list[str]
) -> None:
    queue = DiskQueue(tmp_path, BIG, forbid, segment_bytes=500)
    calls = itertools.count()

    def unreliable(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if next(calls) % 5 in {2, 3}:
                raise OSError(errno.EIO, "broken")
            return function(*args, **kwargs)

        return call

    kept = []
    messages = []
    with monkeypatch.context() as patch:
        for function in functions:
            patch.setattr(os, function, unreliable(getattr(os, function)))
        for number in range(30):
            try:
                queue.append(make_record(number))
            except QueueError as error:
                messages.append(str(error))
            else:
                kept.append(make_record(number))
            assert len(queue) == len(kept)
    assert set(messages) == {f"cannot write to the queue in {tmp_path}: broken"}
    assert len(kept) >= 10
    assert drain(queue) == kept
    assert queue.n_bytes == 0
    queue.close()


def test_a_queue_that_cannot_be_read_at_the_moment_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, [100], 0)
    queue = DiskQueue(tmp_path, BIG, forbid)

    def no_descriptors(*args: object, **kwargs: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_descriptors)
        with pytest.raises(QueueError, match=r"cannot read the queue in .*: Too many open files"):
            queue.peek()
    assert drain(queue) == [make_record(0)]
    queue.close()


def test_a_cursor_and_a_segment_that_cannot_be_changed_only_repeat_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue = DiskQueue(tmp_path, BIG, forbid)
    queue.append(make_record(1))
    queue.append(make_record(2))

    def fail(*args: object, **kwargs: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        patch.setattr(os, "unlink", fail)
        assert drain(queue) == [make_record(1), make_record(2)]
    queue.close()
    assert "cursor: Read-only file system. What is sent now may be sent again" in caplog.text
    assert "Cannot remove" in caplog.text
    queue = DiskQueue(tmp_path, BIG, forbid)
    assert drain(queue) == [make_record(1), make_record(2)]
    queue.close()
