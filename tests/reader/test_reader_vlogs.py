from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import FakeClock
from tests.loopback import Asked, Handler, Loopback, serve
from tests.victorialogs import NS, PATH, VictoriaLogs, nanoseconds, victorialogs
from vmanomaly.config.reader import VlogsQuery, VlogsReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader, range_queries
from vmanomaly.reader.logs_values import number_of, series_labels
from vmanomaly.reader.vlogs import VLogsReader
from vmanomaly.series import Labels, SeriesBatch, TimeRange

STEP = 60
START = 1_750_000_020
N = 40
LATER = FakeClock((START + 10**6) * 1000)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_queries, "RETRY_DELAYS_S", (0.0, 0.0))


@pytest.fixture
def source() -> Iterator[tuple[VictoriaLogs, Loopback]]:
    with victorialogs() as both:
        yield both


def timestamp(time_ns: int) -> str:
    whole = datetime.fromtimestamp(time_ns // NS, UTC).isoformat().removesuffix("+00:00")
    return f"{whole}.{time_ns % NS:09d}Z"


def access_log() -> list[dict[str, str]]:
    """Lines at random times, some of them on the edges of buckets, and none in a few buckets."""
    rng = np.random.default_rng(7)
    times = (START * NS + rng.integers(N * STEP * NS, size=600)).tolist()
    edges = [(START + i * STEP) * NS for i in range(N + 1)]
    times += edges + [edge - 1 for edge in edges]
    quiet = {START + 7 * STEP, START + 8 * STEP, START + 20 * STEP}
    lines = []
    for time in sorted(times):
        if bucket_of(time) in quiet:
            continue
        lines.append(
            {
                "_time": timestamp(time),
                "_msg": "GET /",
                "level": str(rng.choice(["info", "info", "info", "error"])),
                "service.name": str(rng.choice(["api", "web"])),
                "bytes": str(rng.integers(1000)),
            }
        )
    return lines


def bucket_of(time_ns: int, step: int = STEP) -> int:
    return time_ns // NS // step * step


LINES = access_log()


def counted(lines: list[dict[str, str]], **where: str) -> dict[int, float]:
    """Count lines per bucket, without the help of the stand-in."""
    kept = [line for line in lines if all(line[name] == value for name, value in where.items())]
    return dict(Counter(bucket_of(nanoseconds(line["_time"])) for line in kept))


def query_of(expr: str = "* | stats count() as logs", **keys: Any) -> VlogsQuery:
    keys = {"alias": "q", "step": Duration.parse("1m"), **keys}
    return VlogsQuery(expr=expr, **keys)


def reader_of(
    url: str,
    *queries: VlogsQuery,
    clock: FakeClock = LATER,
    routes_by_tenant: bool = False,
    **keys: Any,
) -> VLogsReader:
    queries = queries or (query_of(),)
    section = VlogsReaderSection(
        datasource_url=url, queries={query.alias: query for query in queries}, **keys
    )
    return VLogsReader(section, Metrics(), routes_by_tenant=routes_by_tenant, clock=clock)


def whole_range(n: int = N) -> TimeRange:
    """Return the range in which the buckets end."""
    return TimeRange(START * 1000, (START + n * STEP) * 1000)


def read(
    url: str, query: VlogsQuery, time_range: TimeRange | None = None, **keys: Any
) -> SeriesBatch:
    reader = reader_of(url, query, **keys)
    try:
        return reader.read(query, time_range or whole_range(), "s", stage="fit")
    finally:
        reader.close()


def rows(batch: SeriesBatch) -> dict[Labels, dict[int, float]]:
    """Return the values that are there, by labels and second."""
    seconds = batch.timestamps // 1000
    return {
        labels: {int(s): float(v) for s, v in zip(seconds, row, strict=True) if not np.isnan(v)}
        for labels, row in zip(batch.labels, batch.values, strict=True)
    }


def code_counts(reader: VLogsReader) -> dict[str, float]:
    return {
        sample.labels["code"]: sample.value
        for family in reader._metrics.registry.collect()
        for sample in family.samples
        if sample.name == "vmanomaly_reader_responses_total" and sample.value
    }


def of_range(values: dict[int, float], n: int = N) -> dict[int, float]:
    return {second: value for second, value in values.items() if START <= second < START + n * STEP}


def test_request(source: tuple[VictoriaLogs, Loopback]) -> None:
    _, server = source
    query = query_of()
    section = VlogsReaderSection(
        datasource_url=server.url,
        queries={"q": query},
        extra_filters=("level:=error", "service.name:=api"),
    )
    reader = create_reader(section, Metrics())
    reader.check_health()
    # Neither end is a multiple of the step.
    reader.read(query, TimeRange(START * 1000 + 1, START * 1000 + 200_000), "s", stage="fit")
    reader.close()
    asked = server.requests[-1]
    assert (asked.method, asked.path) == ("POST", PATH)
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert not {"AccountID", "ProjectID"} & set(asked.headers)
    assert asked.form == {
        "query": ["* | stats count() as logs"],
        "start": [f"{START}000000000"],
        "end": [f"{START + 179}999999999"],
        "step": ["60s"],
        "timeout": ["29s"],
        "extra_filters": ["level:=error", "service.name:=api"],
    }


@pytest.mark.parametrize("exclusive_end", [False, True])
def test_every_bucket_counts_what_began_in_it(
    source: tuple[VictoriaLogs, Loopback], exclusive_end: bool
) -> None:
    logs, server = source
    logs.exclusive_end = exclusive_end
    logs.add(*LINES)
    batch = read(server.url, query_of("* | stats by (level) count() as logs"))
    assert batch.timestamps.tolist() == [(START + i * STEP) * 1000 for i in range(N)]
    assert rows(batch) == {
        Labels({"__name__": "q__logs", "result_name": "logs", "level": level}): of_range(
            counted(LINES, level=level)
        )
        for level in ("error", "info")
    }
    assert sum(batch.values[~np.isnan(batch.values)]) == sum(of_range(counted(LINES)).values())


def test_extra_filters_narrow_every_query(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    filters = ("level:=error", "service.name:=api")
    (row,) = rows(read(server.url, query_of(), extra_filters=filters)).values()
    expected = counted([line for line in LINES if line["service.name"] == "api"], level="error")
    assert row == of_range(expected)


def test_averages_and_several_results(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    batch = read(server.url, query_of("* | stats avg(bytes) as mean, count() n, sum(bytes)"))
    of_bucket = defaultdict(list)
    for line in LINES:
        of_bucket[bucket_of(nanoseconds(line["_time"]))].append(int(line["bytes"]))
    expected: dict[str, dict[int, float]] = {
        "mean": {second: float(np.mean(values)) for second, values in of_bucket.items()},
        "n": {second: len(values) for second, values in of_bucket.items()},
        "sum(bytes)": {second: sum(values) for second, values in of_bucket.items()},
    }
    assert {labels["result_name"] for labels in batch.labels} == set(expected)
    for labels, row in rows(batch).items():
        assert labels["__name__"] == f"q__{labels['result_name']}"
        assert row == pytest.approx(of_range(expected[labels["result_name"]]), rel=1e-9)


@pytest.mark.parametrize(("step", "sent"), [("1500ms", "1500ms"), ("5m", "300s")])
def test_other_steps(source: tuple[VictoriaLogs, Loopback], step: str, sent: str) -> None:
    logs, server = source
    logs.add(*LINES)
    query = query_of(step=Duration.parse(step))
    batch = read(server.url, query)
    step_ns = int(query.step) * 10**6
    assert server.requests[-1].form["step"] == [sent]
    times = [nanoseconds(line["_time"]) for line in LINES]
    expected = Counter(time // step_ns * step_ns // 10**6 for time in times)
    (row,) = batch.values
    found = {int(t): v for t, v in zip(batch.timestamps, row, strict=True) if not np.isnan(v)}
    first, last = batch.timestamps[[0, -1]]
    assert found == {time: n for time, n in expected.items() if first <= time <= last}
    assert last + int(query.step) <= whole_range().end < last + 2 * int(query.step)


def test_a_bucket_is_read_when_it_is_over(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    clock = FakeClock((START + 10 * STEP) * 1000 - 1)
    query = query_of()
    reader = reader_of(server.url, query, clock=clock)
    batch = reader.read(query, whole_range(), "s", stage="infer")
    assert batch.timestamps[-1] == (START + 8 * STEP) * 1000
    clock.time += 1
    batch = reader.read(query, whole_range(), "s", stage="infer")
    assert batch.timestamps[-1] == (START + 9 * STEP) * 1000
    n_requests = len(server.requests)
    later = TimeRange(whole_range().end, whole_range().end + 600_000)
    assert reader.read(query, later, "s", stage="infer").timestamps.size == 0
    reader.close()
    assert len(server.requests) == n_requests


def test_offset_moves_the_window(source: tuple[VictoriaLogs, Loopback]) -> None:
    _, server = source
    batch = read(server.url, query_of(offset=Duration.parse("-90s")), whole_range(3))
    assert (batch.timestamps // 1000).tolist() == [START - 120, START - 60, START]
    batch = read(server.url, query_of(), whole_range(3))
    assert (batch.timestamps // 1000).tolist() == [START, START + 60, START + 120]


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41])
def test_pieces_are_cut_between_buckets(source: tuple[VictoriaLogs, Loopback], size: int) -> None:
    logs, server = source
    logs.add(*LINES)
    expr = "* | stats by (service.name) count() as logs"
    whole = rows(read(server.url, query_of(expr)))
    assert rows(read(server.url, query_of(expr, max_points_per_query=size))) == whole
    pieces = [(int(a.form["start"][0]), int(a.form["end"][0])) for a in server.requests[1:]]
    assert len(pieces) == -(-N // size)
    assert all(start % (STEP * NS) == 0 for start, _ in pieces)
    assert [end + 1 for _, end in pieces[:-1]] == [start for start, _ in pieces[1:]]


def test_an_answer_that_breaks_off_is_asked_for_in_smaller_pieces(
    source: tuple[VictoriaLogs, Loopback], caplog: pytest.LogCaptureFixture
) -> None:
    logs, server = source
    logs.add(*LINES)
    logs.most_buckets = 12
    caplog.set_level(logging.INFO, logger="vmanomaly")
    query = query_of()
    reader = reader_of(server.url, query)
    for n_requests in (2 + 4, 4):
        before = len(server.requests)
        (row,) = rows(reader.read(query, whole_range(), "s", stage="fit")).values()
        assert row == of_range(counted(LINES))
        assert len(server.requests) - before == n_requests, "what it can do is remembered"
    reader.close()
    assert code_counts(reader) == {"timeout": 2, "200": 8}
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert "q takes too long for the server: it is asked for 10 points" in caplog.text


@pytest.mark.parametrize("early_abort", [False, True])
def test_a_bucket_that_takes_too_long_is_a_failure_and_not_an_empty_result(
    source: tuple[VictoriaLogs, Loopback], caplog: pytest.LogCaptureFixture, early_abort: bool
) -> None:
    logs, server = source
    logs.most_buckets, logs.early_abort = 0, early_abort
    query = query_of()
    reader = reader_of(server.url, query)
    with pytest.raises(DatasourceError, match=r"-search\.maxQueryDuration") as caught:
        reader.read(query, whole_range(1), "s", stage="infer")
    with pytest.raises(DatasourceError):
        reader.read(query, whole_range(4), "s", stage="fit")
    reader.close()
    assert caught.value.code == "timeout"
    assert code_counts(reader) == {"timeout": 1 + 3}
    assert "No data" not in caplog.text
    assert "No unseen data" not in caplog.text
    assert "the server ran out of time and broke off" in caplog.text


def test_a_proxy_that_passes_on_a_broken_answer_as_a_whole() -> None:
    def respond(handler: Handler, _: Asked) -> None:
        handler.reply(body=b"\nthe connection has been aborted; see the last line [...]\n")

    with serve(respond) as server, pytest.raises(DatasourceError) as caught:
        read(server.url, query_of(), whole_range(1))
    assert caught.value.code == "timeout"


def test_a_storm_of_requests_is_refused(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.most_buckets = 1
    with pytest.raises(
        DatasourceError,
        match=r"more than 1000 requests\. Raise the limit",
    ):
        read(server.url, query_of(), whole_range(1500))
    assert len(server.requests) < 20


def test_a_range_that_is_too_long(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    logs.longest_range_s = 15 * STEP
    (row,) = rows(read(server.url, query_of())).values()
    assert row == of_range(counted(LINES))


def test_an_overloaded_server_is_asked_again(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    logs.overloaded = 2
    (row,) = rows(read(server.url, query_of())).values()
    assert row == of_range(counted(LINES))
    logs.overloaded = 3
    with pytest.raises(DatasourceError, match="503"):
        read(server.url, query_of())


def test_what_the_server_says_is_shown(source: tuple[VictoriaLogs, Loopback]) -> None:
    _, server = source
    with pytest.raises(
        DatasourceError, match=r"missing `\| stats \.\.\.` pipe in the query"
    ) as caught:
        read(server.url, query_of("error"))
    assert caught.value.code == "422"
    with pytest.raises(DatasourceError, match=r"unsupported path.*reader\.datasource_url"):
        read(f"{server.url}/prefix", query_of())


@pytest.mark.parametrize("suffix", [PATH, f"{PATH}/"])
def test_an_address_that_is_complete_is_kept(
    source: tuple[VictoriaLogs, Loopback], suffix: str
) -> None:
    _, server = source
    reader = reader_of(server.url + suffix)
    reader.check_health()
    reader.read(query_of(), whole_range(1), "s", stage="infer")
    reader.close()
    assert server.requests[-1].path == PATH


def test_get(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    (row,) = rows(read(server.url, query_of(), http_method="GET")).values()
    assert row == of_range(counted(LINES))
    assert server.requests[-1].method == "GET"


@pytest.mark.parametrize(
    ("reader_tenant", "query_tenant", "expected"),
    [
        ("7", None, ("7", "0")),
        ("7:3", None, ("7", "3")),
        ("7", "8:9", ("8", "9")),
        ("0:0", None, ("0", "0")),
    ],
)
@pytest.mark.parametrize("routes_by_tenant", [False, True])
def test_tenants_are_headers(
    source: tuple[VictoriaLogs, Loopback],
    reader_tenant: str,
    query_tenant: str | None,
    expected: tuple[str, str],
    routes_by_tenant: bool,
) -> None:
    logs, server = source
    logs.add(*LINES, tenant=expected)
    query = query_of(**({"tenant_id": query_tenant} if query_tenant else {}))
    batch = read(server.url, query, tenant_id=reader_tenant, routes_by_tenant=routes_by_tenant)
    asked = server.requests[-1]
    assert (asked.headers["AccountID"], asked.headers["ProjectID"]) == expected
    assert asked.path == PATH
    own = {"__name__": "q__logs", "result_name": "logs"}
    if routes_by_tenant:
        own |= {"vm_account_id": expected[0], "vm_project_id": expected[1]}
    assert rows(batch) == {Labels(own): of_range(counted(LINES))}


def test_no_tenant_is_no_header_and_no_label(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    batch = read(server.url, query_of(), routes_by_tenant=True)
    assert batch.labels == (Labels({"__name__": "q__logs", "result_name": "logs"}),)


def test_an_unknown_tenant_has_no_data(
    source: tuple[VictoriaLogs, Loopback], caplog: pytest.LogCaptureFixture
) -> None:
    logs, server = source
    logs.add(*LINES)
    assert read(server.url, query_of(), tenant_id="99").labels == ()
    assert "No data for query_key q" in caplog.text


def test_fields_become_labels(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    line = {
        "_time": timestamp(START * NS),
        "resource_attr:service.name": "api",
        "0zone": "eu",
        "result_name": "own",
        "a.b": "x",
        "a_b": "y",
    }
    logs.add(line)
    by = "resource_attr:service.name, 0zone, result_name, a.b, a_b, absent"
    batch = read(server.url, query_of(f"* | stats by ({by}) count()"), whole_range(1))
    assert batch.labels == (
        Labels(
            {
                "__name__": "q__count(*)",
                "result_name": "count(*)",
                "resource_attr_service_name": "api",
                "_0zone": "eu",
                "exported_result_name": "own",
                "a_b": "x;y",
            }
        ),
    )


def test_values_with_units_and_values_that_are_none(
    source: tuple[VictoriaLogs, Loopback], caplog: pytest.LogCaptureFixture
) -> None:
    logs, server = source
    at = [timestamp((START + i * STEP) * NS) for i in range(4)]
    logs.add(
        {"_time": at[0], "took": "1m5s", "size": "2KiB"},
        {"_time": at[1], "took": "1.5ms", "size": "17"},
        {"_time": at[2], "size": "fast"},
        {"_time": at[3], "size": "slow"},
    )
    expr = "* | stats max(took) as took, max(size) as size, sum(took) as total, uniq_values(size) u"
    query = query_of(expr)
    reader = reader_of(server.url, query)
    for _ in range(2):
        batch = reader.read(query, whole_range(4), "s", stage="fit")
    reader.close()
    named = zip(batch.labels, batch.values, strict=True)
    values = {labels["result_name"]: row for labels, row in named}
    nan = np.nan
    np.testing.assert_array_equal(values["took"], [65e9, 1.5e6, nan, nan])
    np.testing.assert_array_equal(values["size"], [2048, 17, nan, nan])
    np.testing.assert_array_equal(values["total"], [65e9, 1.5e6, nan, nan])
    np.testing.assert_array_equal(values["u"], [nan] * 4)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Query 'q' gives values that are no numbers, such as 'fast'" in warnings[0]


def test_fill_begins_with_the_first_sample(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    late = START + 30 * STEP
    logs.add({"_time": timestamp(late * NS), "level": "fatal"})
    query = query_of("* | stats by (level) count() as logs", fill=0)
    batch = read(server.url, query, clock=FakeClock((START + 35 * STEP) * 1000))
    seconds = [START + i * STEP for i in range(35)]
    assert batch.timestamps.tolist() == [second * 1000 for second in seconds]
    for level in ("info", "error"):
        found = rows(batch)[Labels({"__name__": "q__logs", "result_name": "logs", "level": level})]
        of_level = of_range(counted(LINES, level=level), 35)
        assert found == {s: of_level.get(s, 0) for s in seconds if s >= min(of_level)}
    fatal = rows(batch)[Labels({"__name__": "q__logs", "result_name": "logs", "level": "fatal"})]
    assert fatal == {late: 1, **{second: 0 for second in seconds if second > late}}
    assert np.isnan(read(server.url, query_of()).values).any(), "without it they are absent"


def test_series_known_from_before_are_the_same_objects(
    source: tuple[VictoriaLogs, Loopback],
) -> None:
    logs, server = source
    logs.add(*LINES)
    query = query_of("* | stats by (level) count() as logs")
    reader = reader_of(server.url, query)
    first, second = (reader.read(query, whole_range(), "s", stage="fit") for _ in range(2))
    reader.close()
    assert second.labels is first.labels


def test_metrics(source: tuple[VictoriaLogs, Loopback]) -> None:
    logs, server = source
    logs.add(*LINES)
    reader = reader_of(server.url.replace("//", "//scott:tiger@"))
    batch = reader.read(query_of(), whole_range(), "s", stage="fit")
    reader.close()
    labels = {
        "url": server.url + PATH,
        "query_key": "q",
        "scheduler_alias": "s",
        "preset": "default",
    }

    def sample(name: str, **more: str) -> float | None:
        name = f"vmanomaly_reader_{name}"
        return reader._metrics.registry.get_sample_value(name, labels | more)

    assert sample("responses_total", code="200") == 1
    assert sample("timeseries_received_total") == 1
    assert sample("datapoints_received_total") == batch.n_valid_points
    assert sample("request_duration_seconds_count") == 1
    assert sample("response_parsing_seconds_count", step="json") == 1
    assert sample("response_parsing_seconds_count", step="df") == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 999), st.sampled_from([("h", 3600), ("m", 60), ("s", 1)])),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_durations_are_sums_of_their_parts(
    parts: list[tuple[int, tuple[str, int]]], negative: bool
) -> None:
    text = "-" * negative + "".join(f"{amount}{unit}" for amount, (unit, _) in parts)
    seconds = sum(amount * factor for amount, (_, factor) in parts)
    assert number_of(text) == (-1 if negative else 1) * seconds * 1e9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-05", 1e-05),
        ("1_000.5", 1000.5),
        ("+Inf", np.inf),
        ("-inf", -np.inf),
        ("0", 0),
        ("1w2d", 9 * 86_400e9),
        ("3µs", 3000),
        ("1y", 365 * 86_400e9),
        ("1KB", 1000),
        ("1.5GiB", 1.5 * 2**30),
        ("2T", 2e12),
        ("1Mi", 2**20),
        ("7B", 7),
        ("99999999y", 2.0**63),
        ("0b101", 5),
    ],
)
def test_numbers(text: str, expected: float) -> None:
    assert number_of(text) == expected


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "abc", "-", "5parsecs", "1 s", "{}", "2025-07-01T00:00:00Z", "٣", "9" * 999],
)
def test_no_numbers(text: str) -> None:
    assert number_of(text) is None


@given(st.dictionaries(st.text(), st.text(), max_size=6))
def test_every_field_gives_a_valid_label_and_none_is_lost(fields: dict[str, str]) -> None:
    labels = series_labels({**fields, "__name__": "n"}, "q")
    names = labels.keys() - {"__name__", "result_name"}
    assert labels["__name__"] == "q__n"
    assert labels["result_name"] == "n"
    for name in names:
        assert name.isascii()
        assert name.isidentifier()
    kept = [value for name, value in fields.items() if value and name != "__name__"]
    assert sorted("".join(labels[name] for name in names).replace(";", "")) == sorted(
        "".join(kept).replace(";", "")
    )
