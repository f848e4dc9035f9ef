"""Scores by remote write: into a real Prometheus, and into VictoriaMetrics."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.servers import (
    Prometheus,
    Samples,
    Server,
    VictoriaMetrics,
    Vmanomaly,
    free_port,
)
from vmanomaly.config.writer import RemoteWriteSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer.remote_write import RemoteWriter

STEP_S = 60
N_FIT, N_INFER = 30, 20
N_HOSTS, N_OUTPUTS = 3, 4
ORIGIN = Origin(("memory",), "zscore", "once", "default")


def now_s() -> int:
    # Prometheus takes no sample that is much older or newer than what it has.
    return int(time.time()) // STEP_S * STEP_S


def wave(host: int, end_s: int) -> tuple[dict[str, str], Samples]:
    times = range(end_s - (N_FIT + N_INFER - 1) * STEP_S, end_s + 1, STEP_S)
    points = [(second * 1000, float(second // STEP_S * 7919 % (97 + host))) for second in times]
    return {"__name__": "memory", "host": str(host), "for": "me"}, points


def config(source: str, writer: dict[str, Any], end_s: int) -> dict[str, Any]:
    infer_start = end_s - (N_INFER - 1) * STEP_S
    return {
        "reader": {
            "datasource_url": source,
            "sampling_period": f"{STEP_S}s",
            "queries": {"memory": {"expr": "memory"}},
        },
        "writer": writer,
        "schedulers": {
            "once": {
                "class": "oneoff",
                "fit_start_s": infer_start - N_FIT * STEP_S,
                "fit_end_s": infer_start - STEP_S,
                "infer_start_s": infer_start,
                "infer_end_s": end_s,
            }
        },
        "models": {"zscore": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }


def test_prometheus_takes_what_victoriametrics_takes(tmp_path: Path) -> None:
    end_s = now_s()
    folder = tmp_path / "source"
    folder.mkdir()
    with VictoriaMetrics(folder) as vm, Prometheus(tmp_path) as prometheus:
        vm.import_series(wave(host, end_s) for host in range(N_HOSTS))
        vm.force_flush()
        writers: dict[str, dict[str, Any]] = {
            "lines": {"datasource_url": vm.url},
            "prometheus": {"class": "remote_write", "datasource_url": prometheus.url},
            "victoriametrics": {
                "class": "remote_write",
                "datasource_url": vm.url,
                "metric_format": {"__name__": "rw_$VAR"},
            },
        }
        for name, writer in writers.items():
            home = tmp_path / name
            home.mkdir()
            status, output = Vmanomaly(home, config(vm.url, writer, end_s)).run()
            assert status == 0, output
        expected = vm.export('{for="memory",__name__!~"rw_.*"}')
        by_remote_write = vm.export('{for="memory",__name__=~"rw_.*"}')
        stored = prometheus.stored('{for="memory"}', end_s, (N_INFER + 1) * STEP_S)
        assert len(expected) == N_HOSTS * N_OUTPUTS
        assert all(len(samples) == N_INFER for samples in expected.values())
        assert {labels["exported_for"] for labels in expected} == {"me"}
        assert stored.keys() == expected.keys()
        renamed = {
            Labels({**labels, "__name__": labels["__name__"].removeprefix("rw_")}): samples
            for labels, samples in by_remote_write.items()
        }
        assert renamed == expected
        for labels, samples in expected.items():
            times, values = zip(*samples, strict=True)
            stored_times, stored_values = zip(*stored[labels], strict=True)
            assert stored_times == times
            # VictoriaMetrics keeps about twelve digits, Prometheus all of them.
            assert stored_values == pytest.approx(values, rel=1e-11)


def predictions(n_series: int, times_s: range, value: float) -> Predictions:
    return Predictions(
        tuple(Labels({"host": str(i)}) for i in range(n_series)),
        np.array([second * 1000 for second in times_s]),
        {"anomaly_score": np.full((n_series, len(times_s)), value)},
    )


def dropped(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["reason"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "vmanomaly_writer_dropped_datapoints_total" and sample.value
    }


def test_late_and_duplicate_samples_are_counted_and_do_not_affect_others(tmp_path: Path) -> None:
    end_s = now_s()
    with Prometheus(tmp_path) as prometheus:
        metrics = Metrics()
        section = RemoteWriteSection(datasource_url=prometheus.url)
        writer = RemoteWriter(section, metrics)
        writer.start()
        at = [end_s - (9 - i) * STEP_S for i in range(10)]
        # The first five minutes of two hosts, and then ten minutes of twenty.
        writer.write(predictions(2, range(at[0], at[4] + 1, STEP_S), 1.0), ORIGIN)
        writer.write(predictions(20, range(at[0], at[9] + 1, STEP_S), 2.0), ORIGIN)
        writer.close()
        stored = prometheus.stored("anomaly_score", end_s, 10 * STEP_S)
        values = {
            int(labels["host"]): [value for _, value in samples]
            for labels, samples in stored.items()
        }
        assert values == {
            host: [1.0] * 5 + [2.0] * 5 if host < 2 else [2.0] * 10 for host in range(20)
        }
        assert dropped(metrics) == {"out_of_order": 2 * 4, "duplicate_sample": 2}


def test_scores_wait_for_prometheus(tmp_path: Path) -> None:
    end_s = now_s()
    prometheus = Prometheus(tmp_path)
    metrics = Metrics()
    section = RemoteWriteSection(
        datasource_url=prometheus.url, queue_path=str(tmp_path / "queue"), timeout="20s"
    )
    writer = RemoteWriter(section, metrics)
    writer.start()
    times = [end_s - (4 - i) * STEP_S for i in range(5)]
    for second in times[:3]:
        writer.write(predictions(20, range(second, second + 1), float(second)), ORIGIN)
    assert metrics.registry.get_sample_value("vmanomaly_writer_queue_bytes") != 0
    writer.close()
    # Another process finds them, and more come before Prometheus does.
    writer = RemoteWriter(section, metrics)
    writer.start()
    for second in times[3:]:
        writer.write(predictions(20, range(second, second + 1), float(second)), ORIGIN)
    with prometheus:
        assert writer.flush(60)
        writer.close()
        stored = prometheus.stored("anomaly_score", end_s, 5 * STEP_S)
    assert len(stored) == 20
    expected = [(second * 1000, float(second)) for second in times]
    assert all(samples == expected for samples in stored.values())
    assert dropped(metrics) == {}


def test_a_receiver_that_is_switched_off_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prometheus: Server = Prometheus(tmp_path)
    prometheus.command.remove("--web.enable-remote-write-receiver")
    with prometheus:
        writer = RemoteWriter(RemoteWriteSection(datasource_url=prometheus.url), Metrics())
        writer.start()
        writer.write(predictions(1, range(now_s(), now_s() + 1), 1.0), ORIGIN)
        writer.close()
    assert "remote write receiver needs to be enabled" in caplog.text
    assert writer.n_dropped == 1
