"""Whatever somebody does to the files of a queue: no crash, no wrong delivery, no file touched."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from tests.recorder import record as recorded
from tests.writer.queue_attacks import forge, make_record, run_case
from vmanomaly.config.writer import VmWriterSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.writer import create_writer
from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.queue import QueueError, Record
from vmanomaly.writer.delivery.segment import encode

pytestmark = pytest.mark.slow

BIG = 1 << 30
N_CASES, N_CHUNKS = 2000, 10
SEGMENT = "0000000001.segment"


def ignore(reason: str, n_points: int) -> None:
    pass


def drain(queue: DiskQueue) -> list[Record]:
    records = []
    while (record := queue.peek()) is not None:
        records.append(record)
        queue.acknowledge(record)
    return records


@pytest.mark.parametrize("chunk", range(N_CHUNKS))
def test_damage_and_forgery_at_random(chunk: int) -> None:
    """For more cases: `python -m tests.writer.queue_attacks 100000`."""
    size = N_CASES // N_CHUNKS
    for seed in range(chunk * size, (chunk + 1) * size):
        run_case(seed)


def test_a_record_is_found_behind_damage_of_more_than_a_block(tmp_path: Path) -> None:
    """The text that begins a header lies across the border of two blocks that are searched."""
    good = make_record(1, 100)
    for extra in range(-20, 20):
        frame = encode(good)
        (tmp_path / SEGMENT).write_bytes(bytes((1 << 20) + extra) + frame)
        queue = DiskQueue(tmp_path, BIG, ignore)
        assert drain(queue) == [good]
        queue.close()
        (tmp_path / "cursor").unlink()


@pytest.mark.parametrize(
    ("segment", "offset"),
    [(1, 1), (1, 1 << 40), (1, (1 << 64) - 1), (7, 0), (10**10, 0), ((1 << 64) - 1, 5)],
)
def test_a_forged_cursor_loses_nothing(tmp_path: Path, segment: int, offset: int) -> None:
    records = [make_record(number, 50) for number in range(4)]
    (tmp_path / SEGMENT).write_bytes(b"".join(map(encode, records)))
    position = struct.pack("<QQ", segment, offset)
    (tmp_path / "cursor").write_bytes(position + struct.pack("<I", zlib.crc32(position)))
    queue = DiskQueue(tmp_path, BIG, ignore)
    assert drain(queue) == records
    queue.append(make_record(9, 50))
    queue.close()
    queue = DiskQueue(tmp_path, BIG, ignore)
    assert drain(queue) == [make_record(9, 50)]
    queue.close()


def test_links_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    folder = tmp_path / "queue"
    folder.mkdir()
    (folder / SEGMENT).symlink_to(mine)
    (folder / "0000000002.segment").mkdir()
    queue = DiskQueue(folder, BIG, ignore)
    queue.append(make_record(1, 50))
    assert drain(queue) == [make_record(1, 50)]
    queue.close()
    assert f"{folder / SEGMENT} is not a regular file: it is left alone" in caplog.text
    assert "0000000002.segment is not a regular file" in caplog.text
    assert (folder / SEGMENT).is_symlink()
    assert mine.read_text() == "mine"


def test_a_cursor_that_is_a_link_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    folder = tmp_path / "queue"
    folder.mkdir()
    (folder / "cursor").symlink_to(mine)
    with pytest.raises(QueueError, match=r"cursor is a symbolic link, .* remove it"):
        DiskQueue(folder, BIG, ignore)
    assert mine.read_text() == "mine"


def test_a_segment_that_becomes_a_link_is_not_read(tmp_path: Path) -> None:
    """Not even one that leads to good records."""
    folder = tmp_path / "queue"
    drops: list[tuple[str, int]] = []
    queue = DiskQueue(folder, BIG, lambda *drop: drops.append(drop))
    queue.append(make_record(3, 50))
    elsewhere = tmp_path / "elsewhere"
    (folder / SEGMENT).rename(elsewhere)
    (folder / SEGMENT).symlink_to(elsewhere)
    assert drain(queue) == []
    assert drops == [("corrupt", make_record(3, 50).n_points)]
    queue.close()
    assert elsewhere.read_bytes() == encode(make_record(3, 50))


def test_a_forged_body_of_another_kind_is_not_delivered(tmp_path: Path) -> None:
    """It comes second, where a look at the first does not find it, and holds nothing up."""
    line = b'{"metric":{"__name__":"a"},"values":[1],"timestamps":[1000]}\n'
    kinds = [("application/json", None), ("application/x-protobuf", "snappy"), ("text/plain", None)]
    kinds += [("application/json", "br"), ("application/json", None)]
    (tmp_path / SEGMENT).write_bytes(
        b"".join(
            encode(Record(line, "cpu", 1, 1000, "s", 1, kind, encoding)) for kind, encoding in kinds
        )
        + forge(b"{}", line)
    )
    metrics = Metrics()
    with recorded() as recorder:
        section = VmWriterSection(datasource_url=recorder.url, queue_path=str(tmp_path))
        writer = create_writer(section, metrics)
        writer.start()
        assert writer.flush(60)
        writer.close()
        assert [request.body for request in recorder.requests] == [line, line]
    name = "vmanomaly_writer_dropped_datapoints_total"
    assert metrics.registry.get_sample_value(name, {"reason": "corrupt"}) == 3
