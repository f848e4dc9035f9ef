from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import eventually
from tests.loopback import Asked, Handler, Loopback, Responder, serve
from vmanomaly.config.reader import Query, VmReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import (
    CancelledError,
    DatasourceError,
    DeadlineExceededError,
)
from vmanomaly.http import StatusError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader, range_queries, vm, warm_up
from vmanomaly.reader.vm import VmReader
from vmanomaly.series import Labels, TimeRange

STEP = 60
START = 1_700_000_040
PATH = "/api/v1/query_range"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_queries, "RETRY_DELAYS_S", (0.0, 0.0))


def query_of(alias: str = "q", step: str = "1m", **keys: Any) -> Query:
    return Query(alias=alias, expr="sum(x) by (a)", step=Duration.parse(step), **keys)


def section_of(url: str, *queries: Query, **keys: Any) -> VmReaderSection:
    queries = queries or (query_of(),)
    by_alias = {query.alias: query for query in queries}
    return VmReaderSection(datasource_url=url, queries=by_alias, **keys)


def reader_of(url: str, *queries: Query, **keys: Any) -> VmReader:
    return VmReader(section_of(url, *queries, **keys), Metrics())


def range_of(n_points: int, start: int = START) -> TimeRange:
    return TimeRange((start - STEP) * 1000, (start + (n_points - 1) * STEP) * 1000)


def matrix(result: list[dict[str, Any]], **around: Any) -> bytes:
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data, **around}).encode()


