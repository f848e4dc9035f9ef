"""Reader `vlogs`: statistics about the logs of VictoriaLogs and the spans of VictoriaTraces.

The server counts in buckets of one step, which lie on the multiples of the step and are stamped
with their beginning: the value at 12:05 is about the logs from 12:05 up to, not including, 12:06. A
bucket is read when it is over, so a run at 12:06 reads up to that value. Series keep the timestamps
of the buckets.
"""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from vmanomaly.clock import Clock, SystemClock
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.http import BrokenAnswerError, Guard, HttpClient, StatusError, redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.logs_values import number_of, series_labels
from vmanomaly.reader.range_queries import (
    Arguments,
    RangeQueries,
    Task,
    to_seconds,
)
from vmanomaly.reader.scanner import warm_up as warm_up_scanner
from vmanomaly.series import FloatArray, IntArray, SeriesBatch, TimeRange

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query, VlogsReaderSection

logger = logging.getLogger(__name__)

_PATH = "/select/logsql/stats_query_range"
_NS_PER_MS = 10**6
# The server breaks off first, and says so, if it may work a little less long than the reader waits.
_MARGIN_MS = 1000
_MARGIN_SHARE = 10
_OUT_OF_TIME = re.compile(r"the connection has been aborted|the request couldn't be executed in")
_TOO_LONG_RANGE = re.compile(r"search\.maxQueryTimeRange")
_SHOWN_CHARACTERS = 100


def tenant_headers(tenant: str | None) -> dict[str, str]:
    """Return the headers that choose a tenant, such as `12:3`; none without one.

    Examples
    --------
    >>> tenant_headers("12"), tenant_headers(None)
    ({'AccountID': '12', 'ProjectID': '0'}, {})
    """
    if tenant is None:
        return {}
    account, _, project = tenant.partition(":")
    return {"AccountID": account, "ProjectID": project or "0"}


