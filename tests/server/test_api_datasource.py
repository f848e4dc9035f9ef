"""Routes that read: which datasource a request may use, with which login, and what comes back."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from benchmarks.endurance.churning_source import N_COHORTS, ChurningSource
from benchmarks.endurance.churning_source import serve as churning
from tests.loopback import Asked, Handler, serve
from tests.server.api_client import serving
from tests.victorialogs import victorialogs
from vmanomaly.server.routes import queries
from vmanomaly.server.terms import terms_of_request, terms_of_writer

EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
PASSED_ON = {"pass_auth_headers": "true"}
TASKS = "/api/v1/anomaly_detection/tasks"


def empty(handler: Handler, asked: Asked) -> None:
    handler.reply(body=EMPTY)


def matrix(handler: Handler, asked: Asked) -> None:
    """A day of minutes with a spike in the end."""
    if asked.method == "GET":
        handler.reply(404)
        return
    form = asked.form
    start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
    times = [start + n * step for n in range(int((end - start) / step) + 1)]
    values = [[at, str(int(at / step) % 7 if at < end else 99)] for at in times]
    series = {"metric": {"__name__": "load", "host": "a"}, "values": values}
    data = {"resultType": "matrix", "result": [series]}
    handler.reply(body=json.dumps({"status": "success", "data": data}).encode())


def query(url: str | None = None, **more: str) -> str:
    arguments = {"query": "up", "start": "0", "end": "3600", "step": "1m", **more}
    if url is not None:
        arguments["datasource_url"] = url
    return "/api/v1/query?" + urlencode(arguments)


def test_the_answer_of_the_datasource_is_passed_on() -> None:
    with serve(empty) as server, serving({"reader.datasource_url": server.url}) as client:
        assert client.ok("GET", query()) == json.loads(EMPTY)
        assert client.ok("POST", "/api/v1/query", {"query": "up", "start": 0.0}) == json.loads(
            EMPTY
        )
        client.ok("GET", "/api/v1/query?query=up")
        paths = [asked.path.partition("?")[0] for asked in server.requests]
        assert paths == ["/api/v1/query_range", "/api/v1/query_range", "/api/v1/query"]
        client.ok("GET", "/api/v1/labels?match[]=up")
        assert server.requests[-1].path == "/api/v1/labels?match%5B%5D=up"
        client.ok("GET", "/api/v1/label/job/values")
        client.error(404, "GET", "/api/v1/label/a%20b/values")
        client.error(404, "GET", "/api/v1/admin/tsdb/delete_series")
        client.error(405, "POST", "/api/v1/labels")


def test_queries_go_to_where_victorialogs_answers_them() -> None:
    logs = {"datasource_type": "vlogs", "tenant_id": "12:3"}
    with serve(empty) as server, serving({"reader.datasource_url": server.url}) as client:
        assert client.ok("GET", query(**logs)) == json.loads(EMPTY)
        client.ok("GET", "/api/v1/query?" + urlencode({"query": "up", **logs}))
        arguments = urlencode({"query": "up", "start": 0, "end": 60, "step": "1m", **logs})
        client.ok("GET", "/api/v1/query_range?" + arguments)
        client.ok("POST", "/api/v1/query", {"query": "up", "start": 0, **logs})
        paths = [asked.path.partition("?")[0] for asked in server.requests]
        of_range = "/select/logsql/stats_query_range"
        assert paths == [of_range, "/select/logsql/stats_query", of_range, of_range]
        for asked in server.requests:
            assert (asked.headers["AccountID"], asked.headers["ProjectID"]) == ("12", "3")
        error = client.error(422, "GET", "/api/v1/labels?datasource_type=vlogs")
        assert "datasource_type: VictoriaLogs has nothing at /api/v1/labels" in error


def test_a_reader_of_logs_is_asked_as_one_without_saying_so() -> None:
    changes = {"reader.class": "vlogs", "reader.queries": {"n": {"expr": "* | stats count()"}}}
    with serve(empty) as server, serve(empty) as other:
        with serving({"reader.datasource_url": server.url, **changes}) as client:
            client.ok("GET", query())
            client.ok("GET", query(datasource_type="vm"))
            client.ok("GET", query(other.url))
            assert client.ok("GET", "/api/v1/server/datasource") == {
                "server_datasource_url": server.url,
                "server_datasource_type": "vlogs",
                "ui_datasource_url": None,
                "ui_datasource_type": None,
            }
        paths = [asked.path.partition("?")[0] for asked in server.requests + other.requests]
        of_metrics = "/api/v1/query_range"
        assert paths == ["/select/logsql/stats_query_range", of_metrics, of_metrics]


def test_fields_of_logs_and_their_values_are_passed_on() -> None:
    base = "/select/logsql"
    with victorialogs() as (logs, server), serving() as client:
        logs.add({"_time": "2026-01-01T00:00:00Z", "level": "error"}, tenant=("12", "3"))
        for url in (server.url, f"{server.url}{base}/stats_query_range"):
            of_logs = {"datasource_type": "vlogs", "datasource_url": url, "tenant_id": "12:3"}
            arguments = urlencode({"query": "*", "start": "2026-01-01T00:00:00Z", **of_logs})
            names = client.ok("GET", f"{base}/field_names?{arguments}")
            assert {each["value"] for each in names["values"]} == {"_time", "level"}
            values = client.ok("GET", f"{base}/field_values?field=level&limit=9&{arguments}")
            assert [each["value"] for each in values["values"]] == ["error"]
        asked = [urlsplit(asked.path) for asked in server.requests]
        assert [each.path for each in asked] == [f"{base}/field_names", f"{base}/field_values"] * 2
        assert not any("datasource" in each.query for each in asked)
        error = client.error(422, "GET", f"{base}/field_names?query=*&datasource_url={server.url}")
        assert "datasource_type: VictoriaMetrics has nothing at /select/logsql/field_names" in error
        # Nothing else of VictoriaLogs can be reached: lines may hold anything.
        client.error(404, "GET", f"{base}/query?{arguments}")
        client.error(404, "GET", f"{base}/tail?{arguments}")
        client.error(405, "POST", f"{base}/field_names")


def test_a_datasource_with_arguments_is_asked_with_them_and_named_without() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if "query=up" in asked.path:
            handler.reply(body=EMPTY)
        else:
            handler.reply(400, b"no")

    with serve(respond) as server, serving() as client:
        url = f"{server.url}/prefix?extra_label=sesame&authKey=tuna"
        client.ok("GET", query(url))
        client.ok("GET", "/api/v1/labels?" + urlencode({"datasource_url": url, "query": "up"}))
        for asked in server.requests:
            form = parse_qs(urlsplit(asked.path).query, strict_parsing=True)
            assert (form["extra_label"], form["authKey"]) == (["sesame"], ["tuna"])
            assert form["query"] == ["up"]
        error = client.error(422, "GET", query(url, query="down"))
        assert error == f"{server.url}/prefix/api/v1/query_range answered 400 Bad Request: no"


@pytest.mark.parametrize(
    ("respond", "status"),
    [
        (lambda handler, _: handler.reply(422, b'{"status":"error","error":"cannot parse"}'), 422),
        (lambda handler, _: handler.reply(body=b'{"status":"error","error":"no"}'), 422),
        (lambda handler, _: handler.reply(body=b"not JSON"), 422),
        (lambda handler, _: handler.reply(503), 502),
        (lambda handler, _: handler.reply(302, Location="http://127.0.0.1:1/"), 502),
    ],
)
def test_a_failure_is_an_error(respond: Callable[[Handler, Asked], None], status: int) -> None:
    with serve(respond) as server, serving() as client:
        client.error(status, "GET", query(server.url))
        client.error(502, "GET", query("http://127.0.0.1:1"))


AT_READER = {"reader.datasource_url": "http://127.0.0.1:1/reader"}
LIKE_READER = {"server.use_reader_connection_settings": True, "reader.bearer_token": "s"}


@pytest.mark.parametrize(
    ("changes", "environ", "given", "remedy"),
    [
        ({}, {}, {"datasource_url": "{url}"}, "Is `datasource_url` right?"),
        ({"reader.datasource_url": "{url}"}, {}, {}, "Is `reader.datasource_url` right?"),
        (
            {},
            {"VMANOMALY_UI_DATASOURCE_URL": "{url}"},
            {},
            "Is `VMANOMALY_UI_DATASOURCE_URL` right?",
        ),
    ],
)
def test_a_wrong_address_is_to_be_changed_where_it_is_set(
    changes: dict[str, str], environ: dict[str, str], given: dict[str, str], remedy: str
) -> None:
    with serve(lambda handler, _: handler.reply(404)) as server:

        def at_server(of: dict[str, str]) -> dict[str, str]:
            return {name: each.format(url=server.url) for name, each in of.items()}

        with serving({**AT_READER, **at_server(changes)}, at_server(environ)) as client:
            body = {"query": "up", "step": "1m", **at_server(given)}
            assert client.error(422, "POST", "/api/v1/query", body).endswith(remedy)
            target = "/api/v1/timeseries/characteristics?" + urlencode(body)
            assert client.error(422, "GET", target).endswith(remedy)
            started = client.ok("POST", TASKS, body)
            assert client.ended(TASKS, started["task_id"])["error"].endswith(remedy)
            incidents = "/api/v1/incidents?" + urlencode(at_server(given))
            assert client.error(422, "GET", incidents).endswith(remedy)


@pytest.mark.parametrize(
    ("changes", "header", "remedy"),
    [
        (
            {},
            None,
            "credentials, send them in the header `Authorization`, with `pass_auth_headers`",
        ),
        ({}, "Authorization", "Check the header `Authorization`"),
        (
            {"server.auth": {"user": "u", "password": "p"}},
            "X-Datasource-Authorization",
            "Check the header `X-Datasource-Authorization`",
        ),
        (LIKE_READER, None, "Check `reader.bearer_token`"),
        (LIKE_READER, "Authorization", "Check the header `Authorization`"),
    ],
)
def test_a_refused_login_is_to_be_changed_where_it_is_set(
    changes: dict[str, Any], header: str | None, remedy: str
) -> None:
    with serve(lambda handler, _: handler.reply(401)) as server:
        at_server = {"reader.datasource_url": server.url, **changes}
        with serving(at_server) as client:
            login = {} if "server.auth" not in changes else {"Authorization": "Basic dTpw"}
            more = {"pass_auth_headers": "true"} if header else {}
            headers = {**login, **({header: "Bearer x"} if header else {})}
            answer = client.raw("GET", query(server.url, **more), **headers)
            assert json.loads(answer.data)["error"].endswith(remedy)


def test_a_key_that_requests_cannot_set_is_said_to_be_one() -> None:
    def terms(**others: Any) -> str:
        in_terms = terms_of_request("datasource_url", "Authorization", is_logged_in=False, **others)
        return in_terms("A larger `reader.timeout` allows for slow answers")

    assert terms(like_reader=True) == "A larger `reader.timeout` allows for slow answers"
    assert terms(like_reader=False) == (
        "A larger `reader.timeout` allows for slow answers. The configuration applies "
        "`reader.timeout` only to the datasource of its reader, and if "
        "`server.use_reader_connection_settings` is true"
    )
    assert terms_of_writer("Is `reader.verify_tls: false` or `reader.offset` set?") == (
        "Is `writer.verify_tls: false` or `reader.offset` set? The configuration applies "
        "`reader.offset` only to its own queries"
    )


def test_an_answer_that_is_too_large_says_what_to_shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_BYTES", len(EMPTY) - 1)
    with serve(empty) as server, serving() as client:
        error = client.error(422, "GET", query(server.url))
        assert error.startswith(
            f"the datasource answered with more than {len(EMPTY) - 1} B; a larger"
        )
        monkeypatch.setattr(queries, "MAX_BYTES", len(EMPTY))
        client.ok("GET", query(server.url))


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("file:///etc/passwd", 403),
        ("http://169.254.169.254/latest", 403),
        ("http://[fe80::1]:8428", 403),
        ("http://[::ffff:169.254.169.254]/", 403),
        ("http://me:pw@127.0.0.1:1", 403),
        ("http://", 422),
        ("nonsense", 403),
    ],
)
def test_what_no_request_may_reach(url: str, status: int) -> None:
    with serving() as client:
        client.error(status, "GET", query(url))
        body = {"query": "up", "step": "1m", "datasource_url": url}
        answer = client.raw("POST", TASKS, body)
        if answer.status == 201:
            task = client.ended(TASKS, json.loads(answer.data)["task_id"])
            assert task["status"] == "error"
            assert "allowed_datasources" in task["error"] or "link-local" in task["error"]


def test_the_service_is_no_datasource_of_its_own() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving({"server.port": port}) as client:
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            assert "this service itself" in client.error(403, "GET", query(f"http://{host}:{port}"))


def test_redirects_are_not_followed() -> None:
    with serve(empty) as inner:

        def away(handler: Handler, asked: Asked) -> None:
            handler.reply(302, Location=f"{inner.url}/caught")

        with serve(away) as outer, serving() as client:
            client.error(502, "GET", query(outer.url))
        assert inner.requests == []


def test_only_allowed_datasources_are_asked() -> None:
    with serve(empty) as server:
        changes = {"server.allowed_datasources": [f"{server.url}/prom"]}
        with serving(changes) as client:
            client.ok("GET", query(f"{server.url}/prom"))
            client.ok("GET", query(f"{server.url}/prom/x/"))
            for url in (server.url, f"{server.url}/prom/../x", f"{server.url}/promise"):
                error = client.error(403, "GET", query(url))
                assert "server.allowed_datasources" in error


def test_a_datasource_of_the_environment_is_the_only_one() -> None:
    with serve(empty) as server:
        environ = {"VMANOMALY_UI_DATASOURCE_URL": server.url}
        with serving(environ=environ) as client:
            client.ok("GET", query())
            client.ok("GET", query(server.url))
            client.error(403, "GET", query("http://127.0.0.1:1"))
            found = client.ok("GET", "/api/v1/server/datasource")
            assert (found["ui_datasource_url"], found["ui_datasource_type"]) == (server.url, "vm")


class TestLogin:
    LOGIN: ClassVar[dict[str, Any]] = {
        "reader.user": "me",
        "reader.password": "hunter2",
        "reader.headers": {"X-Team": "a"},
    }

    def asked(self, changes: dict[str, Any], target: str, **headers: str) -> dict[str, str]:
        with serve(empty) as server:
            changes = {"reader.datasource_url": server.url, **changes}
            with serving(changes) as client:
                client.ok("GET", target.replace("READER", server.url), **headers)
            return {name.lower(): value for name, value in server.requests[-1].headers.items()}

    def test_that_of_the_reader_is_not_used_unless_it_is_allowed(self) -> None:
        assert "authorization" not in self.asked(self.LOGIN, query())
        allowed = {**self.LOGIN, "server.use_reader_connection_settings": True}
        headers = self.asked(allowed, query())
        assert headers["authorization"].startswith("Basic ")
        assert headers["x-team"] == "a"

    def test_that_of_the_reader_goes_to_the_reader_only(self) -> None:
        allowed = {**self.LOGIN, "server.use_reader_connection_settings": True}
        with serve(empty) as other:
            changes = {"reader.datasource_url": "http://127.0.0.1:1", **allowed}
            with serving(changes) as client:
                client.ok("GET", query(other.url))
            assert "Authorization" not in other.requests[-1].headers
            assert "X-Team" not in other.requests[-1].headers

    def test_that_of_a_request_goes_on_when_asked_for(self) -> None:
        given = {"Authorization": "Bearer mine"}
        assert "authorization" not in self.asked({}, query(), **given)
        asked = self.asked({}, query(**PASSED_ON), **given)
        assert asked["authorization"] == "Bearer mine"
        allowed = {**self.LOGIN, "server.use_reader_connection_settings": True}
        asked = self.asked(allowed, query(**PASSED_ON), **given)
        assert asked["authorization"] == "Bearer mine"

    def test_that_for_this_service_never_goes_on(self) -> None:
        changes = {"server.auth": {"bearer_token": "ours"}}
        headers = {"Authorization": "Bearer ours"}
        asked = self.asked(changes, query(**PASSED_ON), **headers)
        assert "authorization" not in asked
        headers["X-Datasource-Authorization"] = "Bearer theirs"
        asked = self.asked(changes, query(**PASSED_ON), **headers)
        assert asked["authorization"] == "Bearer theirs"


class TestDetection:
    def test_a_day_is_scored(self) -> None:
        with serve(matrix) as server, serving({"reader.datasource_url": server.url}) as client:
            body = {
                "query": "load",
                "step": "5m",
                "start_infer_s": 1_700_000_100.0,
                "end_infer_s": "2023-11-15T22:15:00Z",
                "fit_window": "1d",
                "exact": True,
                "model_spec": {"class": "zscore_online"},
            }
            started = client.ok("POST", TASKS, body)
            assert started["status"] == "running"
            task = client.ended(TASKS, started["task_id"])
            assert (task["status"], task["progress"], task["error"]) == ("done", 100, None)
            series = {
                each["metric"]["__name__"]: each for each in task["result_data"]["data"]["result"]
            }
            assert series.keys() == {"y", "yhat", "yhat_lower", "yhat_upper", "anomaly_score"}
            scores = series["anomaly_score"]
            assert scores["metric"] == {"__name__": "anomaly_score", "for": "query", "host": "a"}
            assert len(scores["values"]) == 288
            at, score = scores["values"][-1]
            assert at == 1_700_086_500
            assert float(score) > 1
            assert task["metrics"]["points"] == 288
            assert task["metrics"]["anomalies"] == 1
            listed = client.ok("GET", f"{TASKS}?limit=5&status=done")["tasks"]
            assert [each["task_id"] for each in listed] == [started["task_id"]]
            assert "result_data" not in listed[0]
            # One read of everything, whatever the fits.
            assert sum(asked.method == "POST" for asked in server.requests) == 1
            value = client.metrics.registry.get_sample_value
            labels = {"kind": "detection", "status": "done"}
            assert value("vmanomaly_tasks_total", labels) == 1

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"query": " "}, "query"),
            ({"fit_window": "soon"}, "fit_window"),
            ({"start_infer_s": 20, "end_infer_s": 10}, "end_infer_s"),
            ({"model_spec": {"class": "mad_online", "threshold": -1}}, "model_spec.threshold"),
            ({"model_spec": {"class": "custom"}}, "model_spec.class"),
            ({"datasource_type": "mysql"}, "datasource_type"),
            ({"start_infer_s": "x"}, "start_infer_s"),
            ({"fit_every": "1ms", "start_infer_s": 0}, "fit_every"),
            ({"anomaly_threshold": "nan"}, "anomaly_threshold"),
            ({"step": "1ms"}, "step: expected a duration of at least 1s"),
            ({"infer_every": "10ms"}, "infer_every: expected a duration of at least 1s"),
            ({"fit_window": 0.5}, "fit_window: expected a duration of at least 1s"),
            (
                {"step": "1s", "start_infer_s": 0, "end_infer_s": 10**9},
                "step: cuts fit_window and the interval into 1,000,086,400 points, more than",
            ),
            ({"fit_window": "1000w"}, "step: cuts fit_window and the interval into 10,081,440"),
        ],
    )
    def test_what_can_be_checked_is_refused_at_once(
        self, change: dict[str, Any], error: str
    ) -> None:
        with serving() as client:
            assert error in client.error(
                422, "POST", TASKS, {"query": "up", "step": "1m", **change}
            )

    def test_a_query_that_fails_ends_the_task_with_the_reason(self) -> None:
        def respond(handler: Handler, asked: Asked) -> None:
            handler.reply(422, b'{"status":"error","error":"cannot parse sum("}')

        with serve(respond) as server, serving({"reader.datasource_url": server.url}) as client:
            task_id = client.ok("POST", TASKS, {"query": "sum(", "step": "1m"})["task_id"]
            task = client.ended(TASKS, task_id)
            assert task["status"] == "error"
            assert "cannot parse sum(" in task["error"]
            assert task["result_data"] is None

    def test_a_datasource_that_hangs_can_be_canceled(self) -> None:
        def hang(handler: Handler, asked: Asked) -> None:
            handler.released.wait(60)

        changes = {"server.max_concurrent_tasks": 1}
        with serve(hang) as server:
            changes["reader.datasource_url"] = server.url  # type: ignore[assignment]
            with serving(changes) as client:
                body = {"query": "up", "step": "1m"}
                task_id = client.ok("POST", TASKS, body)["task_id"]
                assert "max_concurrent_tasks" in client.error(429, "POST", TASKS, body)
                assert client.ok("DELETE", f"{TASKS}/{task_id}") == {"ok": True, "canceled": True}
                assert client.ended(TASKS, task_id)["status"] == "canceled"
                assert client.ok("DELETE", f"{TASKS}/{task_id}") == {"ok": True, "canceled": False}
                until = time.monotonic() + 300
                while client.ok("GET", "/api/v1/anomaly_detection/limits")["available"] == 0:
                    assert time.monotonic() < until
                    time.sleep(0.02)
            client.tasks.stop(0)

    @pytest.mark.slow
    def test_a_million_points_a_series_are_more_than_a_result_may_hold(self) -> None:
        end = 1_750_000_000
        body = {
            "query": "requests",
            "start_infer_s": end - 1_000_000,
            "end_infer_s": end,
            "model_spec": {"class": "zscore_online"},
        }
        with (
            churning(ChurningSource(N_COHORTS, period_s=10**9)) as url,
            serving({"reader.datasource_url": url}) as client,
        ):
            task_id = client.ok("POST", TASKS, body)["task_id"]
            task = client.ended(TASKS, task_id)
        assert task["status"] == "error"
        assert "the result has more than 5,000,000 samples; shorten the interval" in task["error"]
        assert task["result_data"] is None

    def test_unknown_tasks(self) -> None:
        with serving() as client:
            client.error(404, "GET", f"{TASKS}/nope")
            client.error(404, "DELETE", f"{TASKS}/nope")
            client.error(422, "GET", f"{TASKS}?limit=0")


class TestCharacteristics:
    TARGET = "/api/v1/timeseries/characteristics?"

    def test_a_pattern_of_the_day_is_found(self) -> None:
        def respond(handler: Handler, asked: Asked) -> None:
            if asked.method == "GET":
                handler.reply(404)
                return
            form = asked.form
            start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
            times = [start + n * step for n in range(int((end - start) / step) + 1)]
            values = [[at, str(5 + (at // 3600) % 24)] for at in times]
            data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
            handler.reply(body=json.dumps({"status": "success", "data": data}).encode())

        arguments = {"query": "x", "start": 0, "end": 7 * 86_400, "step": "15m", "limit": 1}
        with serve(respond) as server, serving({"reader.datasource_url": server.url}) as client:
            found = client.ok("GET", self.TARGET + urlencode({**arguments, "verbose": "true"}))
            batch = found["data"]["batch"]
            assert batch["has_daily"]
            assert not batch["has_trend"]
            assert batch["not_measured"] == ["dow", "month"]
            assert batch["quantiles"]["coverage"]["q50"] == 1.0
            assert found["stats"]["seriesFetched"] == "1"
            asked = [each.form["query"] for each in server.requests if each.method == "POST"]
            assert asked[0] == ["limitk(1, (x))"]

    def test_what_is_wrong_is_named(self) -> None:
        with serving() as client:
            for arguments, error in (
                ({"query": " ", "step": "5m"}, "query"),
                ({"query": "x", "step": "1s", "start": 0, "end": 7 * 86_400}, "step"),
                ({"query": "x", "step": "1m", "timezone": "Nowhere"}, "timezone"),
                ({"query": "x", "start": 10, "end": 5}, "end"),
            ):
                assert error in client.error(422, "GET", self.TARGET + urlencode(arguments))


@pytest.mark.parametrize(
    ("path", "more", "expected"),
    [
        ("", {}, "/select/logsql/stats_query_range"),
        ("/select/logsql/stats_query_range", {}, "/select/logsql/stats_query_range"),
        ("", {"start": "", "end": ""}, "/select/logsql/stats_query"),
    ],
)
def test_logs_are_asked_where_they_answer(path: str, more: dict[str, str], expected: str) -> None:
    with serve(empty) as server, serving() as client:
        expr = "* | stats count() as n"
        given = {"query": expr, "datasource_type": "vlogs", "tenant_id": "3:4", **more}
        target = query(server.url + path, **given)
        for name in [name for name, value in more.items() if not value]:
            target = re.sub(f"&{name}=[^&]*", "", target)
        assert client.ok("GET", target) == json.loads(EMPTY)
        (asked,) = server.requests
    parts = urlsplit(asked.path)
    assert parts.path == expected
    assert parse_qs(parts.query)["query"] == [expr]
    assert (asked.headers["AccountID"], asked.headers["ProjectID"]) == ("3", "4")
