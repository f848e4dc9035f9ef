"""The writer of VictoriaMetrics, single-node and cluster: JSON lines to `/api/v1/import`."""

from __future__ import annotations

from vmanomaly.config.writer import VmWriterSection
from vmanomaly.http import HttpClient
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.writer.delivery.halves import line_halves
from vmanomaly.writer.delivery.sender import HttpSender
from vmanomaly.writer.encoding.json_lines import LineEncoder
from vmanomaly.writer.http_writer import HttpWriter

_IMPORT_PATH = "api/v1/import"


class VmWriter(HttpWriter):
    """Writes predictions to VictoriaMetrics.

    Parameters
    ----------
    section
        The section `writer`.
    metrics
        The service's metrics.

    Raises
    ------
    QueueError
        The folder of the queue cannot be used, or holds records of another format.
    """

    def __init__(self, section: VmWriterSection, metrics: Metrics) -> None:
        client = HttpClient(section, "writer")
        url = client.url(section.import_json_path or _IMPORT_PATH, section.tenant_id)
        sender = HttpSender(client, url, section.connection_retry_attempts, metrics)
        super().__init__(
            section,
            metrics,
            client=client,
            url=url,
            encoder=LineEncoder(section.metric_format),
            send=sender.send,
            halves=line_halves,
        )

    @staticmethod
    def warm_up() -> None:
        """Compile the encoder, or load it from disk."""
        LineEncoder.warm_up()
