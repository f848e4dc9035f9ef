"""What the writers over HTTP share: encoding ahead, delivery with a queue, warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from vmanomaly.config.writer import HttpWriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.http import HttpClient, redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Origin, Predictions
from vmanomaly.writer.base import Writer
from vmanomaly.writer.delivery.delivery import Delivery, Drops, Outcome, Refused
from vmanomaly.writer.delivery.halves import Halves
from vmanomaly.writer.delivery.open_queue import open_queue
from vmanomaly.writer.delivery.queue import Queue, QueueError, Record
from vmanomaly.writer.delivery.sender import to_record
from vmanomaly.writer.delivery.too_large import SizeLimit, send_fitting
from vmanomaly.writer.encoding.encode import AnyEncoder
from vmanomaly.writer.format import MULTITENANT, TenancyWarnings
from vmanomaly.writer.report import EmptyWrites

logger = logging.getLogger(__name__)

_DROP_REASONS = ("queue_full", "corrupt", "shutdown")
# Enough for the writes of two queries to encode while two others are being sent.
_N_ENCODING_THREADS = 2


class HttpWriter(Writer):
    """Writes predictions as separate series; what cannot be delivered waits in a queue.

    Parameters
    ----------
    section
        The section `writer`.
    metrics
        The service's metrics.
    client
        Client of the database; closed with the writer.
    url
        Where records are sent, for metrics and tenants.
    encoder
        Makes the bodies.
    send
        Sends a record.
    halves
        Cuts a record that is too large for the server.

    Raises
    ------
    QueueError
        The folder of the queue cannot be used, or holds records of another format.
    """

    def __init__(
        self,
        section: HttpWriterSection,
        metrics: Metrics,
        *,
        client: HttpClient,
        url: str,
        encoder: AnyEncoder,
        send: Callable[[Record], Outcome],
        halves: Halves,
    ) -> None:
        self._metrics = metrics
        self._client = client
        self._url_label = redact_url(url)
        self._encoder = encoder
        self._tenancy = TenancyWarnings(
            section.tenant_id == MULTITENANT or f"/insert/{MULTITENANT}/" in url, logger
        )
        self._empty_writes = EmptyWrites(logger)
        self._drops = Drops(
            lambda reason, n_points: metrics.writer_dropped_datapoints.labels(reason=reason).inc(
                n_points
            )
        )
        for reason in _DROP_REASONS:
            metrics.writer_dropped_datapoints.labels(reason=reason)
        queue = open_queue(section.queue_path, section.queue_max_size, self._drops)
        _check_format(queue, section, encoder)
        self._ahead = ThreadPoolExecutor(_N_ENCODING_THREADS, thread_name_prefix="writer-encoding")
        size_limit = SizeLimit(self._url_label)
        self._delivery = Delivery(
            queue,
            lambda record: (
                _refuse_foreign(record, encoder) or send_fitting(record, send, halves, size_limit)
            ),
            self._drops,
            set_queue_bytes=metrics.writer_queue_bytes.set,
            set_oldest_timestamp=metrics.writer_queue_oldest_timestamp_seconds.set,
        )

    @property
    def last_error(self) -> DatasourceError | None:
        """Why the last request did not deliver its record; None when it did."""
        return self._delivery.last_error

    @property
    def n_dropped(self) -> int:
        """Points that were dropped since the start."""
        return self._drops.n_points

    def start(self) -> None:
        """Send what waits in the queue, in the background, from now on."""
        self._delivery.start()

    def write(self, predictions: Predictions, origin: Origin) -> None:
        """Send all finite values of the predictions, piece by piece, or queue them.

        While a piece is sent, the next is encoded. Returns when each piece is delivered, refused
        by the server, which is logged and counted, or safely in the queue.
        """
        series = self._encoder.encoded_series(predictions.labels, origin)
        self._tenancy.check(origin.query_key, len(series.labels), series.n_with_account)
        records = self._records(predictions, origin)
        record = next(records, None)
        self._empty_writes.note(origin, record is None)
        while record is not None:
            following = self._ahead.submit(next, records, None)
            self._delivery.deliver(record)
            record = following.result()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the queue is empty, at most that many seconds. Return whether it is."""
        return self._delivery.flush(timeout_s)

    def check_health(self) -> None:
        """Raise `DatasourceError` if the server does not answer, or does not accept what waits."""
        self._client.check_health()
        outage = self._delivery.outage
        if outage is not None:
            raise DatasourceError(str(outage), outage.code, outage.out_of_reach) from outage

    @property
    def n_queued(self) -> int:
        """Points that wait in the queue."""
        return self._delivery.n_points_queued

    @property
    def n_in_memory(self) -> int:
        """Points that wait in memory, and are lost with the process."""
        return self._delivery.n_points_in_memory

    def hand_over(self) -> list[Record]:
        """Close the writer, and return what waits in memory; what waits on the disk stays there."""
        self._ahead.shutdown()
        records = self._delivery.hand_over()
        self._client.close()
        return records

    def take_over(self, records: Sequence[Record]) -> None:
        """Queue what another writer of the same class has passed on."""
        self._delivery.take_over(records)

    def close(self) -> None:
        """Close the queue and the connections. What waits in memory is lost, and counted."""
        self._ahead.shutdown()
        self._delivery.close()
        self._client.close()

    def _records(self, predictions: Predictions, origin: Origin) -> Iterator[Record]:
        serialize_seconds = self._metrics.writer_request_serialize_seconds.labels(
            *self._metrics.of_query(self._url_label, origin.query_key, origin.scheduler_alias)
        )
        started = time.perf_counter()
        for piece in self._encoder.pieces(predictions, origin):
            record = to_record(piece, origin, self._encoder)
            serialize_seconds.observe(time.perf_counter() - started)
            yield record
            started = time.perf_counter()


def _refuse_foreign(record: Record, encoder: AnyEncoder) -> Refused | None:
    """Refuse what was not made by a writer of this class, however it got into the queue."""
    encodings = (None, encoder.content_encoding)
    if record.content_type == encoder.content_type and record.content_encoding in encodings:
        return None
    error = DatasourceError(
        f"the queue holds a body of type {record.content_type}, which this writer does not send",
        "io_error",
    )
    return Refused(error, {"corrupt": record.n_points})


def _check_format(queue: Queue, section: HttpWriterSection, encoder: AnyEncoder) -> None:
    """Raise where a writer of another class left records: its address is not known here."""
    record = queue.peek()
    if record is None or record.content_type == encoder.content_type:
        return
    n_points = queue.n_points
    queue.close()
    raise QueueError(
        f"{n_points} points of another writer class wait in the queue in {section.queue_path}: "
        f"start once more with the class they were queued by, until they are delivered, or give "
        f"the class {section.class_name} a writer.queue_path of its own"
    )
