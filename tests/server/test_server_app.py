from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
from fastapi import APIRouter
from pydantic import BaseModel

from tests.config_helpers import MINIMAL, load
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.server import AuthSection, ServerSection
from vmanomaly.errors import ConfigError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.server.api import Api
from vmanomaly.server.app import create_app
from vmanomaly.server.listener import AddressInUseError, Listener, ListenerError
from vmanomaly.server.server import Server
from vmanomaly.service.health import HealthStatus, MemberStatus
from vmanomaly.tasks import Tasks

WELL = HealthStatus([], needs_restart=False)


def create(
    server: Mapping[str, Any] | None = None,
    monitoring: Mapping[str, Any] | None = None,
    status: HealthStatus = WELL,
    unready_reasons: Callable[[], list[str]] = list,
) -> Server:
    metrics = Metrics()
    metrics.config_reload_enabled.set(0)
    section = ServerSection.model_validate({"addr": "127.0.0.1", "port": 0, **(server or {})})
    config = replace(load(MINIMAL), server=section)
    return Server(
        section,
        MonitoringSection.model_validate(monitoring or {}),
        metrics.registry,
        lambda: status,
        unready_reasons,
        lambda: "node-exporter",
        Api(lambda: config, Tasks(lambda: section.max_concurrent_tasks, metrics), metrics),
    )


@contextmanager
def serving(
    server: Mapping[str, Any] | None = None,
    monitoring: Mapping[str, Any] | None = None,
    status: HealthStatus = WELL,
    unready_reasons: Callable[[], list[str]] = list,
) -> Iterator[int]:
    running = create(server, monitoring, status, unready_reasons)
    running.start()
    try:
        assert running.port is not None
        yield running.port
    finally:
        running.stop()


class Thing(BaseModel):
    count: int


def api() -> APIRouter:
    router = APIRouter()

    @router.post("/things")
    async def add(thing: Thing, limit: int = 1) -> Thing:
        return thing

    @router.get("/bug")
    async def fail() -> None:
        raise ZeroDivisionError("secret")

    return router


@pytest.fixture(scope="module")
def things() -> Iterator[int]:
    listener = Listener("server", "127.0.0.1", 0, create_app([api()]), {})
    listener.start()
    yield listener.port
    listener.stop()


def request(
    port: int, path: str, method: str = "GET", body: Any = None, **headers: str
) -> urllib3.BaseHTTPResponse:
    # A connection that has been idle for long may be closed as a request is sent.
    with urllib3.PoolManager() as http:
        return http.request(
            method,
            f"http://127.0.0.1:{port}{path}",
            body=body,
            headers=headers,
            retries=urllib3.Retry(10, redirect=False),
            timeout=60,
            redirect=False,
        )


def error_of(answer: urllib3.BaseHTTPResponse) -> str:
    content = json.loads(answer.data)
    assert content.keys() == {"status", "errorType", "error", "detail"}
    assert (content["status"], content["errorType"]) == ("error", str(answer.status))
    error = content["error"]
    assert isinstance(error, str)
    return error


class TestHealth:
    @pytest.mark.parametrize(
        ("status", "code", "content"),
        [
            (WELL, 200, {"status": "ok"}),
            (
                HealthStatus(["reader: connection refused"], needs_restart=False),
                200,
                {"status": "degraded", "reasons": ["reader: connection refused"]},
            ),
            (
                HealthStatus(["scheduler 's': died"], needs_restart=True),
                503,
                {"status": "unhealthy", "reasons": ["scheduler 's': died"]},
            ),
            (
                HealthStatus([], False, (MemberStatus(0, "running", "10.0.0.7"),)),
                200,
                {
                    "status": "ok",
                    "members": [{"member": 0, "state": "running", "node": "10.0.0.7"}],
                },
            ),
        ],
    )
    def test_only_what_a_restart_fixes_is_503(
        self, status: HealthStatus, code: int, content: object
    ) -> None:
        with serving(status=status) as port:
            answer = request(port, "/health")
        assert (answer.status, json.loads(answer.data)) == (code, content)

    def test_ready(self) -> None:
        reasons = ["reader: has not answered yet"]
        with serving(unready_reasons=lambda: reasons) as port:
            for path in ("/ready", "/health?ready=1", "/health?ready=true"):
                answer = request(port, path)
                assert (answer.status, json.loads(answer.data)["reasons"]) == (503, reasons)
            assert request(port, "/health").status == 200
            assert request(port, "/health?ready=0").status == 200
            reasons = []
            answer = request(port, "/ready")
        assert (answer.status, json.loads(answer.data)) == (200, {"status": "ok"})


