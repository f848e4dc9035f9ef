"""Reader `vm`: range queries to VictoriaMetrics, Prometheus and whatever implements their API.

`query.offset` moves the window that is read: at 12:00 an offset of -15s reads up to 11:59:45.
Samples keep the timestamps at which they were stored, so scores have the timestamps of the data
they are about.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.http import Guard, HttpClient, StatusError, redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.range_queries import (
    Arguments,
    RangeQueries,
    Task,
    to_seconds,
)
from vmanomaly.reader.scanner import warm_up as warm_up_scanner
from vmanomaly.series import IntArray, SeriesBatch, TimeRange
from vmanomaly.slots import Slots

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query, VmReaderSection

logger = logging.getLogger(__name__)

#: Points a series may have in one answer if the server does not say.
DEFAULT_MAX_POINTS = 30_000

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
_TOO_LITTLE_MEMORY = re.compile(r"not enough memory for processing")


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
        self._metrics = metrics
        self._client = HttpClient(section, "reader", guard)
        self._caches: dict[tuple[str, str | None], LabelCache] = {}
        server = _VmServer(section, self._client)
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
        return self._queries.read(task, window, grid)

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
        return Task(query, scheduler_alias, stage, context, address, url, metric_labels, cache)


class _VmServer:
    """What is particular to VictoriaMetrics and Prometheus: a `Server` of `RangeQueries`."""

    limits = (
        "-search.maxPointsPerTimeseries, -search.maxSamplesPerQuery, Prometheus' "
        "--query.max-samples"
    )

    def __init__(self, section: VmReaderSection, client: HttpClient) -> None:
        self._section = section
        self._client = client
        self._asks_limit = Slots(1)
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._has_asked_latency = False
        self._hidden: Duration | None = None

    def prepare(self, task: Task, grid: IntArray) -> None:
        """Warn once of a server that hides the last seconds of the data, if they are asked for."""
        age = time.time() * 1000 - int(grid[-1])
        if age > _LONGEST_HIDDEN_MS:
            return
        with self._lock:
            has_asked, self._has_asked_latency = self._has_asked_latency, True
        if not has_asked:
            self._hidden = self._ask_hidden(task.context)
        with self._lock:
            hidden = self._hidden
            is_hidden = hidden is not None and age < hidden
            if is_hidden:
                self._hidden = None
        if is_hidden:
            logger.warning(
                "%s hides the last %s of its data, and ignores latency_offset, as VictoriaMetrics "
                "before 1.85.2 does: for %s there would be nothing or a frozen value. Upgrade it, "
                "or set `reader.offset` to at least -%s",
                redact_url(self._client.server_url("")),
                hidden,
                task.query.alias,
                hidden,
            )

    def _ask_hidden(self, context: RunContext) -> Duration | None:
        """Return how much of the newest data the server hides whatever it is asked, or None."""
        page = self._page("metrics", context)
        found, flag = _VERSION.search(page), _LATENCY_OFFSET.search(page)
        # Debian's package does not say its version, and is older.
        if found is None or tuple(map(int, found.groups(default="0"))) >= _HEEDS_LATENCY_OFFSET:
            return None
        return Duration.parse(flag[1] if flag else "30s")

    def arguments(self, query: Query, piece: IntArray) -> Arguments:
        """Return the arguments of `query_range`."""
        arguments = [
            ("query", query.expr),
            ("start", to_seconds(int(piece[0]))),
            ("end", to_seconds(int(piece[-1]))),
            ("step", to_seconds(int(query.step))),
            ("latency_offset", f"{int(self._section.latency_offset)}ms"),
        ]
        return arguments + [("extra_filters[]", each) for each in self._section.extra_filters]

    def max_points(self, task: Task, wanted: int) -> int:
        """Return the points a series may have in one answer."""
        limit = self._limit
        if limit is None:
            with self._asks_limit.taken(task.context):
                limit = self._limit = self._limit or self._ask_limit(task.context)
        return limit

    def explained(self, error: DatasourceError) -> DatasourceError:
        """Return `error`: whatever it is, the server or the client has said so."""
        return error

    def allowed_points(self, error: DatasourceError, asked: int) -> int | None:
        """Return how many points to request next, or None if `error` is about something else."""
        return _allowed_points(error, asked)

    def reason_in_query(self, error: DatasourceError) -> str | None:
        """Return why a query is at fault for which the server refused a number of points."""
        if _says(_TOO_LITTLE_MEMORY, error):
            return "takes more memory than the server allows"
        stated = _stated_limit(error)
        if stated is not None and self._limit is not None and stated >= self._limit:
            return "has subqueries of more points than the server allows"
        return "reads too many samples for the server" if _says(_TOO_MANY_SAMPLES, error) else None

    def lower_limit(self, allowed: int) -> None:
        """Note how many points the server allows."""
        with self._lock:
            self._limit = min(allowed, self._limit or allowed)
        logger.info("The server allows %d points per series; long ranges are split", allowed)

    def remedy(self, error: DatasourceError) -> str:
        """Return what to do if a server refuses even the smallest piece for its samples."""
        if _says(_TOO_LITTLE_MEMORY, error):
            limit = "-search.maxMemoryPerQuery or -memory.allowedPercent"
        elif _says(_TOO_MANY_SAMPLES, error):
            limit = (
                "-search.maxSamplesPerQuery or -search.maxSamplesPerSeries, Prometheus' "
                "--query.max-samples"
            )
        else:
            return ""
        return (
            ". The smallest piece is still too much, so a smaller `max_points_per_query` does not "
            f"help: narrow the query, or raise the limit of the server ({limit})"
        )

    def _ask_limit(self, context: RunContext) -> int:
        """Return the flag `search.maxPointsPerTimeseries` of the server, or its default."""
        found = _FLAG.search(self._page("flags", context))
        # A flag of 0 gives no usable limit: the server's refusal will tell.
        limit = (int(found[1]) if found else 0) or DEFAULT_MAX_POINTS
        logger.debug("Max points per timeseries set as %d", limit)
        return limit

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


def _allowed_points(error: DatasourceError, asked: int) -> int | None:
    """Return how many points to request next, or None if `error` is about something else."""
    if not isinstance(error, StatusError) or error.status not in {400, 422}:
        return None
    if _says(_TOO_MANY_SAMPLES, error) or _says(_TOO_LITTLE_MEMORY, error):
        return asked // 2
    if not _TOO_MANY_POINTS.search(error.words):
        return None
    stated = _stated_limit(error)
    return stated if stated is not None and 0 < stated < asked else asked // 2


def _stated_limit(error: DatasourceError) -> int | None:
    """Return the limit on the points of a series that a refusal names."""
    found = _ALLOWED_POINTS.search(error.words) if isinstance(error, StatusError) else None
    digits = found[1].replace(",", "") if found else ""
    return int(digits) if digits else None


def _says(reason: re.Pattern[str], error: DatasourceError) -> bool:
    """Return whether a server refuses a request for this reason."""
    return isinstance(error, StatusError) and bool(reason.search(error.words))