def evaluate(asked: Asked) -> list[dict[str, Any]]:
    """A series whose value is the number of the step, and one on odd 100s of steps only."""
    form = asked.form
    start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
    count = round((end - start) / step) + 1
    samples = [(start + i * step, round((start + i * step) / step)) for i in range(count)]

    def values(of: list[tuple[float, int]]) -> list[list[Any]]:
        return [[time, str(number)] for time, number in of]

    odd = [(time, number) for time, number in samples if number // 100 % 2]
    result = [{"metric": {"a": "odd"}, "values": values(odd)}] if odd else []
    return [*result, {"metric": {"a": "all"}, "values": values(samples)}]


def well(handler: Handler, asked: Asked) -> None:
    if asked.method == "GET":
        handler.reply(404, b"404 page not found", mime="text/plain")
    else:
        handler.reply(body=matrix(evaluate(asked)))


def refusing(limit: int, status: int, words: str) -> Responder:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path != PATH:
            handler.reply(404)
            return
        result = evaluate(asked)
        if len(result[-1]["values"]) > limit:
            error = {"status": "error", "errorType": "x", "error": words}
            handler.reply(status, json.dumps(error).encode())
        else:
            handler.reply(body=matrix(result))

    return respond


def sample(reader: VmReader, name: str, **labels: str) -> float | None:
    return reader._metrics.registry.get_sample_value(f"vmanomaly_reader_{name}", labels)


@pytest.fixture
def healthy() -> Iterator[Loopback]:
    with serve(well) as server:
        yield server


def test_request_and_result(healthy: Loopback) -> None:
    section = section_of(
        healthy.url, query_of(step="1500ms"), extra_filters=('{env="prod"}', '{dc="x y"}')
    )
    metrics = Metrics(preset="p")
    reader = create_reader(section, metrics)
    reader.check_health()
    warm_up(section)
    time_range = TimeRange(1_700_000_000_999, 1_700_000_005_500)
    batch = reader.read(section.queries["q"], time_range, "s", stage="fit")
    reader.close()
    asked = healthy.requests[-1]
    assert (asked.method, asked.path) == ("POST", PATH)
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.form == {
        "query": ["sum(x) by (a)"],
        "start": ["1700000001"],
        "end": ["1700000005.5"],
        "step": ["1.5"],
        "latency_offset": ["1ms"],
        "extra_filters[]": ['{env="prod"}', '{dc="x y"}'],
    }
    assert batch.timestamps.tolist() == [1_700_000_001_000 + 1_500 * i for i in range(4)]
    assert Labels({"a": "all"}) in batch.labels
    assert batch.values[-1].tolist() == (batch.timestamps // 1500).tolist()


def test_the_same_request_with_get(healthy: Loopback) -> None:
    reader = reader_of(healthy.url)
    expected = reader.read(query_of(), range_of(3), "s", stage="fit")
    posted = healthy.requests[-1].form

    def respond(handler: Handler, asked: Asked) -> None:
        path, _, arguments = asked.path.partition("?")
        if asked.method == "POST":
            handler.reply(405, b"only GET", mime="text/plain")
        elif path != PATH:
            handler.reply(404)
        elif "step=300" in arguments:
            handler.reply(414)
        else:
            asked.body = arguments.encode()
            well(handler, replace(asked, method="POST"))

    with serve(respond) as gateway:
        reader = reader_of(gateway.url, http_method="GET")
        batch = reader.read(query_of(), range_of(3), "s", stage="fit")
        assert gateway.requests[-1].form == posted
        with pytest.raises(DatasourceError, match=r"414.* Set `reader.http_method` to POST"):
            reader.read(query_of(step="5m"), range_of(30), "s", stage="fit")
        reader.close()
        reader = reader_of(gateway.url)
        with pytest.raises(
            DatasourceError, match=r"405.* set `reader.http_method` to GET"
        ) as error:
            reader.read(query_of(), range_of(3), "s", stage="fit")
        reader.close()
    assert str(error.value).count("step=60") == 1
    assert batch.labels == expected.labels
    np.testing.assert_array_equal(batch.values, expected.values)


def test_metrics(healthy: Loopback) -> None:
    reader = reader_of(healthy.url.replace("//", "//scott:tiger@"))
    batch = reader.read(query_of(), range_of(1), "s", stage="infer")
    reader.close()
    labels = {
        "url": healthy.url + PATH,
        "query_key": "q",
        "scheduler_alias": "s",
        "preset": "default",
    }
    size = len(matrix(evaluate(healthy.requests[-1])))
    assert sample(reader, "responses_total", **labels, code="200") == 1
    assert sample(reader, "received_bytes_total", **labels) == size
    assert sample(reader, "timeseries_received_total", **labels) == len(batch.labels)
    assert sample(reader, "datapoints_received_total", **labels) == batch.n_valid_points
    assert sample(reader, "request_duration_seconds_count", **labels) == 1
    assert sample(reader, "response_parsing_seconds_count", **labels, step="json") == 1
    assert sample(reader, "response_parsing_seconds_count", **labels, step="df") == 1
    assert sample(reader, "processing_tasks_queued", **labels) == 0


def test_a_range_without_a_step_asks_nothing(healthy: Loopback) -> None:
    reader = reader_of(healthy.url)
    batch = reader.read(query_of(), TimeRange(START * 1000, START * 1000), "s", stage="infer")
    assert batch.values.shape == (0, 0)
    assert healthy.requests == []


def test_offset_moves_the_window(healthy: Loopback) -> None:
    reader = reader_of(healthy.url)
    batch = reader.read(
        query_of(offset=Duration.parse("-90s")), range_of(3, START), "s", stage="infer"
    )
    reader.close()
    assert (batch.timestamps // 1000).tolist() == [START - 120, START - 60, START]
    assert healthy.requests[-1].form["start"] == [str(START - 120)]


@pytest.mark.parametrize("lengths", [[1], [299], [300], [301], [1000]])
def test_ranges_are_split_and_put_together(healthy: Loopback, lengths: list[int]) -> None:
    reader = reader_of(healthy.url)
    for length in lengths:
        query = query_of(max_points_per_query=100)
        batch = reader.read(query, range_of(length), "s", stage="fit")
        whole = reader.read(query_of(), range_of(length), "s", stage="fit")
        assert set(batch.labels) == set(whole.labels)
        for labels, row in zip(batch.labels, batch.values, strict=True):
            np.testing.assert_array_equal(row, whole.values[whole.labels.index(labels)])
    reader.close()
    sizes = [len(evaluate(asked)[-1]["values"]) for asked in healthy.requests if asked.body]
    assert max(sizes[:-1], default=0) <= 100


OLD_REFUSAL = (
    "cannot execute query: too many points for the given step=60000, start=1 and end=2: 1000; "
    "cannot exceed -search.maxPointsPerTimeseries=300"
)
NEW_REFUSAL = (
    "too many points for the given start=1, end=2 and step=3: 1000; the maximum number of points "
    "is 300; (see -search.maxPointsPerTimeseries command-line flag)"
)
UNKNOWN_REFUSAL = "more than search.maxPointsPerTimeseries in words of a later version"
PROMETHEUS_REFUSAL = (
    "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
    "resolution (?step=XX)"
)


@pytest.mark.parametrize(
    ("status", "words", "limit"),
    [
        (422, OLD_REFUSAL, 300),
        (422, NEW_REFUSAL, 300),
        (422, UNKNOWN_REFUSAL, 300),
        (400, PROMETHEUS_REFUSAL, 11_000),
    ],
)
@pytest.mark.slow
def test_smaller_pieces_where_the_server_refuses(status: int, words: str, limit: int) -> None:
    length = 3 * limit + 10
    with serve(refusing(limit, status, words)) as server:
        reader = reader_of(server.url)
        for _ in range(2):
            batch = reader.read(query_of(), range_of(length), "s", stage="fit")
            row = batch.values[batch.labels.index(Labels({"a": "all"}))]
            assert row.tolist() == [START // STEP + i for i in range(length)]
        reader.close()
    refused = sample(
        reader,
        "responses_total",
        url=server.url + PATH,
        query_key="q",
        scheduler_alias="s",
        preset="default",
        code=str(status),
    )
    assert refused is not None
    assert refused <= 2, "what the server allows is remembered"


def test_a_server_that_allows_no_point_ends_the_query() -> None:
    words = "cannot exceed -search.maxPointsPerTimeseries=0"
    with serve(refusing(0, 422, words)) as server:
        reader = reader_of(server.url)
        with pytest.raises(DatasourceError, match="maxPointsPerTimeseries"):
            reader.read(query_of(), range_of(100), "s", stage="fit")
        reader.close()


def test_the_limit_is_read_from_flags() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path == "/p/flags":
            handler.reply(body=b'-a="b"\n-search.maxPointsPerTimeseries="50"\n', mime="text/plain")
        else:
            handler.reply(body=matrix(evaluate(asked)))

    with serve(respond) as server:
        reader = reader_of(f"{server.url}/p", query_of(), tenant_id="3:4")
        for n_points in (1, 120, 120):
            reader.read(query_of(tenant_id="3:4"), range_of(n_points), "s", stage="fit")
        reader.close()
    paths = [asked.path for asked in server.requests]
    query_range = "/p/select/3:4/prometheus/api/v1/query_range"
    assert paths == [query_range, "/p/flags"] + [query_range] * 6


@pytest.mark.parametrize(
    ("reader_tenant", "query_tenant", "extra"),
    [
        ("multitenant", "12", {"vm_account_id": "12", "vm_project_id": "0"}),
        ("multitenant", "12:5", {"vm_account_id": "12", "vm_project_id": "5"}),
        ("multitenant", "multitenant", {}),
        ("3", "12:5", {}),
        ("3", None, {}),
    ],
)
def test_tenants(
    healthy: Loopback, reader_tenant: str, query_tenant: str | None, extra: dict[str, str]
) -> None:
    query = query_of(tenant_id=query_tenant) if query_tenant else query_of()
    reader = reader_of(healthy.url, query, tenant_id=reader_tenant)
    batch = reader.read(query, range_of(1), "s", stage="infer")
    reader.close()
    assert batch.labels[-1] == Labels({"a": "all", **extra})
    tenant = query_tenant or reader_tenant
    assert healthy.requests[-1].path == f"/select/{tenant}/prometheus{PATH}"


def test_query_range_path(healthy: Loopback) -> None:
    reader = reader_of(f"{healthy.url}/p/", query_range_path="/graphite/query_range")
    reader.read(query_of(), range_of(1), "s", stage="infer")
    reader.close()
    assert healthy.requests[-1].path == "/p/graphite/query_range"


def test_failures_that_may_pass_are_tried_again() -> None:
    scripted: list[int | None] = [503, None]

    def respond(handler: Handler, asked: Asked) -> None:
        status = scripted.pop(0) if scripted else 200
        if status is None:
            handler.close_connection = True
        elif status != 200:
            handler.reply(status)
        else:
            handler.reply(body=matrix(evaluate(asked)))

    with serve(respond) as server:
        reader = reader_of(server.url)
        assert reader.read(query_of(), range_of(1), "s", stage="infer").n_valid_points
        assert len(server.requests) == 3
        scripted[:] = [400, 200]
        with pytest.raises(DatasourceError) as caught:
            reader.read(query_of(), range_of(1), "s", stage="infer")
        reader.close()
    assert caught.value.code == "400"
    assert len(server.requests) == 4


def test_failures_are_logged_when_they_begin_and_end(caplog: pytest.LogCaptureFixture) -> None:
    broken = threading.Event()

    def respond(handler: Handler, asked: Asked) -> None:
        if broken.is_set() and asked.form["query"] == ["bad"]:
            handler.reply(422, b'{"status":"error","error":"cannot parse bad"}')
        else:
            handler.reply(body=matrix(evaluate(asked)))

    bad = Query(alias="bad", expr="bad", step=Duration.parse("1m"))
    caplog.set_level(logging.INFO, logger="vmanomaly")
    with serve(respond) as server:
        reader = reader_of(server.url, bad, query_of())

        def read(query: Query) -> None:
            reader.read(query, range_of(1), "s", stage="infer")

        read(bad)
        broken.set()
        for _ in range(3):
            with pytest.raises(DatasourceError, match="cannot parse bad"):
                read(bad)
            read(query_of())
        broken.clear()
        read(bad)
        reader.close()
    messages = [(record.levelname, record.message) for record in caplog.records]
    assert len(messages) == 2
    assert messages[0][0] == "ERROR"
    assert messages[0][1].startswith(
        f"Error querying {server.url}{PATH} for bad with query=bad, start={START}, end={START}, "
    )
    assert messages[1][0] == "INFO"
    assert messages[1][1].startswith(f"Querying {server.url}{PATH} for bad works again after ")
    assert messages[1][1].endswith(" s and 3 failures")


@pytest.mark.slow
def test_an_outage_that_hits_seven_queries_is_told_in_three_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_down = threading.Event()

    def respond(handler: Handler, asked: Asked) -> None:
        if is_down.is_set():
            handler.close_connection = True
        else:
            well(handler, asked)

    queries = [query_of(f"q{number}") for number in range(7)]
    caplog.set_level(logging.INFO, logger="vmanomaly")
    with serve(respond) as server:
        reader = reader_of(server.url, *queries)

        def read(query: Query) -> None:
            with contextlib.suppress(DatasourceError):
                reader.read(query, range_of(1), "s", stage="infer")

        def round_of_reads() -> None:
            with ThreadPoolExecutor(7) as threads:
                list(threads.map(read, queries))

        round_of_reads()
        is_down.set()
        for _ in range(3):
            round_of_reads()
        is_down.clear()
        round_of_reads()
        reader.close()
    first, summary, last = caplog.records
    assert (first.levelname, summary.levelname, last.levelname) == ("ERROR", "ERROR", "INFO")
    assert first.message.startswith(f"Error querying {server.url}{PATH} for q")
    start = f"Querying {server.url}{PATH} still fails (connection_error) for 7 queries: "
    assert summary.message.startswith(start)
    assert sorted(summary.message.removeprefix(start).split(", ")) == [q.alias for q in queries]
    assert re.fullmatch(
        rf"Querying {server.url}{PATH} works again after \d+ s and 21 failures; "
        r"7 queries were affected",
        last.message,
    )


@pytest.mark.parametrize(
    ("stage", "words"), [("fit", "No data for query_key"), ("infer", "No unseen data for")]
)
def test_empty_results(stage: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    query = query_of(tz="Asia/Kolkata")
    with serve(lambda handler, _: handler.reply(body=matrix([]))) as server:
        reader = reader_of(server.url, query)
        batch = reader.read(query, range_of(1), "s", stage=stage)
        reader.close()
    assert batch.values.shape == (0, 1)
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert words in message
    assert re.search(r"2023-11-15T03:43:00\+05:30.*2023-11-15T03:44:00", message)
    assert f"{START - STEP} to {START}" in message


def test_partial_answers(caplog: pytest.LogCaptureFixture) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        handler.reply(body=matrix(evaluate(asked), isPartial=True))

    with serve(respond) as server:
        reader = reader_of(server.url)
        assert reader.read(query_of(), range_of(1), "s", stage="infer").n_valid_points
        assert "Partial data for q" in caplog.text
        with pytest.raises(DatasourceError, match="isPartial") as caught:
            reader.read(query_of(), range_of(1), "s", stage="fit")
        reader.close()
    assert caught.value.code == "partial"
    labels = {"url": server.url + PATH, "query_key": "q", "scheduler_alias": "s"}
    assert sample(reader, "responses_total", **labels, preset="default", code="partial") == 2


@pytest.mark.parametrize(
    ("body", "mime", "words"),
    [
        (b"<html><title>Login</title></html>", "text/html", "HTML.*Login.*datasource_url"),
        (b'{"status":"success","data":{"res', "application/json", "at byte"),
        (b'{"status":"error","error":"no such tenant"}', "application/json", "no such tenant"),
        (b"", "application/json", "empty"),
    ],
)
def test_answers_that_are_no_result(body: bytes, mime: str, words: str) -> None:
    with serve(lambda handler, _: handler.reply(body=body, mime=mime)) as server:
        reader = reader_of(server.url)
        with pytest.raises(DatasourceError, match=words) as caught:
            reader.read(query_of(), range_of(1), "s", stage="infer")
        reader.close()
    assert caught.value.code == "io_error"


def test_slow_answers_end_in_a_time_out() -> None:
    with serve(lambda handler, _: handler.hang()) as server:
        reader = reader_of(server.url, timeout=Duration(60_000), fetch_timeout=Duration(50))
        with pytest.raises(DatasourceError) as caught:
            reader.read(query_of(), range_of(1), "s", stage="infer")
        reader.close()
    assert caught.value.code == "timeout"


def test_no_more_queries_side_by_side_than_workers() -> None:
    lock = threading.Lock()
    running = [0, 0]
    both = threading.Barrier(2)

    def respond(handler: Handler, asked: Asked) -> None:
        with lock:
            running[0] += 1
            running[1] = max(running)
        both.wait(60)
        with lock:
            running[0] -= 1
        handler.reply(body=matrix(evaluate(asked)))

    queries = [query_of(alias) for alias in "abcdef"]
    with serve(respond) as server, ThreadPoolExecutor(6) as pool:
        reader = reader_of(server.url, *queries, workers=2)
        futures = [
            pool.submit(reader.read, query, range_of(1), "s", stage="infer") for query in queries
        ]
        for future in futures:
            assert future.result().labels[-1] == Labels({"a": "all"})
        reader.close()
    assert running[1] == 2


def test_the_same_series_are_the_same_objects(healthy: Loopback) -> None:
    reader = reader_of(healthy.url)
    first, second = (
        reader.read(query_of(max_points_per_query=50), range_of(n), "s", stage="fit")
        for n in (120, 150)
    )
    reader.close()
    assert first.labels is second.labels


class TestDataFolder:
    """The data of a fit in a file instead of memory."""

    def test_the_same_data_and_no_file_that_stays(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        with serve(refusing(130, 422, "search.maxPointsPerTimeseries=130")) as server:
            in_memory = reader_of(server.url)
            expected = in_memory.read(query_of(), range_of(700), "s", stage="fit")
            in_memory.close()
            reader = VmReader(section_of(server.url), Metrics(), folder)
            batch = reader.read(query_of(), range_of(700), "s", stage="fit")
            reader.close()
        assert batch.labels == expected.labels
        np.testing.assert_array_equal(batch.values, expected.values)
        assert not batch.values.flags.owndata
        assert list(folder.iterdir()) == []

    def test_an_infer_is_kept_in_memory(self, healthy: Loopback, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        reader = VmReader(section_of(healthy.url), Metrics(), folder)
        reader.read(query_of(), range_of(3), "s", stage="infer")
        reader.close()
        assert not folder.exists()

    def test_a_full_disk(
        self,
        healthy: Loopback,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def no_room(*arguments: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.posix_fallocate", no_room)
        reader = VmReader(section_of(healthy.url), Metrics(), tmp_path)
        batches = [reader.read(query_of(), range_of(300), "s", stage="fit") for _ in range(2)]
        assert all(batch.n_valid_points > 300 for batch in batches)
        told = f"Cannot keep the data of q in {tmp_path}: No space left on device"
        assert caplog.text.count(told) == 1
        monkeypatch.undo()
        caplog.set_level("INFO")
        for _ in range(2):
            reader.read(query_of(), range_of(300), "s", stage="fit")
        reader.close()
        assert caplog.text.count(f"The data of fits is kept in {tmp_path} again") == 1


def test_what_is_odd_about_answers_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    odd = [True]

    def respond(handler: Handler, asked: Asked) -> None:
        samples = [[START, "1"], [START + STEP, "2"]]
        twice: list[dict[str, Any]] = [{"metric": {"a": "b"}, "values": samples}] * 2
        late = [{"metric": {"a": "c"}, "values": [[START + 0.5, "1"]]}]
        healthy = [{"metric": {"a": "b"}, "values": samples}]
        handler.reply(body=matrix(twice + late if odd[0] else healthy))

    with serve(respond) as server:
        reader = reader_of(server.url)
        for _ in range(3):
            reader.read(query_of(), range_of(2), "s", stage="infer")
        told = [message for message in caplog.messages if "of q" in message]
        assert [message.partition(": ")[2] for message in told] == [
            "series of q merged with another one, whose labels they have: 1",
            "samples of q left out, since they are not at multiples of the step: 1",
        ]
        for odd[0] in (False, True):
            reader.read(query_of(), range_of(2), "s", stage="infer")
        reader.close()
    assert len([message for message in caplog.messages if "of q" in message]) == 4


def test_processing_that_takes_too_long(healthy: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(step=0.1)
    monkeypatch.setattr("vmanomaly.reader.range_queries.time.perf_counter", lambda: next(now))
    reader = reader_of(healthy.url, processing_timeout="50ms")
    with pytest.raises(DatasourceError, match=r"raise `reader.processing_timeout`") as caught:
        reader.read(query_of(), range_of(300), "s", stage="fit")
    reader.close()
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("version", "offset", "warned"),
    [
        ("v1.79.5", "0s", True),
        ("v1.85.1", "-20s", True),
        ("v1.79.5", "-95s", False),
        ("v1.85.2", "0s", False),
        ("v1.150.0-cluster", "0s", False),
        ("", "0s", True),
        (None, "0s", False),
    ],
)
def test_servers_that_hide_the_last_seconds(
    version: str | None, offset: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path == "/metrics" and version is not None:
            page = f'x 1\nvm_app_version{{version="vm-2022", short_version="{version}"}} 1\n'
            handler.reply(200, page.encode(), mime="text/plain")
        else:
            well(handler, asked)

    # At a step of a second the last point is where the offset says, at any time of the minute.
    query = query_of(step="1s", offset=Duration.parse(offset))
    with serve(respond) as server:
        reader = reader_of(server.url, query)
        reader.read(query, range_of(3), "s", stage="fit")
        # Data of a minute ago is not hidden, and no reason not to warn later.
        for age in (60_000, 0, 0):
            assert age == 0 or "latency_offset" not in caplog.text
            now = int(time.time()) * 1000 - age
            reader.read(query, TimeRange(now - 3_000, now), "s", stage="infer")
        reader.close()
    found = [message for message in caplog.messages if "ignores latency_offset" in message]
    assert len(found) == warned
    assert all("for q there would be" in message for message in found)
    assert all("set `reader.offset` to at least -30s" in message for message in found)


def never_answered(path: str, arriving: threading.Event) -> Callable[[Handler, Asked], None]:
    """Return what answers everything but one path."""

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path.endswith(path):
            arriving.set()
            handler.hang()
        elif asked.method == "GET":
            handler.reply(404)
        else:
            handler.reply(body=matrix(evaluate(asked)))

    return respond


def responses(reader: VmReader) -> dict[str, float]:
    return {
        sample.labels["code"]: sample.value
        for family in reader._metrics.registry.collect()
        for sample in family.samples
        if sample.name == "vmanomaly_reader_responses_total" and sample.value
    }


@pytest.mark.parametrize("path", ["query_range", "flags", "metrics"])
def test_a_read_that_is_under_way_can_be_cancelled(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    arriving, context = threading.Event(), RunContext()
    now = round(time.time()) * 1000
    with serve(never_answered(path, arriving)) as server, ThreadPoolExecutor(1) as executor:
        reader = reader_of(server.url, timeout=Duration.parse("1h"))
        last = TimeRange(now - 300_000, now)
        read = executor.submit(reader.read, query_of(), last, "s", stage="fit", context=context)
        assert arriving.wait(60)
        context.cancel()
        assert isinstance(read.exception(60), CancelledError)
        reader.close()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert responses(reader) == ({"cancelled": 1.0} if path == "query_range" else {})


def test_only_queries_whose_last_read_timed_out_are_slow() -> None:
    with serve(lambda handler, _: handler.hang()) as server:
        reader = reader_of(server.url, fetch_timeout=Duration(50))
        with pytest.raises(DatasourceError):
            reader.read(query_of(), range_of(1), "s", stage="infer")
        assert reader._queries._workers._slow_users == {("s", query_of().alias)}
        reader.close()
    with serve(lambda handler, _: handler.reply(400)) as server:
        refused = reader_of(server.url)
        refused._queries._workers = reader._queries._workers
        with pytest.raises(DatasourceError):
            refused.read(query_of(), range_of(1), "s", stage="infer")
        assert refused._queries._workers._slow_users == set()
        refused.close()


def test_a_read_that_waits_for_a_worker_can_be_cancelled() -> None:
    arriving, first, second = threading.Event(), RunContext(), RunContext()
    with serve(never_answered("range", arriving)) as server, ThreadPoolExecutor(2) as executor:
        reader = reader_of(server.url, timeout=Duration.parse("1h"), workers=1)
        reads = []
        for context in (first, second):
            reads.append(
                executor.submit(
                    reader.read, query_of(), range_of(1), "s", stage="fit", context=context
                )
            )
            assert arriving.wait(60)
        assert eventually(lambda: len(reader._queries._workers._waiting) == 1)
        second.cancel()
        assert isinstance(reads[1].exception(60), CancelledError)
        assert not reads[0].done()
        first.cancel()
        assert isinstance(reads[0].exception(60), CancelledError)
        reader.close()


def test_a_read_that_waits_to_try_again_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_queries, "RETRY_DELAYS_S", (3600.0,))
    context = RunContext()
    with (
        serve(lambda handler, _: handler.reply(503)) as server,
        ThreadPoolExecutor(1) as executor,
    ):
        reader = reader_of(server.url)
        read = executor.submit(
            reader.read, query_of(), range_of(1), "s", stage="fit", context=context
        )
        assert eventually(lambda: bool(context._on_cancel) and len(server.requests) == 1)
        context.cancel()
        assert isinstance(read.exception(60), CancelledError)
        reader.close()


def test_queries_that_never_end_leave_their_workers_to_others() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.method == "GET":
            handler.reply(404)
        elif asked.form["query"] == ["good"]:
            handler.reply(body=matrix(evaluate(asked)))
        else:
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            while not handler.released.wait(0.01):
                handler.wfile.write(b"0")

    with serve(respond) as server, ThreadPoolExecutor(9) as executor:
        bad = query_of().model_copy(update={"expr": "bad"})
        good = query_of().model_copy(update={"expr": "good"})
        queries = [*[bad] * 8, good]
        reader = reader_of(server.url, workers=8, timeout=Duration(300))
        reads = [
            executor.submit(reader.read, query, range_of(1), "s", stage="fit") for query in queries
        ]
        errors = [read.exception(60) for read in reads]
        assert errors[-1] is None
        assert [error.code for error in errors[:-1] if isinstance(error, DatasourceError)] == (
            ["timeout"] * 8
        )
        reader.close()


def test_the_deadline_of_the_work_counts_as_a_timeout() -> None:
    with serve(never_answered("query_range", threading.Event())) as server:
        reader = reader_of(server.url, timeout=Duration.parse("1h"))
        with pytest.raises(DeadlineExceededError):
            reader.read(query_of(), range_of(1), "s", stage="fit", context=RunContext().child(0.3))
        reader.close()
    assert responses(reader) == {"timeout": 1.0}


@pytest.mark.parametrize(
    "words",
    [
        "cannot select more than -search.maxSamplesPerQuery=1000 samples; possible solutions: x",
        "cannot process more than 30 samples per series; increase -search.maxSamplesPerSeries",
        "query processing would load too many samples into memory in query execution",
        # Of a subquery, whose points are not those of the range.
        "too many points: 39843; cannot exceed -search.maxPointsPerTimeseries=30000",
        f"{'a + ' * 200}b: not enough memory for processing 9 data points; {'x' * 500}",
    ],
)
def test_what_is_too_much_at_once_is_read_in_pieces(words: str) -> None:
    with serve(refusing(30, 422, words)) as server:
        reader = reader_of(server.url)
        batch = reader.read(query_of(), range_of(100), "s", stage="fit")
        row = batch.values[batch.labels.index(Labels({"a": "all"}))]
        assert row.tolist() == [START // STEP + i for i in range(100)]
        # Another query may have as many points as before.
        before = len(server.requests)
        reader.read(query_of("r"), range_of(30), "s", stage="fit")
        assert len(server.requests) == before + 1
        reader.close()


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("cannot select more than -search.maxSamplesPerQuery=1 samples", "-search.maxSamples"),
        ("not enough memory for processing x", "-memory.allowedPercent"),
    ],
)
def test_too_many_samples_of_one_point_name_the_remedy(words: str, limit: str) -> None:
    with serve(refusing(0, 422, words)) as server:
        reader = reader_of(server.url)
        with pytest.raises(DatasourceError, match=rf"max_points_per_query.*{re.escape(limit)}"):
            reader.read(query_of(), range_of(100), "s", stage="fit")
        reader.close()
    assert len(server.requests) < 12


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (b"0", "-search.maxPointsPerTimeseries=0"),
        (b"1", "x"),
        (b"9" * 5000, "maxPointsPerTimeseries=, search.maxPointsPerTimeseries"),
        ("²".encode(), "search.maxPointsPerTimeseries=" + "9" * 5000),
    ],
)
def test_odd_limits_are_no_storm(flag: bytes, words: str) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path == "/flags":
            handler.reply(body=b'-search.maxPointsPerTimeseries="%s"' % flag, mime="text/plain")
        else:
            refusing(1, 422, words)(handler, asked)

    with serve(respond) as server:
        reader = reader_of(server.url)
        with pytest.raises(DatasourceError, match="max_points_per_query"):
            reader.read(query_of(), range_of(2000), "s", stage="fit")
        reader.close()
    assert len(server.requests) < 20


@given(st.text() | st.from_regex(r"maxPointsPerTimeseries=[0-9,]{0,40}"), st.integers(2, 10**6))
def test_what_a_refusal_allows_is_fewer_points(words: str, asked: int) -> None:
    error = StatusError("x", 422, f"search.maxPointsPerTimeseries {words}", None, False)
    allowed = vm._allowed_points(error, asked)
    assert allowed is not None
    assert 0 < allowed < asked


def test_retry_after_is_honoured_where_it_fits() -> None:
    answers = iter([(429, "0"), (200, None), (429, "9999999")])

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path != PATH:
            handler.reply(404)
            return
        status, wait = next(answers)
        body = matrix(evaluate(asked)) if status == 200 else b""
        handler.reply(status, body, **({} if wait is None else {"Retry_After": wait}))

    with serve(respond) as server:
        reader = reader_of(server.url)
        reader.read(query_of(), range_of(1), "s", stage="infer")
        with pytest.raises(DatasourceError, match="429"):
            reader.read(query_of(), range_of(1), "s", stage="infer")
        reader.close()
    assert [asked.path for asked in server.requests].count(PATH) == 3


def test_a_query_waits_as_long_as_the_server_asks() -> None:
    reader = reader_of("http://vm")
    error = StatusError("x", 429, "", 7.0, False)
    assert reader._queries._delay(RunContext(), error, 0.2) == 7
    assert reader._queries._delay(RunContext().child(3), error, 0.2) is None
    assert reader._queries._delay(RunContext(), DatasourceError("x", "io_error"), 0.2) == 0.2


def test_warnings_are_logged_when_they_change(caplog: pytest.LogCaptureFixture) -> None:
    said: list[list[str]] = [["a is slow"], ["a is slow"], ["b is slow"], [], ["partial: c"]]

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path == PATH:
            handler.reply(body=matrix(evaluate(asked), warnings=said[0]))
        else:
            handler.reply(404)

    with serve(respond) as server:
        reader = reader_of(server.url)
        while len(said) > 1:
            reader.read(query_of(), range_of(3), "s", stage="infer")
            del said[0]
        assert len(reader.read(query_of(), range_of(3), "s", stage="infer").labels) > 0
        with pytest.raises(DatasourceError, match="partial: c") as caught:
            reader.read(query_of(), range_of(3), "s", stage="fit")
        assert caught.value.code == "partial"
        reader.close()
    told = [r.message for r in caplog.records if "warns about" in r.message]
    assert [text.rpartition(": ")[2] for text in told] == ["a is slow", "b is slow", "c"]
