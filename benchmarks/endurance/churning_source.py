"""A stand-in database whose series come and go, cheap enough to run next to what it feeds.

It answers `query_range` with samples for any time, and takes whatever is written.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

N_COHORTS = 10
_N_VALUES = 1009
_VALUES = [f'"{50 + 10 * ((n * n) % _N_VALUES) / _N_VALUES:.3f}"' for n in range(_N_VALUES)]


@dataclass
class ChurningSource:
    """The series of a system in which a tenth is replaced every `period_s`.

    Attributes
    ----------
    n_series : int
        How many there are at any time.
    period_s : int
        Every so many seconds the next tenth is replaced by series of new names.
    n_bytes_taken : int
        What was written to it, uncompressed where it arrives so.
    """

    n_series: int
    period_s: int
    n_bytes_taken: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def generation(self, cohort: int, second: int) -> int:
        """Return how often the series of a tenth were replaced before a time.

        >>> source = ChurningSource(100, period_s=60)
        >>> [source.generation(0, 60 * minute) for minute in (0, 9, 10, 19, 20)]
        [0, 0, 1, 1, 2]
        >>> [source.generation(3, 60 * minute) for minute in (0, 6, 7)]
        [0, 0, 1]
        """
        return (second // self.period_s + cohort) // N_COHORTS

    def answer(self, start: int, end: int, step: int) -> Iterator[bytes]:
        """Return the answer to a range query in pieces; all times are seconds."""
        yield b'{"status":"success","data":{"resultType":"matrix","result":['
        comma = ""
        for cohort in range(N_COHORTS):
            for generation, seconds in self._lives(cohort, range(start, end + 1, step)):
                series = range(cohort, self.n_series, N_COHORTS)
                texts = [self._series(number, generation, seconds) for number in series]
                yield (comma + ",".join(texts)).encode()
                comma = ","
        yield b"]}}"

    def take(self, body: bytes) -> None:
        """Take what is written."""
        with self._lock:
            self.n_bytes_taken += len(body)

    def _lives(self, cohort: int, seconds: range) -> Iterator[tuple[int, list[int]]]:
        lives: dict[int, list[int]] = {}
        for second in seconds:
            lives.setdefault(self.generation(cohort, second), []).append(second)
        yield from lives.items()

    @staticmethod
    def _series(number: int, generation: int, seconds: list[int]) -> str:
        samples = ",".join([f"[{t},{_VALUES[(t * 7 + number) % _N_VALUES]}]" for t in seconds])
        return (
            f'{{"metric":{{"__name__":"requests","pod":"web-{number:05d}-{generation:x}",'
            f'"container":"server"}},"values":[{samples}]}}'
        )


@contextmanager
def serve(source: ChurningSource) -> Iterator[str]:
    """Serve a source on loopback while the block runs; yield its URL."""
    handler = type("ChurningHandler", (_Handler,), {"source": source})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that is stopped in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    source: ChurningSource

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.endswith("/query_range"):
            self.source.take(body)
            self._reply(204, b"")
            return
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        start, end, step = (int(float(form[name].rstrip("s"))) for name in ("start", "end", "step"))
        answer = b"".join(self.source.answer(start, end, step))
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self._reply(200, gzip.compress(answer, 1), Content_Encoding="gzip")
        else:
            self._reply(200, answer)

    def do_GET(self) -> None:
        self._reply(200, b"OK")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _reply(self, status: int, body: bytes, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
