"""The writer of VictoriaMetrics, single-node and cluster: JSON lines to `/api/v1/import`."""

from __future__ import annotations

import logging
import time

from vmanomaly.config.writer import VmWriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.http import HttpClient, redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Predictions
from vmanomaly.writer.encode import LineEncoder
from vmanomaly.writer.format import MULTITENANT, Destination, TenancyWarnings
from vmanomaly.writer.outcome import report_dropped, report_empty
from vmanomaly.writer.sender import HttpSender, Sender

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

    Attributes
    ----------
    last_error : DatasourceError or None
        Why the last write did not deliver everything; None when it did.
    """

    def __init__(self, section: VmWriterSection, metrics: Metrics, preset: str) -> None:
        self.last_error: DatasourceError | None = None
        self._metrics = metrics
        self._preset = preset
        self._client = HttpClient(section, "writer")
        url = self._client.url(section.import_json_path or _IMPORT_PATH, section.tenant_id)
        self._url_label = redact_url(url)
        self._encoder = LineEncoder(section.metric_format)
        self._tenancy = TenancyWarnings(
            section.tenant_id == MULTITENANT or f"/insert/{MULTITENANT}/" in url
        )
        self._sender: Sender = HttpSender(
            self._client, url, section.connection_retry_attempts, metrics, preset
        )

    def write(self, predictions: Predictions, destination: Destination) -> None:
        """Send all finite values of the predictions, piece by piece.

        A piece that cannot be delivered is logged and counted, and the next one is tried.
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
        first_error: DatasourceError | None = None
        n_points = 0
        started = time.perf_counter()
        for piece in self._encoder.pieces(predictions, destination):
            serialize_seconds.observe(time.perf_counter() - started)
            n_points += piece.n_points
            try:
                self._sender.send(piece, destination)
            except DatasourceError as error:
                report_dropped(logger, self._metrics, piece.n_points, destination, error)
                first_error = first_error or error
            started = time.perf_counter()
        if n_points == 0:
            report_empty(logger, destination)
            return
        self.last_error = first_error

    def flush(self, timeout_s: float) -> None:
        """Return at once: a write returns when its data is delivered."""

    def check_health(self) -> None:
        """Raise `DatasourceError` if the server does not answer."""
        self._client.check_health()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
