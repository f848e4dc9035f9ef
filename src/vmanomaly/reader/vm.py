"""Reader `vm`: range queries to VictoriaMetrics, Prometheus and whatever implements their API.

`query.offset` moves the window that is read: at 12:00 an offset of -15s reads up to 11:59:45.
Samples keep the timestamps at which they were stored, so scores have the timestamps of the data
they are about.

A range of more points than `max_points_per_query` or the server allows is requested in pieces. A
query with a failure that may be temporary (no connection, a broken answer, 429, 502, 503, 504) is
sent at most twice more. What goes wrong with a query is logged when it begins and when it is over.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.episodes import Episodes
from vmanomaly.errors import (
    CancelledError,
    DatasourceError,
    DeadlineExceededError,
    TooLargeError,
)
from vmanomaly.exhaustion import exhausted
from vmanomaly.http import Guard, HttpClient, StatusError, form_encode, redact_url
from vmanomaly.mapped import MappedRows
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.printable import shown_size
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.limits import max_response_bytes, max_series
from vmanomaly.reader.messages import no_data, shown_warnings
from vmanomaly.reader.outcomes import Outcomes, Reading
from vmanomaly.reader.scanner import Answer, Scanner
from vmanomaly.reader.scanner import warm_up as warm_up_scanner
from vmanomaly.reader.stitch import MemoryRows, Stitch
from vmanomaly.reader.workers import n_reads_at_once
from vmanomaly.series import IntArray, SeriesBatch, TimeRange
from vmanomaly.slots import Slots, Turn

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query, VmReaderSection

logger = logging.getLogger(__name__)

#: Points a series may have in one answer if the server does not say.
DEFAULT_MAX_POINTS = 30_000

#: Seconds to wait before a query is sent again.
RETRY_DELAYS_S = (0.2, 1.0)

_PASSING_FAILURES = frozenset({"connection_error", "io_error", "429", "502", "503", "504"})
_QUERY_RANGE_PATH = "/api/v1/query_range"
_FLAGS_TIMEOUT_S = 5.0
_MAX_PAGE_BYTES = 16 << 20
_FLAG = re.compile(r'^-search\.maxPointsPerTimeseries="?([0-9]{1,18})\b', re.MULTILINE)
_VERSION = re.compile(r'^vm_app_version\{.*short_version="(?:v(\d+)\.(\d+)\.(\d+)|")', re.MULTILINE)
_HEEDS_LATENCY_OFFSET = (1, 85, 2)
_LATENCY_OFFSET = re.compile(r'^flag\{name="search\.latencyOffset", value="([^"]+)"', re.MULTILINE)
_LONGEST_HIDDEN_MS = 600_000
_TOO_MANY_POINTS = re.compile(
    r"search\.maxPointsPerTimeseries|exceeded maximum resolution of [0-9,]+ points"
)
_ALLOWED_POINTS = re.compile(
    r"(?:maxPointsPerTimeseries=|maximum number of points is |maximum resolution of )([0-9,]{1,24})"
    r"(?![0-9,])"
)
_TOO_MANY_SAMPLES = re.compile(
    r"search\.maxSamplesPerQuery|search\.maxSamplesPerSeries|load too many samples into memory"
)
# A range is not cut into more pieces than this, whatever the server says.
_MOST_PIECES = 1000
_LONGEST_DELAY_S = 60.0


class VmReader:
    """Reads series by range queries. Safe to use from several threads.

    Parameters
    ----------
    section
        The configuration of the reader.
    metrics
        Where requests are counted.
    data_folder
        Where the data of a fit is kept while models learn it; None keeps it in memory.
    guard
        As for `HttpClient`.
    """

    def __init__(
        self,
        section: VmReaderSection,
        metrics: Metrics,
        data_folder: Path | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._section = section
        self._data_folder = data_folder
        self._metrics = metrics
        self._client = HttpClient(section, "reader", guard)
        self._workers = Slots(n_reads_at_once(section))
        self._asks_limit = Slots(1)
        self._caches: dict[tuple[str, str | None], LabelCache] = {}
        self._lock = threading.Lock()
        self._server_limit: int | None = None
        self._knows_latency = False
        self._outcomes = Outcomes(logger)
        self._warnings = Episodes(logger)
        self._points_at_once: dict[tuple[str, str | None], int] = {}
        self._max_bytes = max_response_bytes(section)

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        """Return what `query` gives at the multiples of its step in `time_range`.

        Parameters
        ----------
        query
            The query. Its `offset` moves the range; timestamps stay those of the data.
        time_range
            Start exclusive, end inclusive.
        scheduler_alias
            The scheduler that asks: a label of the metrics.
        stage
            `fit`, `infer` or `fit_infer`.
        context
            Says whether the work that the data is for is to stop.

        Returns
        -------
        SeriesBatch
            Series in the order in which the server named them, none when there is no data.

        Raises
        ------
        DatasourceError
            The server cannot be reached or refuses, or its answer cannot be used: it is not that
            of a range query, or, with the code `partial`, it lacks data that a fit needs.
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        offset = int(query.offset)
        window = TimeRange(time_range.start + offset, time_range.end + offset)
        grid = window.grid(int(query.step))
        if len(grid) == 0:
            return SeriesBatch((), grid, np.empty((0, 0)))
        task = self._task(query, scheduler_alias, stage, context or RunContext())
        reading = Reading(scheduler_alias, query.alias, stage)
        with self._a_worker(task) as turn:
            self._warn_of_hidden_seconds(task, grid)
            try:
                batch, is_partial = self._read_grid(task, grid)
            except DatasourceError as error:
                turn.timed_out = error.code == "timeout"
                self._outcomes.fails(reading, task.url, error)
                raise
        if batch.n_valid_points == 0:
            message = no_data(query, window, scheduler_alias, stage)
            self._outcomes.is_empty(reading, task.url, message)
        elif is_partial:
            self._outcomes.is_partial(reading, task.url)
        else:
            self._outcomes.works(reading, task.url)
        return batch

    def check_health(self) -> None:
        """Raise DatasourceError if the datasource gives no HTTP answer."""
        self._client.check_health()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._client.close()

    @staticmethod
    def warm_up() -> None:
        """Compile the scanner, or load it from disk."""
        warm_up_scanner()

    def _task(self, query: Query, scheduler_alias: str, stage: str, context: RunContext) -> _Task:
        section = self._section
        tenant = query.tenant_id or section.tenant_id
        address = self._client.url(section.query_range_path or _QUERY_RANGE_PATH, tenant)
        extra_labels = {}
        if section.tenant_id == "multitenant" and tenant != "multitenant":
            account, _, project = str(tenant).partition(":")
            extra_labels = {"vm_account_id": account, "vm_project_id": project or "0"}
        cache = self._caches.setdefault((query.alias, tenant), LabelCache(extra_labels))
        url = redact_url(address)
        metric_labels = self._metrics.of_query(url, query.alias, scheduler_alias)
        return _Task(query, scheduler_alias, stage, context, address, url, metric_labels, cache)

    @contextmanager
    def _a_worker(self, task: _Task) -> Iterator[Turn]:
        """Wait until fewer than `workers` queries are being read."""
        query = task.scheduler_alias, task.query.alias
        queued = self._metrics.reader_processing_tasks_queued.labels(*task.metric_labels)
        with ExitStack() as held:
            with queued.track_inprogress():
                turn = held.enter_context(self._workers.taken(task.context, query))
            yield turn

    def _read_grid(self, task: _Task, grid: IntArray) -> tuple[SeriesBatch, bool]:
        """Return the batch on `grid`, and whether a piece of it is partial."""
        if task.stage != "fit" or self._data_folder is None:
            return self._read_pieces(task, _in_memory(grid))
        try:
            rows = MappedRows(self._data_folder, len(grid))
            stitch = Stitch(grid, rows, max_series(len(grid), in_memory=False))
            return self._read_pieces(task, stitch)
        except OSError as error:
            logger.warning(
                "Cannot keep the data of %s in %s: %s. It is kept in memory",
                task.query.alias,
                self._data_folder,
                exhausted(error) or error.strerror,
            )
            return self._read_pieces(task, _in_memory(grid))

    def _read_pieces(self, task: _Task, stitch: Stitch) -> tuple[SeriesBatch, bool]:
        """Request the grid in pieces."""
        is_partial = False
        warnings: dict[str, None] = {}
        while len(stitch.rest):
            piece = stitch.rest[: self._max_points(task, len(stitch.rest))]
            try:
                answer = self._fetch(task, piece, stitch)
            except _TooMuchAtOnceError as error:
                self._cut_smaller(task, error, len(stitch.timestamps))
                continue
            is_partial |= answer.is_partial
            warnings.update(dict.fromkeys(answer.warnings))
            stitch.end()
        self._tell_warnings(task, tuple(warnings))
        if stitch.n_merged:
            logger.warning(
                "%s: %d series of %s have the labels of another one and were merged with it",
                task.url,
                stitch.n_merged,
                task.query.alias,
            )
        started = time.perf_counter()
        labels = task.cache.as_tuple(stitch.labels)
        batch = SeriesBatch(labels, stitch.timestamps, stitch.finish())
        self._metrics.reader_response_parsing_seconds.labels("df", *task.metric_labels).observe(
            time.perf_counter() - started
        )
        return batch, is_partial

    def _fetch(self, task: _Task, piece: IntArray, stitch: Stitch) -> Answer:
        """Place a piece of the grid; failures that may be temporary are retried."""
        arguments = self._arguments(task.query, piece)
        delays = iter(RETRY_DELAYS_S)
        while True:
            try:
                return self._ask(task, arguments, piece, stitch)
            except DatasourceError as error:
                allowed = _allowed_points(error, len(piece))
                if allowed is not None:
                    raise _TooMuchAtOnceError(
                        _failed(task, arguments, error), error, allowed
                    ) from error
                delay = next(delays, None) if error.code in _PASSING_FAILURES else None
                if delay is not None:
                    delay = self._delay(task.context, error, delay)
                if delay is None:
                    raise DatasourceError(
                        _failed(task, arguments, error) + _remedy(error),
                        error.code,
                        error.out_of_reach,
                    ) from error
                task.context.sleep(delay)
                logger.debug("Querying again for %s: %s", task.query.alias, error)

    def _delay(self, context: RunContext, error: DatasourceError, least_s: float) -> float | None:
        """Return the seconds to wait before a query is sent again; None if that is too long."""
        asked_s = getattr(error, "retry_after", None) or 0.0
        longest_s = min(_LONGEST_DELAY_S, self._section.fetch_timeout.seconds)
        if context.remaining_s is not None:
            longest_s = min(longest_s, context.remaining_s)
        return max(least_s, asked_s) if asked_s <= longest_s else None

    def _tell_warnings(self, task: _Task, warnings: tuple[str, ...]) -> None:
        """Log the warnings of a server when they change."""
        key = (task.scheduler_alias, task.query.alias, task.stage)
        if not warnings:
            self._warnings.end(key)
            return
        message = f"{task.url} warns about {task.query.alias}: {shown_warnings(warnings)}"
        self._warnings.begin(key, message, cause=warnings)

    def _ask(
        self, task: _Task, arguments: list[tuple[str, str]], piece: IntArray, stitch: Stitch
    ) -> Answer:
        """Send one request and scan its answer as it arrives; both are counted."""
        metrics, labels = self._metrics, task.metric_labels
        stitch.begin(len(piece))
        scanner = Scanner(piece, int(task.query.step), task.cache, stitch.place)
        started = time.perf_counter()
        scanning = 0.0
        received = 0
        code = "200"
        logger.debug(
            "[Scheduler `%s`] %s %s for %s with %s",
            task.scheduler_alias,
            self._section.http_method,
            task.url,
            task.query.alias,
            _shown(arguments),
        )
        try:
            with self._client.stream(
                self._section.http_method,
                task.address,
                form=form_encode(arguments),
                timeout_s=self._section.fetch_timeout.seconds,
                context=task.context,
            ) as chunks:
                for chunk in chunks:
                    received += len(chunk)
                    before = time.perf_counter()
                    scanner.feed(chunk)
                    scanning += time.perf_counter() - before
                    self._check_size(received, scanner)
                    self._check_processing(scanning)
            before = time.perf_counter()
            answer = scanner.finish()
            scanning += time.perf_counter() - before
            if answer.is_partial:
                code = "partial"
        except DatasourceError as error:
            code = error.code
            raise
        except CancelledError:
            code = "cancelled"
            raise
        except DeadlineExceededError:
            code = "timeout"
            raise
        finally:
            took = time.perf_counter() - started - scanning
            metrics.reader_request_duration_seconds.labels(*labels).observe(took)
            metrics.reader_responses.labels(*labels, code).inc()
            metrics.reader_received_bytes.labels(*labels).inc(received)
        metrics.reader_response_parsing_seconds.labels("json", *labels).observe(scanning)
        metrics.reader_timeseries_received.labels(*labels).inc(answer.n_series)
        metrics.reader_datapoints_received.labels(*labels).inc(answer.n_samples)
        self._judge(task, answer)
        return answer

    def _judge(self, task: _Task, answer: Answer) -> None:
        """Refuse what a fit must not learn from, and log what is unusual about an answer."""
        if answer.is_partial and task.stage != "infer":
            said = shown_warnings(answer.warnings) or "isPartial"
            raise DatasourceError(
                f"the server says that data is missing ({said}); a fit needs all of it. "
                "Are all its storage nodes up?",
                "partial",
            )
        if answer.n_off_grid:
            logger.warning(
                "%s: %d samples of %s are not at multiples of the step and were left out",
                task.url,
                answer.n_off_grid,
                task.query.alias,
            )

    def _check_size(self, received: int, scanner: Scanner) -> None:
        if received > self._max_bytes:
            raise TooLargeError(
                f"the answer is larger than {shown_size(self._max_bytes)}. Narrow the query, or "
                f"raise `reader.max_response_size`",
                by_range=scanner.shrinks_with_range,
            )

    def _check_processing(self, took_s: float) -> None:
        limit = self._section.processing_timeout
        if took_s > limit.seconds:
            raise DatasourceError(
                f"processing the answer took longer than {limit}; raise "
                f"`reader.processing_timeout`, or ask for fewer series or less time",
                "timeout",
            )

    def _arguments(self, query: Query, piece: IntArray) -> list[tuple[str, str]]:
        arguments = [
            ("query", query.expr),
            ("start", _seconds(int(piece[0]))),
            ("end", _seconds(int(piece[-1]))),
            ("step", _seconds(int(query.step))),
            ("latency_offset", f"{int(self._section.latency_offset)}ms"),
        ]
        return arguments + [("extra_filters[]", each) for each in self._section.extra_filters]

    def _max_points(self, task: _Task, wanted: int) -> int:
        """Return the points a series may have in one answer."""
        if wanted == 1:
            return 1
        at_once = self._points_at_once.get(_limit_key(task), wanted)
        limit = self._server_limit
        if limit is None:
            with self._asks_limit.taken(task.context):
                limit = self._server_limit = self._server_limit or self._ask_limit(task.context)
        own = task.query.max_points_per_query
        points = min(limit, at_once, own or limit)
        if points != own:
            _refuse_storm(wanted, points, f"{task.url}: ")
        return points

    def _ask_limit(self, context: RunContext) -> int:
        """Return the flag `search.maxPointsPerTimeseries` of the server, or its default."""
        found = _FLAG.search(self._page("flags", context))
        # A flag of 0 gives no usable limit: the server's refusal will tell.
        limit = (int(found[1]) if found else 0) or DEFAULT_MAX_POINTS
        logger.debug("Max points per timeseries set as %d", limit)
        return limit

    def _warn_of_hidden_seconds(self, task: _Task, grid: IntArray) -> None:
        """Warn once of a server that hides the last seconds of the data, if they are asked for."""
        age = time.time() * 1000 - int(grid[-1])
        if age > _LONGEST_HIDDEN_MS:
            return
        with self._lock:
            if self._knows_latency:
                return
            self._knows_latency = True
        page = self._page("metrics", task.context)
        found, flag = _VERSION.search(page), _LATENCY_OFFSET.search(page)
        # Debian's package does not say its version, and is older.
        if found is None or tuple(map(int, found.groups(default="0"))) >= _HEEDS_LATENCY_OFFSET:
            return
        hidden = Duration.parse(flag[1] if flag else "30s")
        if age < int(hidden):
            logger.warning(
                "%s hides the last %s of its data, and ignores latency_offset, as VictoriaMetrics "
                "before 1.85.2 does: for %s there would be nothing or a frozen value. Upgrade it, "
                "or set `reader.offset` to at least -%s",
                redact_url(self._client.server_url("")),
                hidden,
                task.query.alias,
                hidden,
            )

    def _page(self, path: str, context: RunContext) -> str:
        """Return a page of the server's own, empty if there is none."""
        url = self._client.server_url(path)
        timeout_s = min(_FLAGS_TIMEOUT_S, self._section.fetch_timeout.seconds)
        try:
            page = self._client.request(
                "GET", url, timeout_s=timeout_s, context=context, max_bytes=_MAX_PAGE_BYTES
            )
            return page.body.decode("utf-8", "replace")
        except DatasourceError as error:
            logger.debug("Could not get constraints: %s", error)
            return ""

    def _cut_smaller(self, task: _Task, error: _TooMuchAtOnceError, n_points: int) -> None:
        """Request smaller pieces from now on, unless that would be a storm of requests.

        Raises
        ------
        DatasourceError
            There would be too many pieces.
        """
        _refuse_storm(n_points, error.allowed, f"{error}. ")
        if isinstance(error.reason, TooLargeError):
            reason = f"is answered with more than {shown_size(self._max_bytes)}"
        elif _says_samples(error.reason):
            reason = "reads too many samples for the server"
        else:
            self._lower_limit(error.allowed)
            return
        # How much a query reads is its own matter, not that of the others.
        self._points_at_once[_limit_key(task)] = error.allowed
        logger.info(
            "%s %s: it is asked for %d points at a time", task.query.alias, reason, error.allowed
        )

    def _lower_limit(self, allowed: int) -> None:
        with self._lock:
            self._server_limit = min(allowed, self._server_limit or allowed)
        logger.info("The server allows %d points per series; long ranges are split", allowed)


