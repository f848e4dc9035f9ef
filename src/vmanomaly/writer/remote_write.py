"""The writer of Prometheus, Mimir, Thanos and Cortex: remote write 1.0."""

from __future__ import annotations

from urllib.parse import urlsplit

from vmanomaly.config.writer import RemoteWriteSection
from vmanomaly.http import HttpClient
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.writer.delivery.halves import request_halves
from vmanomaly.writer.delivery.parts import send_in_parts
from vmanomaly.writer.delivery.sender import HttpSender
from vmanomaly.writer.encoding.protobuf import WriteRequestEncoder
from vmanomaly.writer.http_writer import HttpWriter

_WRITE_PATH = "api/v1/write"
_HEADERS = {"X-Prometheus-Remote-Write-Version": "0.1.0"}


class RemoteWriter(HttpWriter):
    """Writes predictions by the Prometheus remote-write protocol.

    A `datasource_url` that contains `/api/v1/` is the complete address of the receiver, as in the
    configuration of Prometheus; `/api/v1/write` is added to others. Samples that the receiver
    refuses for their time are dropped and counted as `out_of_order`, `duplicate_sample` or
    `too_old_sample`; the others of their request are saved.

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

    def __init__(self, section: RemoteWriteSection, metrics: Metrics) -> None:
        client = HttpClient(section, "writer")
        is_whole = "/api/v1/" in urlsplit(section.datasource_url).path
        url = client.url("" if is_whole else _WRITE_PATH, None if is_whole else section.tenant_id)
        sender = HttpSender(client, url, section.connection_retry_attempts, metrics, _HEADERS)
        super().__init__(
            section,
            metrics,
            client=client,
            url=url,
            encoder=WriteRequestEncoder(section.metric_format),
            send=lambda record: send_in_parts(record, sender.send),
            halves=request_halves,
        )

    @staticmethod
    def warm_up() -> None:
        """Compile the encoder, or load it from disk."""
        WriteRequestEncoder.warm_up()
