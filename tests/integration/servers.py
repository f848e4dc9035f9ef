"""Real servers on loopback, a bare client for them, and vmanomaly as a subprocess.

Nothing here uses the product's own code for HTTP or JSON: the tests compare against it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3
import yaml

from vmanomaly.series import Labels

START_TIMEOUT_S = 300.0
END_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05

Samples = list[tuple[int, float]]
"""Timestamps in Unix milliseconds with their values, ascending."""


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S
) -> None:
    """Return as soon as `condition` holds; raise TimeoutError naming `what` if it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_INTERVAL_S)


def request(
    method: str,
    url: str,
    body: bytes | None = None,
    fields: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return the status and the body."""
    with urllib3.PoolManager(retries=False) as http:
        if fields is None:
            response = http.request(method, url, body=body)
        else:
            response = http.request(method, url, fields=dict(fields), encode_multipart=False)
        return response.status, response.data


def answers(url: str, status: int = 200) -> bool:
    """Tell whether a GET of `url` gives `status`; a refused connection is a no."""
    try:
        return request("GET", url)[0] == status
    except urllib3.exceptions.HTTPError:
        return False


def health(url: str) -> str:
    """Return the status that a service's `/health` tells; nothing when it does not answer."""
    try:
        _, body = request("GET", f"{url}/health")
    except urllib3.exceptions.HTTPError:
        return ""
    status = json.loads(body)["status"]
    assert isinstance(status, str)
    return status


def replace_file(path: Path, content: str | bytes) -> None:
    """Replace a file as secrets are rotated: by a new one that takes its name."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content.encode() if isinstance(content, str) else content)
    fresh.replace(path)


def import_lines(series: Iterable[tuple[Mapping[str, str], Samples]]) -> bytes:
    """Return label sets (`__name__` included) with their samples as the JSON lines of an import."""
    lines = [
        json.dumps(
            {
                "metric": dict(labels),
                "timestamps": [timestamp for timestamp, _ in samples],
                "values": [value for _, value in samples],
            }
        )
        for labels, samples in series
    ]
    return "\n".join(lines).encode()


class Process:
    """A child process whose output goes to a file, stopped by its id.

    Parameters
    ----------
    command
        Program and arguments. The program is looked up in PATH and /usr/sbin.
    log
        File for stdout and stderr together; a restart appends to it.
    environ
        The environment; that of the tests when left out.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self.environ = environ
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """Everything that was printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """The number of the running process."""
        assert self._popen is not None
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start the process; it may not be ready yet."""
        program = shutil.which(self.command[0], path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise FileNotFoundError(
                f"{self.command[0]} is not installed, and the integration tests need it; "
                "`make system-packages` installs it"
            )
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [program, *self.command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environ,
            )

    def wait(self, timeout_s: float = END_TIMEOUT_S) -> int:
        """Wait for the end; return the exit status, or fail with the log of the process."""
        assert self._popen is not None
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.command} still runs after {timeout_s:g} s; its output:\n{self.output}"
            ) from None

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S
    ) -> None:
        """Return as soon as `condition` holds; fail with the log if it never does, or it ended."""
        try:
            wait_until(lambda: not self.running or condition(), what, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; output of {self.command}:\n{self.output}") from None
        if not self.running:
            raise RuntimeError(f"{what}: {self.command} has ended; its output:\n{self.output}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """End the process, if it runs: SIGTERM, then SIGKILL when it does not listen."""
        if self._popen is None or self._popen.poll() is not None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class Server(Process):
    """A process that serves HTTP on loopback.

    Parameters
    ----------
    command, log
        See `Process`.
    url
        Base URL of the server.
    ready_path
        Path that answers 200 once the server is ready.
    """

    def __init__(self, command: Sequence[str], log: Path, url: str, ready_path: str) -> None:
        super().__init__(command, log)
        self.url = url
        self._ready_url = url + ready_path

    def start(self) -> None:
        """Start the server and return when it answers; fail with its log if it never does."""
        super().start()
        try:
            self.wait_until(lambda: answers(self._ready_url), f"start of {self.command[0]}")
        except TimeoutError:
            self.stop()
            raise


class VictoriaMetrics(Server):
    """A single-node VictoriaMetrics with a bare client.

    Parameters
    ----------
    folder
        Temporary folder for data and log.
    flags
        Further command-line flags.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self._n_exports = 0
        port = free_port()
        super().__init__(
            [
                "victoria-metrics",
                f"-httpListenAddr=127.0.0.1:{port}",
                f"-storageDataPath={folder / 'victoria-metrics-data'}",
                "-retentionPeriod=100y",
                *flags,
            ],
            folder / f"victoria-metrics-{port}.log",
            f"http://127.0.0.1:{port}",
            "/health",
        )

    def import_series(self, series: Iterable[tuple[Mapping[str, str], Samples]]) -> None:
        """Write label sets (`__name__` included) with their samples; not yet searchable."""
        status, body = request("POST", f"{self.url}/api/v1/import", import_lines(series))
        assert status == 204, body

    def force_flush(self) -> None:
        """Make everything written so far searchable."""
        status, body = request("GET", f"{self.url}/internal/force_flush")
        assert status == 200, body
        # The server does not wait for what its own flush, once a second, has just taken.
        wait_until(lambda: not self._flushes(), "flush of VictoriaMetrics")

    def _flushes(self) -> bool:
        """Tell whether samples were taken from where they arrive, and are not searchable yet."""
        status, body = request("GET", f"{self.url}/debug/pprof/goroutine?debug=2")
        assert status == 200, body
        return b"/lib/storage.(*partition).flushRaw" in body

    def persist(self) -> None:
        """Bring everything written so far to the disk, where it outlives a kill."""
        self.force_flush()
        status, body = request("GET", f"{self.url}/snapshot/create")
        assert status == 200, body

    def export(self, selector: str) -> dict[Labels, Samples]:
        """Flush, then return the stored samples of every series that `selector` matches."""
        self.force_flush()
        # It remembers for ten seconds which series match, by selector and days: ask for others.
        self._n_exports += 1
        fields = {"match[]": selector, "start": f"{86_400 * self._n_exports}"}
        status, body = request("POST", f"{self.url}/api/v1/export", fields=fields)
        assert status == 200, body
        found: dict[Labels, Samples] = {}
        for line in body.splitlines():
            entry = json.loads(line)
            values = (float("nan" if value is None else value) for value in entry["values"])
            found.setdefault(Labels(entry["metric"]), []).extend(
                zip(entry["timestamps"], values, strict=True)
            )
        return {labels: sorted(samples) for labels, samples in found.items()}

    def query_range(self, expression: str, start_ms: int, end_ms: int, step_ms: int) -> Any:
        """Return the `data.result` of a range query."""
        status, body = request(
            "POST",
            f"{self.url}/api/v1/query_range",
            fields={
                "query": expression,
                "start": str(start_ms / 1000),
                "end": str(end_ms / 1000),
                "step": str(step_ms / 1000),
                "nocache": "1",
            },
        )
        assert status == 200, body
        return json.loads(body)["data"]["result"]


class Prometheus(Server):
    """A Prometheus that scrapes nothing, serves the given series, and takes remote writes.

    Parameters
    ----------
    folder
        Temporary folder for data, configuration and log.
    series
        Label sets (`__name__` included) with their samples, whole seconds.
    """

    def __init__(
        self, folder: Path, series: Iterable[tuple[Mapping[str, str], Samples]] = ()
    ) -> None:
        port = free_port()
        self._series = list(series)
        self._folder = folder
        self._data = folder / "prometheus-data"
        config = folder / "prometheus.yml"
        config.write_text("scrape_configs: []\n")
        super().__init__(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self._data}",
                "--storage.tsdb.retention.time=100y",
                "--web.enable-remote-write-receiver",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder / f"prometheus-{port}.log",
            f"http://127.0.0.1:{port}",
            "/-/ready",
        )

    def start(self) -> None:
        """Write the series into blocks of the database, then start the server on them."""
        if self._series:
            self._make_blocks()
        super().start()

    def stored(self, selector: str, at_s: float, window_s: int) -> dict[Labels, Samples]:
        """Return the samples of the matching series in the `window_s` up to `at_s`."""
        status, body = request(
            "POST",
            f"{self.url}/api/v1/query",
            fields={"query": f"{selector}[{window_s}s]", "time": str(at_s)},
        )
        assert status == 200, body
        return {
            Labels(entry["metric"]): [(round(t * 1000), float(v)) for t, v in entry["values"]]
            for entry in json.loads(body)["data"]["result"]
        }

    def _make_blocks(self) -> None:
        lines = []
        for labels, samples in self._series:
            pairs = ",".join(f'{n}="{v}"' for n, v in labels.items() if n != "__name__")
            lines += [f"{labels['__name__']}{{{pairs}}} {v!r} {t // 1000}" for t, v in samples]
        text = self._folder / "series.txt"
        text.write_text("\n".join([*lines, "# EOF", ""]))
        with Process(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(self._data)],
            self._folder / "promtool.log",
        ) as promtool:
            assert promtool.wait(180) == 0, promtool.output


