from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorder import Recorder, record
from vmanomaly.config.writer import VmWriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer import create_writer, warm_up
from vmanomaly.writer.vm import VmWriter

ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with record() as recorder:
        yield recorder


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def section(url: str, **keys: Any) -> VmWriterSection:
    return VmWriterSection(datasource_url=url, **keys)


def predict(*labels: dict[str, str], n_timestamps: int = 2) -> Predictions:
    label_sets = labels or ({"__name__": "node_load", "cpu": "0"},)
    timestamps = 1_700_000_000_000 + 60_000 * np.arange(n_timestamps, dtype=np.int64)
    values = np.arange(len(label_sets) * n_timestamps, dtype=np.float64)
    matrix = values.reshape(len(label_sets), n_timestamps)
    outputs = {"anomaly_score": matrix, "yhat": matrix + 0.5}
    return Predictions(tuple(map(Labels, label_sets)), timestamps, outputs)


def sample(metrics: Metrics, name: str, url: str, **labels: str) -> float | None:
    common = {
        "url": url,
        "query_key": "cpu",
        "scheduler_alias": "every_minute",
        "preset": "default",
    }
    return metrics.registry.get_sample_value(f"vmanomaly_writer_{name}", common | labels)


def test_series_arrive_with_labels_and_points(recorder: Recorder, metrics: Metrics) -> None:
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    (request,) = recorder.requests
    assert (request.method, request.path) == ("POST", "/api/v1/import")
    assert "Content-Encoding" not in request.headers
    assert [json.loads(line) for line in recorder.lines] == [
        {
            "metric": {
                "__name__": output,
                "for": "cpu",
                "model_alias": "zscore",
                "scheduler_alias": "every_minute",
                "preset": "default",
                "cpu": "0",
            },
            "values": values,
            "timestamps": [1_700_000_000_000, 1_700_000_060_000],
        }
        for output, values in (("anomaly_score", [0.0, 1.0]), ("yhat", [0.5, 1.5]))
    ]
    assert writer.last_error is None


def test_writes_are_measured(recorder: Recorder, metrics: Metrics) -> None:
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    url = f"{recorder.url}/api/v1/import"
    assert sample(metrics, "responses_total", url, code="204") == 1
    assert sample(metrics, "sent_bytes_total", url) == len(recorder.requests[0].body)
    assert sample(metrics, "datapoints_sent_total", url) == 4
    assert sample(metrics, "timeseries_sent_total", url) == 2
    assert sample(metrics, "request_duration_seconds_count", url) == 1
    assert sample(metrics, "request_serialize_seconds_count", url) == 1


def test_connections_are_kept(recorder: Recorder, metrics: Metrics) -> None:
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    for _ in range(3):
        writer.write(predict(), ORIGIN)
    writer.close()
    assert len(recorder.requests) == 3
    assert len(recorder.connections) == 1


def test_large_bodies_are_compressed(recorder: Recorder, metrics: Metrics) -> None:
    predictions = predict(n_timestamps=5000)
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predictions, ORIGIN)
    writer.close()
    (request,) = recorder.requests
    assert request.headers["Content-Encoding"] == "gzip"
    lines = [json.loads(line) for line in recorder.lines]
    assert lines[1]["values"] == predictions.outputs["yhat"][0].tolist()
    sent = sample(metrics, "sent_bytes_total", f"{recorder.url}/api/v1/import")
    assert sent == int(request.headers["Content-Length"]) < len(request.body)


