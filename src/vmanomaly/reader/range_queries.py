"""Range queries over HTTP, as the readers of several kinds of servers send them.

A range of more points than a server answers at a time is requested in pieces, and the answers are
put together. A query with a failure that may be temporary (no connection, a broken answer, 429,
502, 503, 504) is sent at most twice more. What goes wrong with a query is logged when it begins and
when it is over. What a kind of server understands, and how it refuses, is its `Server`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vmanomaly.context import RunContext
from vmanomaly.episodes import Episodes
from vmanomaly.errors import (
    CancelledError,
    DatasourceError,
    DeadlineExceededError,
    TooLargeError,
)
from vmanomaly.exhaustion import exhausted
from vmanomaly.http import HttpClient, form_encode
from vmanomaly.mapped import MappedRows
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.printable import sentence, shown_size
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.limits import max_response_bytes, max_series
from vmanomaly.reader.messages import no_data, shown_warnings
from vmanomaly.reader.outcomes import Outcomes, Reading
from vmanomaly.reader.scanner import Answer, Scanner
from vmanomaly.reader.stitch import MemoryRows, Stitch
from vmanomaly.reader.workers import n_reads_at_once
from vmanomaly.series import IntArray, SeriesBatch, TimeRange
from vmanomaly.slots import Slots, Turn

if TYPE_CHECKING:
    from vmanomaly.config.reader import HttpReaderSection, Query

#: Seconds to wait before a query is sent again.
RETRY_DELAYS_S = (0.2, 1.0)

#: A range is not cut into more pieces than this, whatever the server says.
MOST_PIECES = 1000

_PASSING_FAILURES = frozenset({"connection_error", "io_error", "429", "502", "503", "504"})
_LONGEST_DELAY_S = 60.0
_FOLDER = "folder"

Arguments = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Task:
    """One read: what is read, from where and for whom.

    Attributes
    ----------
    query, scheduler_alias, stage, context
        As for `Reader.read`.
    address, headers
        Where the query is sent, and with which headers of its own.
    url
        The address as it may be shown.
    metric_labels
        The labels of its metrics.
    cache
        The label sets of earlier answers.
    parse_value
        Returns the number that a value is which is not in the usual form.
    """

    query: Query
    scheduler_alias: str
    stage: str
    context: RunContext
    address: str
    url: str
    metric_labels: tuple[str, ...]
    cache: LabelCache
    headers: Mapping[str, str] = field(default_factory=dict)
    parse_value: Callable[[str], float] = float

    @property
    def limit_key(self) -> tuple[str, str | None]:
        """Whose limits on the size of a piece apply."""
        return self.query.alias, self.query.tenant_id


class _TooMuchAtOnceError(DatasourceError):
    """The server, or the reader, allows less than a request asked for."""

    def __init__(self, message: str, reason: DatasourceError, allowed: int) -> None:
        super().__init__(message, reason.code)
        self.reason = reason
        self.allowed = allowed


class Server(Protocol):
    """What is particular to a kind of server.

    Attributes
    ----------
    limits
        What limits the points of an answer, so that messages can name it.
    """

    limits: str

    def prepare(self, task: Task, grid: IntArray) -> None:
        """Do what comes before the first request of a read."""
        ...

    def arguments(self, query: Query, piece: IntArray) -> Arguments:
        """Return what is sent to get the points of a piece of the grid."""
        ...

    def max_points(self, task: Task, wanted: int) -> int:
        """Return how many points a series may have in an answer; at least two are `wanted`."""
        ...

    def explained(self, error: DatasourceError) -> DatasourceError:
        """Return what a failure means whose words do not say so."""
        ...

    def allowed_points(self, error: DatasourceError, asked: int) -> int | None:
        """Return how many points to request next, where at least two were asked for.

        None if `error` is not about the number of points.
        """
        ...

    def reason_in_query(self, error: DatasourceError) -> str | None:
        """Return why the query of a request for too many points is at fault, alone.

        None if the server refuses so many points of any query.
        """
        ...

    def lower_limit(self, allowed: int) -> None:
        """Note how many points the server allows, of any query."""
        ...

    def remedy(self, error: DatasourceError) -> str:
        """Return what to append to the message of a failure that ends a query."""
        ...


class RangeQueries:
    """Sends range queries and returns what they give as batches. Safe to use from several threads.

    Parameters
    ----------
    section
        The configuration of the reader.
    metrics
        Where requests are counted.
    client
        Sends them.
    server
        What is particular to the server.
    logger
        That of the reader.
    data_folder
        Where the data of a fit is kept while models learn it; None keeps it in memory.
    """

    def __init__(
        self,
        section: HttpReaderSection,
        metrics: Metrics,
        client: HttpClient,
        server: Server,
        logger: logging.Logger,
        data_folder: Path | None,
    ) -> None:
        self._section = section
        self._metrics = metrics
        self._client = client
        self._server = server
        self._logger = logger
        self._data_folder = data_folder
        self._workers = Slots(n_reads_at_once(section))
        self._outcomes = Outcomes(logger)
        self._episodes = Episodes(logger)
        self._points_at_once: dict[tuple[str, str | None], int] = {}
        self._max_bytes = max_response_bytes(section)

    def read(self, task: Task, window: TimeRange, grid: IntArray) -> SeriesBatch:
        """Return what a query gives at the timestamps of `grid`, at least one.

        Parameters
        ----------
        task
            What to read.
        window
            The range as messages name it.
        grid : ndarray of int64, shape (T,)
            Unix milliseconds, one step apart.

        Returns
        -------
        SeriesBatch
            Series in the order in which the server named them, none when there is no data. The
            values may be written to.

        Raises
        ------
        DatasourceError
            The server cannot be reached or refuses, or its answer cannot be used: it is not that
            of a range query, or, with the code `partial`, it lacks data that a fit needs. This is
            logged and counted already.
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        reading = Reading(task.scheduler_alias, task.query.alias, task.stage)
        with self._a_worker(task) as turn:
            self._server.prepare(task, grid)
            try:
                batch, is_partial = self._read_grid(task, grid)
            except DatasourceError as error:
                turn.timed_out = error.code == "timeout"
                self._outcomes.fails(reading, task.url, error)
                raise
        if batch.n_valid_points == 0:
            message = no_data(task.query, window, task.scheduler_alias, task.stage)
            self._outcomes.is_empty(reading, task.url, message)
        elif is_partial:
            self._outcomes.is_partial(reading, task.url)
        else:
            self._outcomes.works(reading, task.url)
        return batch

    @contextmanager
    def _a_worker(self, task: Task) -> Iterator[Turn]:
        """Wait until fewer than `workers` queries are being read."""
        query = task.scheduler_alias, task.query.alias
        queued = self._metrics.reader_processing_tasks_queued.labels(*task.metric_labels)
        with ExitStack() as held:
            with queued.track_inprogress():
                turn = held.enter_context(self._workers.taken(task.context, query))
            yield turn

    def _read_grid(self, task: Task, grid: IntArray) -> tuple[SeriesBatch, bool]:
        """Return the batch on `grid`, and whether a piece of it is partial."""
        if task.stage != "fit" or self._data_folder is None:
            return self._read_pieces(task, _in_memory(grid))
        try:
            rows = MappedRows(self._data_folder, len(grid))
            stitch = Stitch(grid, rows, max_series(len(grid), in_memory=False))
            found = self._read_pieces(task, stitch)
        except OSError as error:
            message = (
                f"Cannot keep the data of {task.query.alias} in {self._data_folder}: "
                f"{exhausted(error) or error.strerror}. It is kept in memory"
            )
            self._episodes.begin(_FOLDER, message)
            return self._read_pieces(task, _in_memory(grid))
        self._episodes.end(_FOLDER, f"The data of fits is kept in {self._data_folder} again")
        return found

    def _read_pieces(self, task: Task, stitch: Stitch) -> tuple[SeriesBatch, bool]:
        """Request the grid in pieces."""
        is_partial, n_off_grid = False, 0
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
            n_off_grid += answer.n_off_grid
            stitch.end()
        self._tell_warnings(task, tuple(warnings))
        self._tell(
            task,
            stitch.n_merged,
            f"series of {task.query.alias} merged with another one, whose labels they have",
        )
        self._tell(
            task,
            n_off_grid,
            f"samples of {task.query.alias} left out, since they are not at multiples of the step",
        )
        started = time.perf_counter()
        labels = task.cache.as_tuple(stitch.labels)
        batch = SeriesBatch(labels, stitch.timestamps, stitch.finish())
        self._metrics.reader_response_parsing_seconds.labels("df", *task.metric_labels).observe(
            time.perf_counter() - started
        )
        return batch, is_partial

    def _fetch(self, task: Task, piece: IntArray, stitch: Stitch) -> Answer:
        """Place a piece of the grid; failures that may be temporary are retried."""
        arguments = self._server.arguments(task.query, piece)
        delays = iter(RETRY_DELAYS_S)
        while True:
            try:
                return self._ask(task, arguments, piece, stitch)
            except DatasourceError as error:
                allowed = self._allowed_points(error, len(piece))
                if allowed is not None:
                    raise _TooMuchAtOnceError(
                        _failed(task, arguments, error), error, allowed
                    ) from error
                delay = next(delays, None) if error.code in _PASSING_FAILURES else None
                if delay is not None:
                    delay = self._delay(task.context, error, delay)
                if delay is None:
                    raise DatasourceError(
                        _failed(task, arguments, error) + self._server.remedy(error),
                        error.code,
                        error.out_of_reach,
                    ) from error
                task.context.sleep(delay)
                self._logger.debug("Querying again for %s: %s", task.query.alias, error)

    def _delay(self, context: RunContext, error: DatasourceError, least_s: float) -> float | None:
        """Return the seconds to wait before a query is sent again; None if that is too long."""
        asked_s = getattr(error, "retry_after", None) or 0.0
        longest_s = min(_LONGEST_DELAY_S, self._section.fetch_timeout.seconds)
        if context.remaining_s is not None:
            longest_s = min(longest_s, context.remaining_s)
        return max(least_s, asked_s) if asked_s <= longest_s else None

    def _tell(self, task: Task, n: int, what: str) -> None:
        """Log that something is wrong with a number of things, once until it is none."""
        key = (task.scheduler_alias, task.query.alias, task.stage, what)
        if n:
            self._episodes.begin(key, f"{task.url}: {what}: {n}")
        else:
            self._episodes.end(key)

    def _tell_warnings(self, task: Task, warnings: tuple[str, ...]) -> None:
        """Log the warnings of a server when they change."""
        key = (task.scheduler_alias, task.query.alias, task.stage)
        if not warnings:
            self._episodes.end(key)
            return
        message = f"{task.url} warns about {task.query.alias}: {shown_warnings(warnings)}"
        self._episodes.begin(key, message, cause=warnings)

    def _ask(self, task: Task, arguments: Arguments, piece: IntArray, stitch: Stitch) -> Answer:
        """Send one request and scan its answer as it arrives; both are counted."""
        metrics, labels = self._metrics, task.metric_labels
        stitch.begin(len(piece))
        scanner = Scanner(piece, int(task.query.step), task.cache, stitch.place, task.parse_value)
        started = time.perf_counter()
        scanning = 0.0
        received = 0
        code = "200"
        self._logger.debug(
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
                headers=task.headers,
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
            # No other name: a cycle with this frame would keep what was received.
            error = self._server.explained(error)
            code = error.code
            raise error
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

    def _judge(self, task: Task, answer: Answer) -> None:
        """Refuse what a fit must not learn from."""
        if answer.is_partial and task.stage != "infer":
            said = shown_warnings(answer.warnings) or "isPartial"
            raise DatasourceError(
                f"the server says that data is missing ({said}); a fit needs all of it. "
                "Are all its storage nodes up?",
                "partial",
            )

    def _max_points(self, task: Task, wanted: int) -> int:
        """Return how many points to ask for at a time, where `wanted` are left."""
        if wanted == 1:
            return 1
        limit = self._server.max_points(task, wanted)
        at_once = self._points_at_once.get(task.limit_key, wanted)
        own = task.query.max_points_per_query
        points = min(limit, at_once, own or limit)
        if points != own:
            self._refuse_storm(wanted, points, f"{task.url}: ")
        return points

    def _allowed_points(self, error: DatasourceError, asked: int) -> int | None:
        """Return how many points to request next, or None if `error` is about something else."""
        if asked == 1:
            return None
        if isinstance(error, TooLargeError):
            return asked // 2 if error.by_range else None
        return self._server.allowed_points(error, asked)

    def _cut_smaller(self, task: Task, error: _TooMuchAtOnceError, n_points: int) -> None:
        """Request smaller pieces from now on, unless that would be a storm of requests.

        Raises
        ------
        DatasourceError
            There would be too many pieces.
        """
        self._refuse_storm(n_points, error.allowed, f"{sentence(str(error))} ")
        if isinstance(error.reason, TooLargeError):
            reason: str | None = f"is answered with more than {shown_size(self._max_bytes)}"
        else:
            reason = self._server.reason_in_query(error.reason)
        if reason is None:
            self._server.lower_limit(error.allowed)
            return
        # How much a query reads is its own matter, not that of the others.
        self._points_at_once[task.limit_key] = error.allowed
        self._logger.info(
            "%s %s: it is asked for %d points at a time", task.query.alias, reason, error.allowed
        )

    def _refuse_storm(self, n_points: int, at_once: int, prefix: str) -> None:
        """Raise DatasourceError if a range would take too many requests within a limit."""
        if -(-n_points // at_once) > MOST_PIECES:
            raise DatasourceError(
                f"{prefix}Only {at_once} points of {n_points} can be read at a time, which takes "
                f"more than {MOST_PIECES} requests. Raise the limit of the server "
                f"({self._server.limits}) or `reader.max_response_size`, read a shorter range, or "
                f"set `max_points_per_query` to {at_once} to read it all the same",
                "422",
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


def _failed(task: Task, arguments: Arguments, error: DatasourceError) -> str:
    shown = _shown(arguments)
    return f"Error querying {task.url} for {task.query.alias} with {shown}: {error}"


def _shown(arguments: Arguments) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments)


def _in_memory(grid: IntArray) -> Stitch:
    return Stitch(grid, MemoryRows(len(grid)), max_series(len(grid), in_memory=True))


def to_seconds(milliseconds: int) -> str:
    """Return milliseconds as seconds, exactly.

    Examples
    --------
    >>> to_seconds(60_000), to_seconds(1_500), to_seconds(-1)
    ('60', '1.5', '-0.001')
    """
    sign = "-" if milliseconds < 0 else ""
    seconds, rest = divmod(abs(milliseconds), 1000)
    return f"{sign}{seconds}" + (f".{rest:03d}".rstrip("0") if rest else "")