@dataclass(frozen=True, slots=True)
class _Task:
    """One read: what is read, from where and for whom, and the labels of its metrics."""

    query: Query
    scheduler_alias: str
    stage: str
    context: RunContext
    address: str
    url: str
    metric_labels: tuple[str, ...]
    cache: LabelCache


class _TooMuchAtOnceError(DatasourceError):
    """The server, or the reader, allows less than a request asked for."""

    def __init__(self, message: str, reason: DatasourceError, allowed: int) -> None:
        super().__init__(message, reason.code)
        self.reason = reason
        self.allowed = allowed


def _in_memory(grid: IntArray) -> Stitch:
    return Stitch(grid, MemoryRows(len(grid)), max_series(len(grid), in_memory=True))


def _limit_key(task: _Task) -> tuple[str, str | None]:
    return task.query.alias, task.query.tenant_id


def _allowed_points(error: DatasourceError, asked: int) -> int | None:
    """Return how many points to request next, or None if `error` is about something else."""
    if asked == 1:
        return None
    if isinstance(error, TooLargeError) and error.by_range:
        return asked // 2
    if not isinstance(error, StatusError) or error.status not in {400, 422}:
        return None
    if _says_samples(error):
        return asked // 2
    if not _TOO_MANY_POINTS.search(error.words):
        return None
    found = _ALLOWED_POINTS.search(error.words)
    digits = found[1].replace(",", "") if found else ""
    allowed = int(digits) if digits else asked
    return allowed if 0 < allowed < asked else asked // 2


