"""Queues outlive versions: what an earlier one has left on disk is still delivered."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recorder import record
from vmanomaly.config.writer import RemoteWriteSection, VmWriterSection, WriterSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.writer import create_writer
from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.queue import Record
from vmanomaly.writer.delivery.segment import encode

# Written by the version that kept what is to be known about a request in a mapping of strings.
JSON_LINES = bytes.fromhex(
    "bdf4f25715cd7a3d9f000000aa0000007b2271756572795f6b6579223a22637075222c226e5f706f696e7473"
    "223a312c226f6c646573745f74696d657374616d70223a313730303030303030303030302c22726571756573"
    "74223a7b227363686564756c65725f616c696173223a2265766572795f6d696e757465222c226e5f73657269"
    "6573223a2231222c22436f6e74656e742d54797065223a226170706c69636174696f6e2f6a736f6e227d7d7b"
    "226d6574726963223a7b225f5f6e616d655f5f223a22616e6f6d616c795f73636f7265222c226d6f64656c5f"
    "616c696173223a227a73636f7265222c227363686564756c65725f616c696173223a2265766572795f6d696e"
    "757465222c22707265736574223a2264656661756c74222c22686f7374223a2261227d2c2276616c75657322"
    "3a5b302e355d2c2274696d657374616d7073223a5b313730303030303030303030305d7d0a"
)
PROTOBUF = bytes.fromhex(
    "7ee57cf7f2e3ee7ec1000000830000007b2271756572795f6b6579223a22637075222c226e5f706f696e7473"
    "223a312c226f6c646573745f74696d657374616d70223a313730303030303030303030302c22726571756573"
    "74223a7b227363686564756c65725f616c696173223a2265766572795f6d696e757465222c226e5f73657269"
    "6573223a2231222c22436f6e74656e742d54797065223a226170706c69636174696f6e2f782d70726f746f62"
    "7566222c22436f6e74656e742d456e636f64696e67223a22736e61707079227d7d8601e80a83010a190a085f"
    "5f6e616d655f5f120d616e6f6d616c795f73636f72650a090a04686f73741201610a150a0b6d6f64656c5f61"
    "6c69617312067a09227c110a06707265736574120764656661756c740a1f0a0f7363686564756c65725f092e"
    "780c65766572795f6d696e757465121009000000000000e03f1080d095ffbc31"
)


def body_of(stored: bytes) -> bytes:
    (body_bytes,) = struct.unpack_from("<I", stored, 12)
    return stored[-body_bytes:]


@pytest.mark.parametrize(
    ("stored", "content_type", "content_encoding"),
    [(JSON_LINES, "application/json", None), (PROTOBUF, "application/x-protobuf", "snappy")],
)
def test_a_queue_of_an_earlier_version_is_read_and_could_be_read_by_it(
    tmp_path: Path, stored: bytes, content_type: str, content_encoding: str | None
) -> None:
    (tmp_path / "0000000001.segment").write_bytes(stored)
    queue = DiskQueue(tmp_path, 1 << 20, lambda *dropped: None)
    found = queue.peek()
    queue.close()
    assert found == Record(
        body_of(stored),
        query_key="cpu",
        n_points=1,
        oldest_timestamp=1_700_000_000_000,
        scheduler_alias="every_minute",
        n_series=1,
        content_type=content_type,
        content_encoding=content_encoding,
    )
    assert encode(found) == stored


@pytest.mark.parametrize(
    ("stored", "create", "headers"),
    [
        (
            JSON_LINES,
            lambda url, folder: VmWriterSection(datasource_url=url, queue_path=str(folder)),
            {"Content-Type": "application/json", "Content-Encoding": None},
        ),
        (
            PROTOBUF,
            lambda url, folder: RemoteWriteSection(datasource_url=url, queue_path=str(folder)),
            {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
        ),
    ],
)
def test_a_queue_of_an_earlier_version_is_delivered(
    tmp_path: Path,
    stored: bytes,
    create: Callable[[str, Path], WriterSection],
    headers: dict[str, str | None],
) -> None:
    (tmp_path / "0000000001.segment").write_bytes(stored)
    with record() as recorder:
        writer = create_writer(create(recorder.url, tmp_path), Metrics())
        writer.start()
        assert writer.flush(60)
        writer.close()
        (request,) = recorder.requests
    assert request.body == body_of(stored)
    assert {name: request.headers.get(name) for name in headers} == headers
