"""Posting bodies over HTTP: compression, retries, metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from vmanomaly.episodes import Episodes
from vmanomaly.errors import DatasourceError
from vmanomaly.http import HttpClient, StatusError, redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Origin
from vmanomaly.writer.delivery.delivery import Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.queue import Record
from vmanomaly.writer.encoding.encode import AnyEncoder, Piece

logger = logging.getLogger(__name__)

_BROKEN = "connection"
_PASSING_STATUSES = frozenset({408, 429})


def to_record(piece: Piece, origin: Origin, encoder: AnyEncoder) -> Record:
    """Return the request that sends a piece, in a form that can wait in a queue."""
    compressed = encoder.compress(piece.body)
    return Record(
        piece.body if compressed is None else compressed,
        origin.query_key,
        piece.n_points,
        piece.oldest_timestamp,
        origin.scheduler_alias,
        piece.n_series,
        encoder.content_type,
        None if compressed is None else encoder.content_encoding,
    )


class HttpSender:
    """Send records, and retry each if the connection breaks.

    Parameters
    ----------
    client
        Client of the database.
    url
        Where records are posted.
    retry_attempts
        How often a record is sent again at once after a connection error.
    metrics
        The service's metrics.
    headers
        Sent with every record, in addition to its own.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        retry_attempts: int,
        metrics: Metrics,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._url_label = redact_url(url)
        self._retry_attempts = retry_attempts
        self._metrics = metrics
        self._headers = headers or {}
        self._episodes = Episodes(logger)

    def send(self, record: Record) -> Outcome:
        """Send a record; return whether the server has accepted it, or may later, or never will."""
        metrics = self._metrics
        metric_labels = metrics.of_query(self._url_label, record.query_key, record.scheduler_alias)
        try:
            self._post_repeatedly(record, metric_labels)
        except StatusError as error:
            # Credentials get corrected, and a server that is slow or busy recovers.
            may_pass = error.denied or error.status in _PASSING_STATUSES
            if 400 <= error.status < 500 and not may_pass:
                return Refused(error, {error.code: record.n_points})
            return Retry(error, error.retry_after)
        except DatasourceError as error:
            return Retry(error)
        metrics.writer_sent_bytes.labels(*metric_labels).inc(len(record.body))
        metrics.writer_datapoints_sent.labels(*metric_labels).inc(record.n_points)
        metrics.writer_timeseries_sent.labels(*metric_labels).inc(record.n_series)
        return Sent()

    def _post_repeatedly(self, record: Record, metric_labels: tuple[str, ...]) -> None:
        for attempts_left in range(self._retry_attempts, -1, -1):
            try:
                self._post(record, metric_labels)
            except DatasourceError as error:
                if error.code != "connection_error" or attempts_left == 0:
                    raise
                message = (
                    f"Connection error while writing {record.n_points} points for "
                    f"{record.query_key}, reinitializing session and retrying: {error}"
                )
                self._episodes.begin(_BROKEN, message)
                self._client.close()
            else:
                self._episodes.end(_BROKEN)
                return

    def _post(self, record: Record, metric_labels: tuple[str, ...]) -> None:
        headers = {**self._headers, "Content-Type": record.content_type}
        if record.content_encoding is not None:
            headers["Content-Encoding"] = record.content_encoding
        duration = self._metrics.writer_request_duration_seconds.labels(*metric_labels)
        responses = self._metrics.writer_responses
        started = time.perf_counter()
        try:
            response = self._client.request("POST", self._url, body=record.body, headers=headers)
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise DatasourceError(
                    f"{self._url_label} answered with a page of HTML, as proxies and login pages "
                    f"do, so nothing was written. Is `writer.datasource_url` right?",
                    "io_error",
                )
        except DatasourceError as error:
            responses.labels(*metric_labels, error.code).inc()
            raise
        finally:
            duration.observe(time.perf_counter() - started)
        responses.labels(*metric_labels, str(response.status)).inc()