class TestMetrics:
    def test_metrics_and_their_filter(self) -> None:
        with serving() as port:
            everything = request(port, "/metrics").data.decode()
            one = request(port, "/metrics?name[]=vmanomaly_config_reload_enabled").data.decode()
        assert "process_cpu_seconds_total" in everything
        assert "python_info" in everything
        assert "vmanomaly_config_reload_enabled 0.0" in everything
        assert [line for line in one.splitlines() if not line.startswith("#")] == [
            "vmanomaly_config_reload_enabled 0.0"
        ]

    @pytest.mark.parametrize("media_type", ["application/openmetrics-text", "text/plain"])
    @pytest.mark.parametrize("version", ["junk", "1.junk", "", "99", "-1", "1.0.0", '"1.0.0"'])
    def test_whatever_version_is_asked_for(self, media_type: str, version: str) -> None:
        with serving() as port:
            answer = request(port, "/metrics", Accept=f"{media_type}; version={version}")
        assert answer.status == 200
        assert b"vmanomaly_config_reload_enabled 0.0" in answer.data

    def test_a_body_on_a_get_is_ignored(self) -> None:
        with serving() as port:
            answer = request(port, "/metrics", body=b"null", **{"Content-Type": "application/json"})
        assert answer.status == 200


class TestPaths:
    def test_everything_is_served_under_the_prefix(self) -> None:
        with serving({"path_prefix": "my-app/"}) as port:
            for path in ("/vmui/", "/health", "/ready", "/metrics", "/presets/", "/docs", "/redoc"):
                assert request(port, f"/my-app{path}").status == 200
                assert request(port, path).status == 404
            paths = json.loads(request(port, "/my-app/openapi.json").data)["paths"]
        assert {"/my-app/health", "/my-app/ready", "/my-app/metrics", "/my-app/presets/"} < set(
            paths
        )
        assert all(path.startswith("/my-app/") for path in paths)

    def test_a_redirect_names_no_host(self) -> None:
        with serving({"path_prefix": "a/b"}) as port:
            answer = request(port, "/a/b")
        assert (answer.status, answer.headers["Location"]) == (307, "b/vmui/")

    def test_pull_has_a_separate_port_with_and_without_the_prefix(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            pull = probe.getsockname()[1]
        monitoring = {"pull": {"addr": "127.0.0.1", "port": pull}}
        status = HealthStatus(["reader: gone"], needs_restart=False)
        auth = {"bearer_token": "sesame"}
        with serving({"path_prefix": "p", "auth": auth}, monitoring, status) as port:
            assert pull != port
            for prefix in ("", "/p"):
                assert request(pull, f"{prefix}/metrics").status == 200
                assert request(pull, f"{prefix}/ready").status == 200
                assert json.loads(request(pull, f"{prefix}/health").data)["status"] == "degraded"
                assert request(pull, f"{prefix}/docs").status == 404
                assert request(pull, f"{prefix}/openapi.json").status == 404

    @pytest.mark.parametrize(
        "path",
        ["/vmui/", "/health", "/ready", "/metrics", "/docs", "/docs/swagger-ui.css", "/nope"],
    )
    def test_head_answers_as_get_without_the_body(self, path: str) -> None:
        with serving(status=HealthStatus(["x"], needs_restart=True)) as port:
            get, head = request(port, path), request(port, path, "HEAD")
        assert head.status == get.status
        assert head.data == b""
        if path != "/metrics":  # Which is never the same twice.
            assert head.headers["Content-Length"] == get.headers["Content-Length"]


class TestPages:
    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    def test_pages_need_nothing_from_elsewhere(self, path: str) -> None:
        with serving() as port:
            page = request(port, path).data.decode()
            assert "http" not in page
            urls = re.findall(r'(?:src|href|spec-url|url:)[=\s]*"([^"]+)"', page)
            urls = [url for url in urls if url != "data:,"]
            assert len(urls) >= 2
            for url in urls:
                assert request(port, f"/{url}").status == 200
            assert request(port, "/docs/core.py").status == 404
            assert request(port, "/docs/..%2f__init__.py").status == 404


class TestErrors:
    def test_an_unknown_path(self, things: int) -> None:
        answer = request(things, "/nope")
        assert (answer.status, error_of(answer)) == (404, "/nope is not served here")

    def test_a_method_that_is_not_taken(self, things: int) -> None:
        answer = request(things, "/things", "DELETE")
        assert (answer.status, error_of(answer)) == (405, "/things does not take DELETE")
        assert answer.headers["Allow"] == "POST"

    def test_wrong_values_are_named_and_not_repeated(self, things: int) -> None:
        answer = request(
            things,
            "/things?limit=hunter2",
            "POST",
            json.dumps({"count": "hunter2"}),
            **{"Content-Type": "application/json"},
        )
        assert answer.status == 422
        error = error_of(answer)
        assert [each["loc"] for each in json.loads(answer.data)["detail"]] == [["limit"], ["count"]]
        assert error.startswith("limit: ")
        assert "; count: " in error
        assert "hunter2" not in error

    def test_what_is_no_json(self, things: int) -> None:
        headers = {"Content-Type": "application/json"}
        answer = request(things, "/things", "POST", b'{"count": ', **headers)
        assert (answer.status, error_of(answer)) == (400, "the body is not valid JSON")

    def test_a_bug_is_logged_and_not_revealed(
        self, things: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            answer = request(things, "/bug")
            assert answer.status == 500
            assert error_of(answer) == "an internal error; see the log of the service"
        (record,) = [record for record in caplog.records if record.exc_info]
        assert "secret" in str(record.exc_info)

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_body_that_is_too_large(self, things: int, is_chunked: bool) -> None:
        body = b'{"count": ' + b" " * (4 << 20) + b"1}"
        pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
        headers = {"Content-Type": "application/json"}
        answer = request(things, "/things", "POST", pieces if is_chunked else body, **headers)
        assert (answer.status, error_of(answer)) == (413, "the body is larger than 4 MiB")

    def test_a_body_that_is_just_small_enough(self, things: int) -> None:
        body = b'{"count": 1}'.ljust(4 << 20)
        headers = {"Content-Type": "application/json"}
        answer = request(things, "/things", "POST", body, **headers)
        assert (answer.status, json.loads(answer.data)) == (200, {"count": 1})


class TestHeaders:
    @pytest.mark.parametrize("path", ["/vmui/", "/health", "/metrics", "/docs", "/redoc", "/nope"])
    def test_browsers_are_held_back(self, path: str) -> None:
        with serving() as port:
            headers = request(port, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers

    @pytest.mark.parametrize("path", ["/health", "/metrics", "/nope"])
    def test_the_port_of_pull_sends_the_same(self, path: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            pull = probe.getsockname()[1]
        with serving(monitoring={"pull": {"addr": "127.0.0.1", "port": pull}}) as port:
            own, others = (dict(request(each, path).headers) for each in (port, pull))
        for headers in (own, others):
            for varying in ("date", "content-length"):
                del headers[varying]
        assert own == others
        assert "content-security-policy" in own

    def test_a_bug_has_them_too(self, things: int) -> None:
        assert request(things, "/bug").headers["X-Content-Type-Options"] == "nosniff"


class TestAuth:
    def test_everything_but_probes_asks_for_a_password(self) -> None:
        with serving({"auth": {"user": "me", "password": "sesame"}, "path_prefix": "p"}) as port:
            assert request(port, "/p/health").status == 200
            assert request(port, "/p/ready").status == 200
            right = urllib3.make_headers(basic_auth="me:sesame")
            wrong = urllib3.make_headers(basic_auth="me:open")
            for path in (
                "/vmui/",
                "/metrics",
                "/docs",
                "/redoc",
                "/openapi.json",
                "/docs/swagger-ui.css",
            ):
                refused = request(port, f"/p{path}")
                assert (refused.status, error_of(refused)) == (401, "wrong or missing credentials")
                assert refused.headers["WWW-Authenticate"] == 'Basic realm="vmanomaly"'
                assert request(port, f"/p{path}", **wrong).status == 401
                assert request(port, f"/p{path}", **right).status == 200
            # Who has not logged in does not learn what is there.
            assert request(port, "/p/nope").status == 401
            assert request(port, "/health").status == 401

    @pytest.mark.parametrize(
        ("authorization", "status"),
        [
            ("Bearer sesamö", 200),
            ("bearer sesamö", 200),
            ("Bearer sesam", 401),
            ("Bearer ", 401),
            ("Bearer", 401),
            ("Basic sesamö", 401),
            ("sesamö", 401),
        ],
    )
    def test_a_token(self, authorization: str, status: int) -> None:
        with serving({"auth": {"bearer_token": "sesamö"}}) as port:
            # What a client sends in UTF-8, urllib3 takes in Latin-1.
            header = authorization.encode().decode("latin-1")
            assert request(port, "/metrics", Authorization=header).status == status

    def test_a_file_of_a_token_may_change_and_be_lost(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = tmp_path / "token"
        file.write_text("old\n")

        def status(token: str) -> int:
            return request(port, "/metrics", Authorization=f"Bearer {token}").status

        with serving({"auth": {"bearer_token_file": str(file)}}) as port:
            assert status("old") == 200
            file.write_text("new\n")
            assert (status("old"), status("new")) == (401, 200)
            file.write_text("\n")
            assert (status(""), status("new")) == (401, 401)
            file.unlink()
            assert [status("new"), status("new"), status("")] == [401] * 3
        (message,) = [text for text in caplog.messages if "bearer_token_file" in text]
        assert "all logins are rejected" in message

    def test_a_section_without_a_secret_lets_nobody_in(self) -> None:
        listener = Listener(
            "server", "127.0.0.1", 0, create_app([api()], auth=AuthSection(user="me")), {}
        )
        listener.start()
        try:
            empty = urllib3.make_headers(basic_auth="me:")
            assert request(listener.port, "/bug", **empty).status == 401
        finally:
            listener.stop()


class TestConfiguration:
    def test_a_port_in_use_is_named_with_the_remedy(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(AddressInUseError, match=rf"127\.0\.0\.1:{port}.*server\.port"):
                create({"port": port})

    def test_a_certificate_that_is_none(self, tmp_path: Path) -> None:
        file = tmp_path / "cert.pem"
        file.write_text("no certificate")
        with pytest.raises(ListenerError, match=r"server\.tls_cert_file.*PEM"):
            create({"tls_cert_file": str(file)})

    def test_an_unknown_setting_of_uvicorn(self) -> None:
        with pytest.raises(ConfigError) as raised:
            create({"uvicorn_config": {"log_levle": "info", "zzz": 1}})
        assert raised.value.problems == [
            "server.uvicorn_config.log_levle: unknown key; did you mean log_level?",
            "server.uvicorn_config.zzz: unknown key",
        ]

    @pytest.mark.parametrize("value", ["loud", [1]])
    def test_a_wrong_value_for_uvicorn(self, value: object) -> None:
        with pytest.raises(ListenerError, match=r"server\.uvicorn_config: cannot be used"):
            create({"uvicorn_config": {"log_level": value}})

    def test_settings_of_uvicorn_without_a_meaning_are_named(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = {"workers": 4, "port": 1, "root_path": "/x", "log_level": "info"}
        with serving({"uvicorn_config": settings}) as port:
            assert request(port, "/health").status == 200
        assert "without effect here: port, root_path, workers" in caplog.text
