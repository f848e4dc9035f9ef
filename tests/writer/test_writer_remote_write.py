from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorder import Recorder, record
from tests.writer.write_requests import decode_write_request, decompress
from vmanomaly.config.writer import RemoteWriteSection, VmWriterSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer import create_writer, warm_up
from vmanomaly.writer.delivery.queue import QueueError
from vmanomaly.writer.remote_write import RemoteWriter

ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")
PREDICTIONS = Predictions(
    (Labels({"__name__": "node_load", "cpu": "0"}),),
    np.array([1_700_000_000_000, 1_700_000_060_000]),
    {"anomaly_score": np.array([[0.5, 1.5]])},
)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with record() as recorder:
        yield recorder


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def section(url: str, **keys: Any) -> RemoteWriteSection:
    return RemoteWriteSection(datasource_url=url, **keys)


def test_series_arrive_with_labels_and_points(recorder: Recorder, metrics: Metrics) -> None:
    warm_up(section(recorder.url))
    writer = create_writer(section(recorder.url), metrics)
    writer.start()
    assert isinstance(writer, RemoteWriter)
    writer.write(PREDICTIONS, ORIGIN)
    writer.close()
    (request,) = recorder.requests
    assert (request.method, request.path) == ("POST", "/api/v1/write")
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert request.headers["Content-Encoding"] == "snappy"
    assert request.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert request.headers["User-Agent"].startswith("vmanomaly/")
    labels = {
        "__name__": "anomaly_score",
        "cpu": "0",
        "for": "cpu",
        "model_alias": "zscore",
        "preset": "default",
        "scheduler_alias": "every_minute",
    }
    samples = [(1_700_000_000_000, 0.5), (1_700_000_060_000, 1.5)]
    assert decode_write_request(decompress(request.body)) == [(Labels(labels), samples)]


@pytest.mark.parametrize(
    ("suffix", "tenant", "path"),
    [
        ("", None, "/api/v1/write"),
        ("/prefix/", None, "/prefix/api/v1/write"),
        ("", "3:4", "/insert/3:4/prometheus/api/v1/write"),
        ("", "multitenant", "/insert/multitenant/prometheus/api/v1/write"),
        ("/insert/7/prometheus", None, "/insert/7/prometheus/api/v1/write"),
        ("/api/v1/push", None, "/api/v1/push"),
        ("/mimir/api/v1/push/", None, "/mimir/api/v1/push"),
        ("/api/v1/receive", None, "/api/v1/receive"),
        ("/insert/7/prometheus/api/v1/write", None, "/insert/7/prometheus/api/v1/write"),
    ],
)
def test_addresses(
    recorder: Recorder, metrics: Metrics, suffix: str, tenant: str | None, path: str
) -> None:
    writer = RemoteWriter(section(recorder.url + suffix, tenant_id=tenant), metrics)
    writer.start()
    writer.write(PREDICTIONS, ORIGIN)
    writer.close()
    assert [request.path for request in recorder.requests] == [path]


def test_samples_that_come_too_late_are_counted_and_the_others_arrive(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    late = (400, "text/plain", b"out of order sample")
    recorder.answers = [late, late]
    writer = RemoteWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(PREDICTIONS, ORIGIN)
    writer.close()
    arrived = [decode_write_request(decompress(request.body)) for request in recorder.requests]
    assert [samples for ((_, samples),) in arrived] == [
        [(1_700_000_000_000, 0.5), (1_700_000_060_000, 1.5)],
        [(1_700_000_000_000, 0.5)],
        [(1_700_000_060_000, 1.5)],
    ]
    name = "vmanomaly_writer_dropped_datapoints_total"
    assert metrics.registry.get_sample_value(name, {"reason": "out_of_order"}) == 1
    assert writer.n_dropped == 1
    assert "Cannot write 1 points for cpu: " in caplog.text
    assert "out of order sample" in caplog.text


def test_a_queue_of_another_class_is_left_alone(
    recorder: Recorder, metrics: Metrics, tmp_path: Path
) -> None:
    recorder.answers = [(503, "text/plain", b"not now")]
    folder = str(tmp_path / "queue")
    json_lines = VmWriterSection(datasource_url=recorder.url, queue_path=folder)
    writer = create_writer(json_lines, metrics)
    writer.start()
    writer.write(PREDICTIONS, ORIGIN)
    writer.close()
    with pytest.raises(QueueError, match="2 points of another writer class"):
        RemoteWriter(section(recorder.url, queue_path=folder), metrics)
    again = create_writer(json_lines, metrics)
    again.start()
    assert again.flush(60)
    again.close()
    assert [request.path for request in recorder.requests] == ["/api/v1/import"] * 2