class Nginx(Server):
    """An nginx with the given content of its `server` block.

    Parameters
    ----------
    folder
        Temporary folder for the configuration, temporary files and logs.
    directives
        Text of the `server` block after `listen`, such as `location` blocks.
    """

    @dataclass(frozen=True)
    class Request:
        """A request that was answered, or whose client left.

        Attributes
        ----------
        time
            When it was over, Unix seconds.
        method
            GET or POST.
        status
            Of the answer.
        n_bytes
            What was read of it.
        """

        time: float
        method: str
        status: int
        n_bytes: int

    def __init__(self, folder: Path, directives: str) -> None:
        port = free_port()
        prefix = folder / f"nginx-{port}"
        prefix.mkdir()
        temporary = "\n".join(
            f"{kind}_temp_path {prefix}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = prefix / "nginx.conf"
        config.write_text(
            # One process as the user who runs the tests: it must reach the temporary folder.
            "daemon off;\nmaster_process off;\n"
            f"pid {prefix}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
            "http {\nlog_format facts '$msec $request_method $status $request_length';\n"
            f"access_log {prefix}/access.log facts;\n{temporary}\n"
            f"server {{\nlisten 127.0.0.1:{port};\n"
            "location = /ready { access_log off; return 200 ready; }\n"
            f"{directives}\n}}\n}}\n"
        )
        super().__init__(
            ["nginx", "-p", str(prefix), "-c", str(config), "-e", "stderr"],
            folder / f"nginx-{port}.log",
            f"http://127.0.0.1:{port}",
            "/ready",
        )
        self._access_log = prefix / "access.log"

    @property
    def requests(self) -> list[Request]:
        """What was asked so far, in the order in which it was over."""
        lines = [line.split() for line in self._access_log.read_text().splitlines()]
        return [
            self.Request(float(time), method, int(status), int(n))
            for time, method, status, n in lines
        ]


class Front(Nginx):
    """An nginx that passes everything on to a database, or fails while it is told to.

    Parameters
    ----------
    folder
        See `Nginx`.
    target
        Base URL of the database.
    fault
        The directives that answer instead of the database while it fails.
    directives
        Further directives of the `server` block.
    """

    def __init__(self, folder: Path, target: str, fault: str, directives: str = "") -> None:
        self._switch = folder / "fail"
        super().__init__(
            folder,
            f"client_max_body_size 0;\n{directives}\n"
            f"location / {{ if (-f {self._switch}) {{ rewrite ^ /fault last; }}\n"
            f"proxy_pass {target}; }}\n"
            f"location /fault {{ internal; {fault} }}\n",
        )

    def writes(self) -> list[Nginx.Request]:
        """Return the POST requests, once the last of them has reached the database."""
        writes: list[Nginx.Request] = []

        def complete() -> bool:
            # nginx notes a request after it has answered it.
            writes[:] = [request for request in self.requests if request.method == "POST"]
            return bool(writes) and writes[-1].status == 204

        self.wait_until(complete, "a note of the last write")
        return writes

    def fail(self) -> None:
        """Answer with the fault from now on."""
        self._switch.touch()

    def recover(self) -> None:
        """Pass requests on again."""
        self._switch.unlink()


class Vmauth(Server):
    """A vmauth with the given users.

    Parameters
    ----------
    folder
        Temporary folder for the configuration and log.
    users
        The section `users` of its configuration.
    """

    def __init__(self, folder: Path, users: Sequence[Mapping[str, Any]]) -> None:
        port = free_port()
        self._config = folder / f"vmauth-{port}.yaml"
        self._write(users)
        super().__init__(
            ["vmauth", f"-auth.config={self._config}", f"-httpListenAddr=127.0.0.1:{port}"],
            folder / f"vmauth-{port}.log",
            f"http://127.0.0.1:{port}",
            "/health",
        )

    def change(self, users: Sequence[Mapping[str, Any]]) -> None:
        """Let other users in from now on, and nobody else."""
        n_reloads = self._n_reloads
        self._write(users)
        self.signal(signal.SIGHUP)
        self.wait_until(lambda: self._n_reloads > n_reloads, "reload of the users")

    @property
    def _n_reloads(self) -> int:
        return self.output.count("Successfully reloaded")

    def _write(self, users: Sequence[Mapping[str, Any]]) -> None:
        self._config.write_text(yaml.safe_dump({"users": [dict(user) for user in users]}))


class Vmanomaly(Process):
    """The product, as a user starts it: `python -m vmanomaly FILE [ARGUMENT ...]`.

    Parameters
    ----------
    folder
        Temporary folder: the working folder of nothing, the home of config and log.
    config
        Mapping to be written as YAML, or the text of the file.
    arguments
        Further command-line arguments.
    environ
        Environment variables to be added.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | str,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.config = folder / "vmanomaly.yaml"
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        self.config.write_text(text)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VMANOMALY_", "PYTHONPROFILE"))
        }
        super().__init__(
            [sys.executable, "-m", "vmanomaly", str(self.config), *arguments],
            folder / "vmanomaly.log",
            {**inherited, **(environ or {})},
        )

    def run(self, timeout_s: float = 300.0) -> tuple[int, str]:
        """Run to the end; return the exit status and the output."""
        with self:
            return self.wait(timeout_s), self.output
