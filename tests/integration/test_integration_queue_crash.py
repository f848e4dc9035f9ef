"""What is left of a queue whose process was killed in the middle of its work."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vmanomaly.writer.delivery.disk_queue import DiskQueue

MAX_BYTES = 1 << 30
SEGMENT_BYTES = 20_000

# Appends numbered records and acknowledges some, and says so after each has returned.
CHILD = f"""
import os, random, sys
from pathlib import Path
from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.queue import Record

folder, seed, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
queue = DiskQueue(folder, {MAX_BYTES}, dropped=None, segment_bytes={SEGMENT_BYTES})
share = chance.uniform(0.2, 0.6)
while True:
    record = queue.peek()
    if record is not None and chance.random() < share:
        queue.acknowledge(record)
        os.write(1, b"acknowledged %d\\n" % record.n_points)
    else:
        size = chance.choice((10, 1000, 5000, 60_000))
        body = (b"%d " % number) * (size // 8)
        queue.append(Record(body, "cpu", number, 1000 * number, "live", 1, "text/plain"))
        os.write(1, b"appended %d\\n" % number)
        number += 1
"""


def run_and_kill(folder: Path, seed: int, next_number: int) -> list[tuple[str, int]]:
    """Let the child work for a while, kill it, and return what it said to have done."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(seed), str(next_number)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    said = b""
    enough = random.Random(seed).randint(1, 5000)  # noqa: S311
    while len(said) < enough:
        piece = os.read(child.stdout.fileno(), 100)
        assert piece, "the child died by itself"
        said += piece
    child.send_signal(signal.SIGKILL)
    said += child.stdout.read()
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    return [(line.split()[0], int(line.split()[1])) for line in said.decode().splitlines()]


def numbers_in(folder: Path) -> list[int]:
    """Return the numbers of the records in the queue, and leave the queue as it is."""

    def dropped(reason: str, n_points: int) -> None:
        raise AssertionError(reason)

    copy = folder.parent / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    queue = DiskQueue(copy, MAX_BYTES, dropped)
    numbers = []
    while (record := queue.peek()) is not None:
        assert set(record.body.split()) <= {b"%d" % record.n_points}
        assert record.oldest_timestamp == 1000 * record.n_points
        numbers.append(record.n_points)
        queue.acknowledge(record)
    queue.close()
    for path in copy.iterdir():
        path.unlink()
    copy.rmdir()
    return numbers


@pytest.mark.parametrize("seed", range(4))
def test_nothing_appended_is_lost_or_moved_when_the_process_is_killed(
    tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / "queue"
    first, next_number = 1, 1
    for turn in range(5):
        events = run_and_kill(folder, 100 * seed + turn, next_number)
        first = max([first - 1, *(number for what, number in events if what == "acknowledged")]) + 1
        appended = max([next_number - 1, *(n for what, n in events if what == "appended")])
        left = numbers_in(folder)
        # The operation that the kill interrupted may have happened or not.
        start = left[0] if left else first
        assert start in {first, first + 1}
        end = left[-1] if left else appended
        assert end in {appended, appended + 1}
        assert left == list(range(start, end + 1)) or (not left and start > end - 1)
        first, next_number = start, end + 1
