"""Answers that are made to take up memory and time."""

from __future__ import annotations

import json
import threading
import tracemalloc
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.loopback import Asked, Handler, Loopback, serve
from vmanomaly.config.reader import Query, VmReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import DatasourceError, TooLargeError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import labels as labels_module
from vmanomaly.reader import limits, stitch
from vmanomaly.reader.labels import MAX_LABEL_SET_BYTES, MAX_LABELS, LabelCache
from vmanomaly.reader.scanner import Answer, Scanner
from vmanomaly.reader.vm import VmReader
from vmanomaly.series import Labels, TimeRange

pytestmark = pytest.mark.slow

STEP_MS = 60_000
START_MS = 1_700_000_040_000
MIB = 1 << 20
HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
SAMPLE = b'[%d,"1"]' % (START_MS // 1000)
END = b"]}}"


@dataclass(frozen=True)
class Bomb:
    """An answer of `head`, 160 MiB of `unit`, and `tail`; and what is said of it."""

    words: str
    head: bytes
    unit: bytes
    tail: bytes = b""

    def compressed(self) -> bytes:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        block = self.unit * (MIB // len(self.unit) + 1)
        parts = [packer.compress(self.head)]
        parts += [packer.compress(block) for _ in range(160)]
        return b"".join([*parts, packer.compress(self.tail), packer.flush()])


SERIES = b'{"metric":{},"values":[' + SAMPLE + b"]}"
BOMBS = {
    "label": Bomb("after byte 60, a label set", HEAD + b'{"metric":{"a":"', b"x"),
    "label that ends": Bomb(
        "after byte 60, a label set",
        HEAD + b'{"metric":{"a":"',
        b"x",
        b'"},"values":[' + SAMPLE + b"]}" + END,
    ),
    "labels": Bomb("after byte 60, a label set", HEAD + b'{"metric":{"a":"b"', b',"a":"b"'),
    "space before the answer": Bomb("does not begin as", b"", b" "),
    "space between series": Bomb("`reader.max_response_size`", HEAD, b" "),
    "samples of one series": Bomb(
        "the series at byte 60 is more than", HEAD + b'{"metric":{},"values":[[1,"1"]', b',[1,"1"]'
    ),
    "braces": Bomb("the series at byte 60 is more than", HEAD + b'{"x":', b'{"x":'),
    "lists": Bomb("does not begin as", b'{"data":[[]', b",[]"),
    "warnings": Bomb(
        "what follows the series at byte 61 is more than", HEAD + b']},"warnings":[""', b',""'
    ),
    "series": Bomb("series, and no more of 1000 points", HEAD + SERIES, b"," + SERIES),
}


def reader_of(server: Loopback, **keys: Any) -> tuple[VmReader, Query]:
    query = Query(alias="q", expr="up", step=Duration(STEP_MS))
    section = VmReaderSection(datasource_url=server.url, queries={"q": query}, **keys)
    return VmReader(section, Metrics()), query


def range_of(n_points: int) -> TimeRange:
    return TimeRange(START_MS - STEP_MS, START_MS + (n_points - 1) * STEP_MS)


def count(reader: VmReader, server: Loopback, code: str) -> float:
    labels = {
        "url": f"{server.url}/api/v1/query_range",
        "query_key": "q",
        "scheduler_alias": "s",
        "preset": "default",
        "code": code,
    }
    name = "vmanomaly_reader_responses_total"
    return reader._metrics.registry.get_sample_value(name, labels) or 0


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_early(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a container of 1 GiB.
    monkeypatch.setattr(limits, "available_memory", lambda: 1 << 30)
    body = BOMBS[name].compressed()

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.method == "GET":
            handler.reply(404)
        else:
            handler.reply(body=body, Content_Encoding="gzip")

    with serve(respond) as server:
        reader, query = reader_of(server)
        reader.warm_up()
        tracemalloc.start()
        try:
            with pytest.raises(DatasourceError, match="Error querying") as caught:
                reader.read(query, range_of(1000), "s", stage="fit")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            reader.close()
        n_asked = sum(asked.method == "POST" for asked in server.requests)
        assert count(reader, server, "too_large") == n_asked
    assert BOMBS[name].words in str(caught.value)
    assert not caught.value.out_of_reach, "the next query may be answered well"
    # A matrix that grows is there twice for a moment, and how large it is then depends on timing.
    limit = 1000 * MIB if name == "series" else 80 * MIB
    assert peak < limit, f"{peak >> 20} MiB"


def answer(n_series: int, n_points: int, at: int = START_MS, head: bytes = HEAD) -> bytes:
    series = [
        b'{"metric":{"a":"%d"},"values":[%s]}'
        % (
            i,
            b",".join(
                b'[%d,"%d"]' % ((at + k * STEP_MS) // 1000, at // STEP_MS + k + i)
                for k in range(n_points)
            ),
        )
        for i in range(n_series)
    ]
    return head + b",".join(series) + END


def evaluate(handler: Handler, asked: Asked) -> None:
    if asked.method == "GET":
        handler.reply(404)
        return
    start, end = (int(asked.form[name][0]) for name in ("start", "end"))
    n_points = (end - start) * 1000 // STEP_MS + 1
    head = b' {"data":' + HEAD.split(b'"data":')[1] if asked.form["query"] == ["odd"] else HEAD
    tail_status = b',"status":"success"}' if asked.form["query"] == ["odd"] else b""
    n_series = 25_000 if asked.form["query"] == ["many"] else 1000
    body = answer(n_series, n_points, start * 1000, head)
    handler.reply(body=body[:-1] + tail_status if tail_status else body)


@pytest.mark.parametrize("expr", ["up", "odd"])
def test_a_large_answer_is_asked_for_in_pieces(
    expr: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmanomaly.reader.scanner._MAX_PART_BYTES", MIB)
    caplog.set_level("INFO")
    with serve(evaluate) as server:
        reader, _ = reader_of(server, max_response_size=2 * MIB)
        query = Query(alias="q", expr=expr, step=Duration(STEP_MS))
        batches = [reader.read(query, range_of(300), "s", stage="fit") for _ in range(2)]
        reader.close()
        refused = count(reader, server, "too_large")
    expected = START_MS // STEP_MS + np.arange(1000)[:, None] + np.arange(300)
    for batch in batches:
        assert batch.labels == tuple(Labels({"a": str(i)}) for i in range(1000))
        np.testing.assert_array_equal(batch.values, expected)
    assert 1 <= refused <= 4, "how much can be read at once is remembered"
    told = [message for message in caplog.messages if "is answered with more than 2 MiB" in message]
    assert len(told) == refused


def test_a_single_timestamp_that_is_too_large_is_refused_with_the_remedy() -> None:
    with serve(evaluate) as server:
        reader, _ = reader_of(server, max_response_size=MIB)
        query = Query(alias="q", expr="many", step=Duration(STEP_MS))
        with pytest.raises(DatasourceError, match=r"larger than 1 MiB.*reader\.max_response_size"):
            reader.read(query, range_of(4), "s", stage="infer")
        reader.close()
        assert count(reader, server, "too_large") == 3, "of 4, 2 and 1 points"


@pytest.mark.parametrize(
    ("memory", "expected"), [(64 * MIB, 16 * MIB), (1 << 30, 128 * MIB), (64 << 30, 256 * MIB)]
)
def test_the_limit_follows_the_memory(
    memory: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "available_memory", lambda: memory)
    keys: dict[str, Any] = {"datasource_url": "http://vm", "queries": {}}
    assert limits.max_response_bytes(VmReaderSection(**keys)) == expected
    section = VmReaderSection(**keys, max_response_size="3MiB")
    assert limits.max_response_bytes(section) == 3 * MIB


def scanner_of(cache: LabelCache | None = None) -> Scanner:
    grid = np.array([START_MS], dtype=np.int64)
    return Scanner(grid, STEP_MS, cache or LabelCache(), lambda labels, values: None)


def scan_whole(scanner: Scanner, body: bytes) -> Answer:
    scanner.feed(body)
    return scanner.finish()


@pytest.mark.parametrize("space", [b"", b" "], ids=["usual", "unusual"])
@pytest.mark.parametrize(
    ("labels", "is_taken"),
    [
        ({f"l{i}": "" for i in range(MAX_LABELS)}, True),
        ({f"l{i}": "" for i in range(MAX_LABELS + 1)}, False),
        ({"a": "x" * (MAX_LABEL_SET_BYTES - 8)}, True),
        ({"a": "x" * (MAX_LABEL_SET_BYTES - 7)}, False),
        ({"x" * (MAX_LABEL_SET_BYTES - 6): ""}, False),
    ],
    ids=["most labels", "one more label", "longest", "one byte more", "name too long"],
)
def test_the_limits_of_label_sets(labels: dict[str, str], is_taken: bool, space: bytes) -> None:
    metric = json.dumps(labels, separators=(",", ":")).encode()
    series = b'{"metric":' + metric + b"," + space + b'"values":[' + SAMPLE + b"]}"
    scanner = scanner_of()
    if is_taken:
        assert scan_whole(scanner, HEAD + series + END).n_series == 1
        return
    words = r"after byte [67]0, .*1024 labels and 1 MiB are the most"
    with pytest.raises(TooLargeError, match=words):
        scan_whole(scanner, HEAD + series + END)


def test_one_long_series_among_others_is_taken() -> None:
    """A piece of the answer that ends within one leaves more than a part may have unscanned."""
    n_points = 200_000
    grid = START_MS + STEP_MS * np.arange(n_points, dtype=np.int64)
    rows: list[float] = []
    scanner = Scanner(
        grid, STEP_MS, LabelCache(), lambda labels, values: rows.extend(values.sum(axis=1))
    )
    body = answer(12, n_points)
    for i in range(0, len(body), MIB):
        scanner.feed(body[i : i + MIB])
    assert scanner.finish().n_samples == 12 * n_points
    first = START_MS // STEP_MS
    assert rows == [float(sum(range(first + i, first + i + n_points))) for i in range(12)]


def test_label_sets_of_answers_that_fail_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "_MAX_REMEMBERED_BYTES", 100_000)
    cache = LabelCache()
    for i in range(50):
        scanner = scanner_of(cache)
        sets = [b'{"metric":{"a":"%d"},"values":[%s]}' % (1000 * i + k, SAMPLE) for k in range(100)]
        with pytest.raises(DatasourceError):
            scan_whole(scanner, HEAD + b",".join(sets))
    n_kept = len(cache._young) + len(cache._old)
    assert n_kept * labels_module._BYTES_OF_A_LABEL_SET < 2.5 * 100_000


def test_a_matrix_grows_by_few_bytes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stitch, "_MAX_GROWTH_BYTES", 800)
    rows = stitch.MemoryRows(10)
    rows.reserve(1000)
    rows.reserve(1001)
    assert len(rows.values) == 1010


def test_other_threads_run_while_a_bomb_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body = BOMBS["space between series"].compressed()
    monkeypatch.setattr(limits, "available_memory", lambda: 1 << 30)
    is_read, n_turns = threading.Event(), 0

    def work() -> None:
        nonlocal n_turns
        while not is_read.wait(0.001):
            n_turns += 1

    with serve(lambda handler, _: handler.reply(body=body, Content_Encoding="gzip")) as server:
        reader, query = reader_of(server)
        thread = threading.Thread(target=work)
        thread.start()
        with pytest.raises(DatasourceError, match="larger than 128 MiB"):
            reader.read(query, range_of(1), "s", stage="infer")
        is_read.set()
        thread.join()
        reader.close()
    assert n_turns > 20