class VLogsReader:
    """Reads statistics by range. Safe to use from several threads.

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
    routes_by_tenant
        Whether series get the labels `vm_account_id` and `vm_project_id` of the tenant that they
        are read from, by which a writer chooses the tenant to write to.
    clock
        Tells which buckets are over.
    """

    def __init__(
        self,
        section: VlogsReaderSection,
        metrics: Metrics,
        data_folder: Path | None = None,
        guard: Guard | None = None,
        routes_by_tenant: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._section = section
        self._metrics = metrics
        self._routes_by_tenant = routes_by_tenant
        self._clock = clock or SystemClock()
        self._client = HttpClient(section, "reader", guard)
        self._caches: dict[tuple[str, str | None], LabelCache] = {}
        self._values = _Values()
        server = _VlogsServer(section)
        self._queries = RangeQueries(section, metrics, self._client, server, logger, data_folder)

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        """Return what `query` gives for the buckets that end in `time_range` and are over.

        Parameters
        ----------
        query
            The query. Its `offset` moves the range; timestamps are the beginnings of the buckets.
            If it has `fill`, the value is 0 where a series has none after its first one.
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
            Series in the order in which the server named them, none when there is no data. A bucket
            that is not over yet has no timestamp.

        Raises
        ------
        DatasourceError
            The server cannot be reached, refuses, runs out of time, or its answer cannot be used.
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        step = int(query.step)
        window = TimeRange(time_range.start + query.shift, time_range.end + query.shift)
        grid = window.grid(step)
        grid = grid[grid + step <= self._clock.now()]
        if len(grid) == 0:
            return SeriesBatch((), grid, np.empty((0, 0)))
        task = self._task(query, scheduler_alias, stage, context or RunContext())
        batch = self._queries.read(task, window, grid)
        if query.fills_gaps:
            _fill_after_first(batch.values)
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

    def _task(self, query: Query, scheduler_alias: str, stage: str, context: RunContext) -> Task:
        tenant = query.tenant_id or self._section.tenant_id
        headers = tenant_headers(tenant)
        labels = {}
        if headers and self._routes_by_tenant:
            labels = {
                "vm_account_id": headers["AccountID"],
                "vm_project_id": headers["ProjectID"],
            }
        cache = self._caches.get((query.alias, tenant)) or self._caches.setdefault(
            (query.alias, tenant),
            LabelCache(labels, lambda fields: series_labels(fields, query.alias)),
        )
        address = self._client.url("")
        if not urlsplit(address).path.endswith(_PATH):
            address = self._client.url(_PATH)
        url = redact_url(address)
        return Task(
            query,
            scheduler_alias,
            stage,
            context,
            address,
            url,
            self._metrics.of_query(url, query.alias, scheduler_alias),
            cache,
            headers,
            lambda text: self._values.parse(text, query.alias),
        )


class _Values:
    """Reads values that are text, and warns once per query of one that is no number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warned: set[str] = set()

    def parse(self, text: str, query_alias: str) -> float:
        """Return the number that a value of a query is, NaN where it is none."""
        number = number_of(text)
        if number is not None:
            return number
        with self._lock:
            is_new = query_alias not in self._warned
            self._warned.add(query_alias)
        if is_new:
            logger.warning(
                "Query '%s' gives values that are no numbers, such as %r, and they are left out. "
                "Use stats functions that give numbers, such as count, sum or avg",
                query_alias,
                text[:_SHOWN_CHARACTERS],
            )
        return np.nan


class _VlogsServer:
    """What is particular to VictoriaLogs and VictoriaTraces: a `Server` of `RangeQueries`."""

    limits = "-search.maxQueryDuration, -search.maxQueryTimeRange"

    def __init__(self, section: VlogsReaderSection) -> None:
        self._section = section
        timeout_ms = int(section.fetch_timeout)
        self._timeout_ms = timeout_ms - min(_MARGIN_MS, timeout_ms // _MARGIN_SHARE)

    def prepare(self, task: Task, grid: IntArray) -> None:
        """Do nothing: there is nothing to ask for before a query."""

    def arguments(self, query: Query, piece: IntArray) -> Arguments:
        """Return the arguments of `stats_query_range`.

        Some releases take the end as inclusive, others as exclusive, and round it up to the end of
        its bucket. So it is the last nanosecond of the last bucket.
        """
        step = int(query.step)
        arguments = [
            ("query", query.expr),
            ("start", str(int(piece[0]) * _NS_PER_MS)),
            ("end", str((int(piece[-1]) + step) * _NS_PER_MS - 1)),
            ("step", f"{step}ms" if step % 1000 else f"{step // 1000}s"),
            ("timeout", f"{to_seconds(self._timeout_ms)}s"),
        ]
        return arguments + [("extra_filters", each) for each in self._section.extra_filters]

    def max_points(self, task: Task, wanted: int) -> int:
        """Return `wanted`: the server limits the time that a query takes, not its points."""
        return wanted

    def explained(self, error: DatasourceError) -> DatasourceError:
        """Return what an answer means that breaks off, after the status 200: time ran out."""
        broke_off = isinstance(error, BrokenAnswerError) and error.code != "timeout"
        if not broke_off and not _OUT_OF_TIME.search(str(error)):
            return error
        return _OutOfTimeError(
            f"the server ran out of time and broke off its work ({error})", "timeout"
        )

    def allowed_points(self, error: DatasourceError, asked: int) -> int | None:
        """Return how many buckets to request next, or None if `error` is about something else."""
        is_too_much = isinstance(error, _OutOfTimeError) or _says_range(error)
        return asked // 2 if is_too_much else None

    def reason_in_query(self, error: DatasourceError) -> str | None:
        """Return why a query is asked for fewer buckets: others take less time."""
        return "takes too long for the server"

    def lower_limit(self, allowed: int) -> None:
        """Do nothing: no limit is that of all queries."""

    def remedy(self, error: DatasourceError) -> str:
        """Return what to do if even the smallest piece takes too long."""
        if not isinstance(error, _OutOfTimeError):
            return ""
        return f". Narrow the query, or raise {self.limits} and `reader.fetch_timeout`"


class _OutOfTimeError(DatasourceError):
    """The server broke off its work."""


def _says_range(error: DatasourceError) -> bool:
    return isinstance(error, StatusError) and bool(_TOO_LONG_RANGE.search(error.words))


def _fill_after_first(values: FloatArray) -> None:
    """Put 0 in place of NaN in each row, behind its first value.

    Examples
    --------
    >>> values = np.array([[np.nan, 2.0, np.nan, 1.0, np.nan]])
    >>> _fill_after_first(values)
    >>> values
    array([[nan,  2.,  0.,  1.,  0.]])
    """
    for row in values:
        is_empty = np.isnan(row)
        if not is_empty.all():
            first = int(np.argmin(is_empty))
            row[first:][is_empty[first:]] = 0.0
