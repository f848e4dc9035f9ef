"""Bodies that are too large for the server are cut until they fit, and nothing is lost."""

from __future__ import annotations

import json
import math
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import FakeClock
from tests.loopback import Asked, Handler, serve
from tests.writer.write_requests import decode_write_request, decompress
from vmanomaly.config.writer import RemoteWriteSection, VmWriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import FloatArray, Labels, Origin, Predictions
from vmanomaly.writer import create_writer
from vmanomaly.writer.delivery.delivery import Delivery, Drops, Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.halves import Halves, line_halves, request_halves
from vmanomaly.writer.delivery.queue import MemoryQueue, Record
from vmanomaly.writer.delivery.sender import to_record
from vmanomaly.writer.delivery.too_large import SizeLimit, send_fitting
from vmanomaly.writer.encoding.encode import AnyEncoder
from vmanomaly.writer.encoding.json_lines import LineEncoder
from vmanomaly.writer.encoding.protobuf import WriteRequestEncoder

ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")
START = 1_700_000_000_000
STEP = 60_000
PROTOCOLS = ("vm", "remote_write")
HALVES: dict[str, Halves] = {"vm": line_halves, "remote_write": request_halves}
FORMAT = {"__name__": "$VAR"}

Samples = list[tuple[int, float]]


def samples_in(record: Record) -> list[tuple[str, Samples]]:
    """Return what a body holds, by host, read without the code that is tested."""
    if record.content_type == "application/x-protobuf":
        return [
            (s["host"], samples) for s, samples in decode_write_request(decompress(record.body))
        ]
    body = record.body
    if record.content_encoding == "gzip":
        body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
    lines = [json.loads(line) for line in body.splitlines()]
    return [
        (line["metric"]["host"], list(zip(line["timestamps"], line["values"], strict=True)))
        for line in lines
    ]


def predict(values: FloatArray, hosts: list[str] | None = None) -> Predictions:
    n_series, n_timestamps = values.shape
    return Predictions(
        tuple(Labels({"host": host}) for host in hosts or map(str, range(n_series))),
        START + STEP * np.arange(n_timestamps, dtype=np.int64),
        {"anomaly_score": values},
    )


def make_record(protocol: str, values: FloatArray, hosts: list[str] | None = None) -> Record:
    encoder: AnyEncoder = (LineEncoder if protocol == "vm" else WriteRequestEncoder)(FORMAT)
    (piece,) = encoder.pieces(predict(values, hosts), ORIGIN)
    return to_record(piece, ORIGIN, encoder)


@dataclass
class Receiver:
    """Takes bodies of up to so many bytes, and checks what is said about each."""

    max_bytes: int
    stored: dict[str, Samples] = field(default_factory=lambda: defaultdict(list))
    sizes: list[int] = field(default_factory=list)
    down_at: int | None = None

    def send(self, record: Record) -> Outcome:
        self.sizes.append(len(record.body))
        if len(self.sizes) == self.down_at:
            return Retry(DatasourceError("gone", "connection_error"), after_s=3.0)
        if len(record.body) > self.max_bytes:
            return Refused(DatasourceError("too large", "413"), {"413": record.n_points})
        series = samples_in(record)
        assert record.n_series == len(series)
        assert record.n_points == sum(len(samples) for _, samples in series)
        for host, samples in series:
            self.stored[host] += samples
        return Sent()