def _refuse_storm(n_points: int, at_once: int, prefix: str) -> None:
    """Raise DatasourceError if a range would take too many requests within a limit."""
    if -(-n_points // at_once) > _MOST_PIECES:
        raise DatasourceError(
            f"{prefix}Only {at_once} points of {n_points} can be read at a time, which takes more "
            f"than {_MOST_PIECES} requests. Raise the limit of the server "
            f"(-search.maxPointsPerTimeseries, -search.maxSamplesPerQuery, Prometheus' "
            f"--query.max-samples) or `reader.max_response_size`, read a shorter range, or set "
            f"`max_points_per_query` to {at_once} to read it all the same",
            "422",
        )


def _says_samples(error: DatasourceError) -> bool:
    """Return whether a server refuses because of the number of samples that a query reads."""
    return isinstance(error, StatusError) and bool(_TOO_MANY_SAMPLES.search(error.words))


def _remedy(error: DatasourceError) -> str:
    """Return what to do if a server refuses even the smallest piece for its samples."""
    if not _says_samples(error):
        return ""
    return (
        ". The smallest piece is still too much, so a smaller `max_points_per_query` does not "
        "help: narrow the query, or raise the limit of the server (-search.maxSamplesPerQuery "
        "or -search.maxSamplesPerSeries, Prometheus' --query.max-samples)"
    )


def _failed(task: _Task, arguments: list[tuple[str, str]], error: DatasourceError) -> str:
    shown = _shown(arguments)
    return f"Error querying {task.url} for {task.query.alias} with {shown}: {error}"


def _seconds(milliseconds: int) -> str:
    """Return milliseconds as seconds, exactly.

    Examples
    --------
    >>> _seconds(60_000), _seconds(1_500), _seconds(-1)
    ('60', '1.5', '-0.001')
    """
    sign = "-" if milliseconds < 0 else ""
    seconds, rest = divmod(abs(milliseconds), 1000)
    return f"{sign}{seconds}" + (f".{rest:03d}".rstrip("0") if rest else "")


def _shown(arguments: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments)