@pytest.mark.parametrize(
    ("suffix", "keys", "path"),
    [
        ("", {}, "/api/v1/import"),
        ("/prefix/", {}, "/prefix/api/v1/import"),
        ("", {"tenant_id": "3"}, "/insert/3/prometheus/api/v1/import"),
        ("/", {"tenant_id": "3:4"}, "/insert/3:4/prometheus/api/v1/import"),
        ("", {"tenant_id": "multitenant"}, "/insert/multitenant/prometheus/api/v1/import"),
        ("/insert/7/prometheus", {}, "/insert/7/prometheus/api/v1/import"),
        ("/insert/7/prometheus", {"tenant_id": "3"}, "/insert/7/prometheus/api/v1/import"),
        ("", {"import_json_path": "/other/import"}, "/other/import"),
        (
            "",
            {"import_json_path": "/other/import", "tenant_id": "3"},
            "/insert/3/prometheus/other/import",
        ),
    ],
)
def test_addresses(
    recorder: Recorder, metrics: Metrics, suffix: str, keys: dict[str, str], path: str
) -> None:
    writer = VmWriter(section(recorder.url + suffix, **keys), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    assert [request.path for request in recorder.requests] == [path]


@pytest.mark.parametrize(
    ("suffix", "tenant", "labels", "warning"),
    [
        ("", None, {}, None),
        ("", "0:1", {}, None),
        ("", "multitenant", {"vm_account_id": "1", "vm_project_id": "2"}, None),
        ("", "multitenant", {}, "was not found in the label set of cpu"),
        ("/insert/multitenant/prometheus", None, {"vm_account_id": "1"}, None),
        ("", "0:0", {"vm_account_id": "1"}, "contains multi-tenancy labels"),
        ("", None, {"vm_account_id": "1"}, "contains multi-tenancy labels"),
    ],
)
def test_tenancy(
    recorder: Recorder,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    tenant: str | None,
    labels: dict[str, str],
    warning: str | None,
) -> None:
    writer = VmWriter(section(recorder.url + suffix, tenant_id=tenant), metrics)
    writer.start()
    for _ in range(2):
        writer.write(predict(labels), ORIGIN)
    writer.close()
    assert len(recorder.requests) == 2
    written = json.loads(recorder.lines[0])["metric"]
    assert {name: written[name] for name in written if name.startswith("vm_")} == labels
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (warning is not None)
    assert all(warning is not None and warning in message for message in messages)


def test_a_broken_connection_is_reopened(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers = [None]
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    first, second = recorder.requests
    assert first.body == second.body
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("Connection error while writing 4 points for cpu")
    assert "reinitializing session and retrying" in message
    assert writer.last_error is None
    url = f"{recorder.url}/api/v1/import"
    assert sample(metrics, "responses_total", url, code="connection_error") == 1
    assert sample(metrics, "datapoints_sent_total", url) == 4


@pytest.mark.parametrize("attempts", [0, 2])
def test_attempts_come_to_an_end(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture, attempts: int
) -> None:
    recorder.answers = [None] * 10
    keys = section(recorder.url, connection_retry_attempts=attempts)
    writer = VmWriter(keys, metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    assert len(recorder.requests) == attempts + 1
    assert "Cannot write 4 points for cpu: " in caplog.text
    assert writer.last_error is not None
    assert writer.last_error.code == "connection_error"
    dropped = {"reason": "shutdown"}
    name = "vmanomaly_writer_dropped_datapoints_total"
    assert metrics.registry.get_sample_value(name, dropped) == 4


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_is_logged_in_the_servers_words(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    recorder.answers = [(status, "text/plain", b"no such luck")]
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    assert len(recorder.requests) == 1
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Cannot write 4 points for cpu: ")
    assert "no such luck" in record.getMessage()
    assert writer.last_error is not None
    assert writer.last_error.code == str(status)
    name = "vmanomaly_writer_dropped_datapoints_total"
    assert metrics.registry.get_sample_value(name, {"reason": str(status)}) == 4
    writer.close()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_what_the_server_cannot_take_now_is_sent_later(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    recorder.answers = [(status, "text/plain", b"not now")]
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    error = writer.last_error
    assert error is not None
    assert error.code == str(status)
    assert "not now" in caplog.text
    waiting = metrics.registry.get_sample_value("vmanomaly_writer_queue_bytes")
    assert waiting is not None
    assert waiting > 0
    assert writer.flush(60)
    writer.close()
    assert writer.last_error is None
    first, second = recorder.requests
    assert first.body == second.body
    assert sample(metrics, "datapoints_sent_total", f"{recorder.url}/api/v1/import") == 4
    assert metrics.registry.get_sample_value("vmanomaly_writer_queue_bytes") == 0


def test_a_queue_on_disk_outlives_the_writer(
    recorder: Recorder, metrics: Metrics, tmp_path: Path
) -> None:
    recorder.answers = [(503, "text/plain", b"not now")]
    keys = section(recorder.url, queue_path=str(tmp_path / "queue"))
    writer = VmWriter(keys, metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    (lost,) = [request.body for request in recorder.requests]
    again = VmWriter(keys, metrics)
    again.start()
    assert again.flush(60)
    again.close()
    assert [request.body for request in recorder.requests] == [lost, lost]


def test_a_page_is_not_a_success(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers = [(200, "text/html; charset=utf-8", b"<title>Log in</title>")]
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    assert "Cannot write 4 points for cpu" in caplog.text
    assert "datasource_url" in caplog.text
    assert sample(metrics, "datapoints_sent_total", f"{recorder.url}/api/v1/import") is None


def test_pieces_that_fail_are_sent_later_in_order(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers = [(500, "text/plain", b"full")]
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    predictions = predict(n_timestamps=150_000)
    writer.write(predictions, ORIGIN)
    assert writer.flush(60)
    writer.close()
    assert len(recorder.requests) > 2
    assert all(len(request.body) <= 8 << 20 for request in recorder.requests)
    assert recorder.requests[0].body == recorder.requests[1].body
    assert caplog.text.count("Cannot write") == 1
    sent = sample(metrics, "datapoints_sent_total", f"{recorder.url}/api/v1/import")
    assert sent == predictions.n_points


def test_connections_that_keep_breaking_are_reported_once(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recorder.answers = [None] * 3
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)  # twice, and then it waits in the queue
    assert writer.flush(60)  # once in vain, then once more
    writer.close()
    assert len(recorder.requests) == 4
    told = [record.getMessage() for record in caplog.records]
    assert [message.split(" ")[0] for message in told] == [
        "Connection",
        "Cannot",
        "Delivering",
        "The",
    ]


def test_nothing_finite_is_nothing_sent(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    writer = VmWriter(section(recorder.url), metrics)
    writer.start()
    nothing = np.array([[np.nan, np.inf]])
    writer.write(
        Predictions((Labels(),), np.array([1000, 2000]), {"anomaly_score": nothing}), ORIGIN
    )
    writer.write(Predictions((), np.array([1000]), {"yhat": np.empty((0, 1))}), ORIGIN)
    assert recorder.requests == []
    where = "metric cpu of model 'zscore' under scheduler 'every_minute'"
    assert caplog.messages == [f"No valid datapoints to save for {where}"]
    writer.write(predict(), ORIGIN)
    writer.write(predict(), ORIGIN)
    writer.close()
    assert caplog.messages[1:] == [f"Saving datapoints for {where} again after 0 s and 2 runs"]


def test_health(recorder: Recorder, metrics: Metrics) -> None:
    writer = create_writer(section(recorder.url), metrics)
    writer.start()
    writer.check_health()
    writer.flush(1.0)
    writer.close()
    assert [(request.method, request.path) for request in recorder.requests] == [("GET", "/health")]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        lost = create_writer(section(f"http://127.0.0.1:{port}"), metrics)
        lost.start()
        with pytest.raises(DatasourceError):
            lost.check_health()


def test_a_server_that_answers_and_takes_nothing_is_not_healthy(
    recorder: Recorder, metrics: Metrics
) -> None:
    recorder.answers = [(503, "text/plain", b"not now")] * 50
    writer = create_writer(section(recorder.url), metrics)
    writer.start()
    writer.check_health()
    writer.write(predict(), ORIGIN)
    with pytest.raises(DatasourceError, match="not now") as caught:
        writer.check_health()
    assert caught.value.code == "503"
    recorder.answers.clear()
    assert writer.flush(60)
    writer.check_health()
    writer.close()


def test_credentials_stay_out_of_metrics_and_logs(
    recorder: Recorder, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers = [(401, "text/plain", b"who are you?")]
    url = recorder.url.replace("http://", "http://scott:tiger@")
    writer = VmWriter(section(url), metrics)
    writer.start()
    writer.write(predict(), ORIGIN)
    writer.close()
    assert recorder.requests[0].headers["Authorization"].startswith("Basic ")
    assert "tiger" not in caplog.text
    urls = {
        sample.labels.get("url", "")
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    assert not any("tiger" in label for label in urls)


def test_warm_up_compiles_the_encoder() -> None:
    warm_up(section("http://127.0.0.1:1"))