def expected(values: FloatArray) -> dict[str, Samples]:
    return {
        str(s): [(START + STEP * int(t), row[t]) for t in np.flatnonzero(np.isfinite(row))]
        for s, row in enumerate(values)
        if np.isfinite(row).any()
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(
    n_series=st.integers(1, 6),
    n_timestamps=st.integers(1, 9),
    max_bytes=st.integers(250, 3000),
    data=st.data(),
)
def test_everything_arrives_once_and_in_order(
    protocol: str, n_series: int, n_timestamps: int, max_bytes: int, data: st.DataObject
) -> None:
    shape = n_series, n_timestamps
    values = np.random.default_rng(n_series).normal(size=shape)
    gaps = data.draw(st.sets(st.integers(1, values.size - 1))) if values.size > 1 else set()
    values.flat[list(gaps)] = math.nan
    receiver = Receiver(max_bytes)
    record = make_record(protocol, values)
    assert send_fitting(record, receiver.send, HALVES[protocol], SizeLimit("url")) == Sent()
    assert receiver.stored == expected(values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_samples_that_are_too_large_by_themselves_are_lost(protocol: str) -> None:
    values = np.random.default_rng(1).normal(size=(5, 4))
    noise = np.random.default_rng(2).integers(33, 126, 2000).astype(np.uint8).tobytes().decode()
    hosts = ["0", "1", noise, "3", "4"]
    receiver = Receiver(600)
    outcome = send_fitting(
        make_record(protocol, values, hosts), receiver.send, HALVES[protocol], SizeLimit("url")
    )
    assert isinstance(outcome, Refused)
    assert outcome.n_points == {"413": 4}
    everything = expected(values)
    del everything["2"]
    assert receiver.stored == everything


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_too_large_is_cut_ahead_for_an_hour(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    limit = SizeLimit("http://vm", clock)
    record = make_record(protocol, np.random.default_rng(1).normal(size=(40, 50)))
    receiver = Receiver(len(record.body) // 3)

    def n_refused() -> int:
        receiver.sizes.clear()
        assert send_fitting(record, receiver.send, HALVES[protocol], limit) == Sent()
        return sum(size > receiver.max_bytes for size in receiver.sizes)

    assert n_refused() in {2, 3}
    assert n_refused() == 0
    assert [line.message[:40] for line in caplog.records] == [
        f"http://vm answers 413 to a body of {len(record.body)} bytes"[:40]
    ]
    assert "client_max_body_size" in caplog.text
    clock.time += 3_600_001
    receiver.max_bytes = len(record.body)
    assert n_refused() == 0
    assert receiver.sizes == [len(record.body)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_takes_nothing_of_any_size_is_given_up(protocol: str) -> None:
    receiver = Receiver(0)
    record = make_record(protocol, np.random.default_rng(1).normal(size=(400, 180)))
    outcome = send_fitting(record, receiver.send, HALVES[protocol], SizeLimit("url"))
    assert isinstance(outcome, Refused)
    assert outcome.n_points == {"413": 72_000}
    assert len(receiver.sizes) < 1100


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("down_at", range(1, 9))
def test_after_an_outage_only_what_is_left_is_sent(protocol: str, down_at: int) -> None:
    values = np.random.default_rng(1).normal(size=(8, 50))
    record = make_record(protocol, values)
    receiver = Receiver(len(record.body) // 3, down_at=down_at)
    limit = SizeLimit("url")
    outcome = send_fitting(record, receiver.send, HALVES[protocol], limit)
    if isinstance(outcome, Retry):
        assert outcome.after_s == 3.0
        assert outcome.refused is None
        for part in outcome.left:
            assert send_fitting(part, receiver.send, HALVES[protocol], limit) == Sent()
    assert receiver.stored == expected(values)


def test_a_delivery_queues_what_is_left_and_counts_what_is_refused_once() -> None:
    """Through outages in every state: at once, from the queue, and in the middle of a record."""
    values = np.random.default_rng(1).normal(size=(8, 50))
    noise = np.random.default_rng(2).integers(33, 126, 3000).astype(np.uint8).tobytes().decode()
    hosts = [noise, *map(str, range(1, 8))]
    record = make_record("vm", values, hosts)
    receiver = Receiver(2000)
    clock = FakeClock()
    limit = SizeLimit("url", clock)
    dropped: dict[str, int] = defaultdict(int)

    def count(reason: str, n_points: int) -> None:
        dropped[reason] += n_points

    def send(part: Record) -> Outcome:
        # Every third request meets a server that is away.
        receiver.down_at = 3 * (len(receiver.sizes) // 3 + 1)
        return receiver.send(part)

    drops = Drops(count)
    delivery = Delivery(
        MemoryQueue(1 << 20, drops),
        lambda one: send_fitting(one, send, line_halves, limit),
        drops,
        set_queue_bytes=lambda value: None,
        set_oldest_timestamp=lambda value: None,
        clock=clock,
    )
    for _ in range(2):
        delivery.deliver(record)
    while delivery.n_points_queued:
        delivery._send_next()
    delivery.start()
    delivery.close()
    everything = expected(values)
    del everything["0"]
    assert receiver.stored == {host: 2 * samples for host, samples in everything.items()}
    assert dropped == {"413": 2 * 50}


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"[]\n", b'{"metric":{}}\n', b"x\ny\n"])
@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("halves", HALVES.values())
def test_a_body_that_is_not_understood_has_no_halves(
    body: bytes, encoding: str | None, halves: Halves
) -> None:
    record = Record(body, "cpu", 3, START, "s", 1, "application/json", encoding)
    assert list(halves(record)) == []


def test_values_are_cut_without_a_change() -> None:
    values = np.array([[0.1, 1e-300, -5e-324, 1.7976931348623157e308, 12345678901234567.0, 2.0]])
    record = make_record("vm", values)
    parts = [record]
    while any(part.n_points > 1 for part in parts):
        parts = [half for part in parts for half in line_halves(part) or [part]]
    assert [samples_in(part)[0][1][0][1] for part in parts] == values[0].tolist()


SECTIONS: dict[str, Callable[..., Any]] = {
    "vm": VmWriterSection,
    "remote_write": RemoteWriteSection,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_writer_delivers_through_a_small_door(protocol: str) -> None:
    stored: dict[str, Samples] = defaultdict(list)
    statuses: list[int] = []

    def respond(handler: Handler, asked: Asked) -> None:
        statuses.append(413 if len(asked.body) > 20_000 else 204)
        if statuses[-1] == 204:
            encoding = asked.headers.get("Content-Encoding")
            kind = asked.headers["Content-Type"]
            for host, samples in samples_in(Record(asked.body, "", 0, 0, "", 0, kind, encoding)):
                stored[host] += samples
        handler.reply(statuses[-1])

    values = np.random.default_rng(1).normal(size=(40, 180))
    metrics = Metrics()
    with serve(respond) as loopback:
        section = SECTIONS[protocol](datasource_url=loopback.url, metric_format=FORMAT)
        writer = create_writer(section, metrics)
        writer.start()
        writer.write(predict(values), ORIGIN)
        assert writer.last_error is None
        writer.close()
    assert stored == expected(values)
    assert 413 in statuses
    assert writer.n_dropped == 0
    sent = metrics.registry.get_sample_value(
        "vmanomaly_writer_datapoints_sent_total",
        {
            "url": f"{loopback.url}/api/v1/{'import' if protocol == 'vm' else 'write'}",
            "query_key": "cpu",
            "scheduler_alias": "every_minute",
            "preset": "default",
        },
    )
    assert sent == values.size
