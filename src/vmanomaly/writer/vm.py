"""The writer of VictoriaMetrics, single-node and cluster: JSON lines to `/api/v1/import`.

What cannot be delivered waits in a queue, and the run goes on.
"""

from __future__ import annotations

import logging
import time

from vmanomaly.config.writer import VmWriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.http import HttpClient, redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Predictions
from vmanomaly.writer.delivery import Delivery, Drops
from vmanomaly.writer.encode import LineEncoder
from vmanomaly.writer.format import MULTITENANT, Destination, TenancyWarnings
from vmanomaly.writer.open_queue import open_queue
from vmanomaly.writer.outcome import report_empty
from vmanomaly.writer.sender import HttpSender, to_record

logger = logging.getLogger(__name__)

_IMPORT_PATH = "api/v1/import"


class VmWriter:
    """Write predictions as series of their own.

    Parameters
    ----------
    section
        The section `writer`.
    metrics
        The service's metrics.
    preset
        Preset of the configuration.

    Raises
    ------
    QueueError
        The folder of the queue cannot be used.
    """

    def __init__(self, section: VmWriterSection, metrics: Metrics, preset: str) -> None:
        self._metrics = metrics
        self._preset = preset
        self._client = HttpClient(section, "writer")
        url = self._client.url(section.import_json_path or _IMPORT_PATH, section.tenant_id)
        self._url_label = redact_url(url)
        self._encoder = LineEncoder(section.metric_format)
        self._tenancy = TenancyWarnings(
            section.tenant_id == MULTITENANT or f"/insert/{MULTITENANT}/" in url
        )
        sender = HttpSender(self._client, url, section.connection_retry_attempts, metrics, preset)
        drops = Drops(
            lambda reason, n_points: metrics.writer_dropped_datapoints.labels(reason=reason).inc(
                n_points
            )
        )
        self._delivery = Delivery(
            open_queue(section.queue_path, section.queue_max_size, drops),
            sender.send,
            drops,
            set_queue_bytes=metrics.writer_queue_bytes.set,
            set_oldest_timestamp=metrics.writer_queue_oldest_timestamp_seconds.set,
        )

    @property
    def last_error(self) -> DatasourceError | None:
        """Why the last request did not deliver its record; None when it did."""
        return self._delivery.last_error

    def write(self, predictions: Predictions, destination: Destination) -> None:
        """Send all finite values of the predictions, piece by piece, or queue them.

        Returns when each piece is delivered, refused by the server, which is logged and counted,
        or safely in the queue.
        """
        series = self._encoder.series_text(predictions.labels, destination)
        warning = self._tenancy.message(
            destination.query_key, len(series.labels), series.n_with_account
        )
        if warning is not None:
            logger.warning(warning)
        serialize_seconds = self._metrics.writer_request_serialize_seconds.labels(
            url=self._url_label,
            query_key=destination.query_key,
            scheduler_alias=destination.scheduler_alias,
            preset=self._preset,
        )
        n_points = 0
        started = time.perf_counter()
        for piece in self._encoder.pieces(predictions, destination):
            record = to_record(piece, destination)
            serialize_seconds.observe(time.perf_counter() - started)
            n_points += piece.n_points
            self._delivery.deliver(record)
            started = time.perf_counter()
        if n_points == 0:
            report_empty(logger, destination)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the queue is empty, at most so many seconds. Return whether it is."""
        return self._delivery.flush(timeout_s)

    def check_health(self) -> None:
        """Raise `DatasourceError` if the server does not answer."""
        self._client.check_health()

    def close(self) -> None:
        """Close the queue and the connections. What waits in memory is lost, and counted."""
        self._delivery.close()
        self._client.close()
