"""`periodic` from end to end, on a VictoriaMetrics that data keeps arriving in."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.servers import (
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    answers,
    free_port,
    health,
    request,
)
from tests.loopback import Asked, Handler, serve
from vmanomaly.series import Labels

HOSTS = ("a", "b", "c")
OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
HISTORY_S = 120
# That of Kubernetes, after which it kills.
GRACE_PERIOD_S = 30
FEED_S = 75
# VictoriaMetrics makes new samples searchable about a second after they arrived; and for steps
# below a minute it answers with older samples in place of those of the last `latencyOffset`, 30 s
# by default. Before 1.85.2 no query can change that, so either the server is told, or the
# reader stays further away from the present.
DELAY_S = 5
LATENCY_OFFSET_FLAG = "-search.latencyOffset=1s"
DEFAULT_LATENCY_OFFSET_S = 30


def observed(host: str, second: int) -> float:
    """Return the sample of a host at a Unix time: any second tells its own value."""
    return round(10.0 * (1 + HOSTS.index(host)) + (second * 7919 % 1000) / 1000, 3)


def samples(seconds: range) -> list[tuple[dict[str, str], Samples]]:
    return [
        (
            {"__name__": "load", "host": host},
            [(second * 1000, observed(host, second)) for second in seconds],
        )
        for host in HOSTS
    ]


class Feeder(threading.Thread):
    """Writes one sample a second for each host, at its second, from `first` up to `last`."""

    def __init__(self, vm: VictoriaMetrics, first: int, last: int) -> None:
        super().__init__(name="feeder")
        self._vm = vm
        self._seconds = range(first, last + 1)
        self._stopped = threading.Event()

    def run(self) -> None:
        for second in self._seconds:
            if self._stopped.wait(max(0.0, second - time.time())):
                return
            self._vm.import_series(samples(range(second, second + 1)))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def periodic(url: str, port: int, delay_s: int = DELAY_S) -> dict[str, Any]:
    return {
        "reader": {
            "class": "vm",
            "datasource_url": url,
            "sampling_period": "1s",
            "offset": f"-{delay_s}s",
            "queries": {"load": {"expr": "load"}},
        },
        "writer": {"class": "vm", "datasource_url": url},
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": "1m",
                "fit_every": "1h",
                "infer_every": "1s",
            }
        },
        "models": {
            "zscore": {
                "class": "zscore_online",
                "queries": ["load"],
                "schedulers": ["live"],
                "provide_series": list(OUTPUTS),
            }
        },
        "server": {"addr": "127.0.0.1", "port": port},
    }


def written_until(vm: VictoriaMetrics, second: int) -> bool:
    """Tell whether every host has a score at `second`; what a query would fill in is none."""
    vm.force_flush()
    found = vm.export("anomaly_score")
    return len(found) == len(HOSTS) and all(
        points[-1][0] >= second * 1000 for points in found.values()
    )


def labels(output: str, host: str) -> Labels:
    return Labels(
        {
            "__name__": output,
            "host": host,
            "for": "load",
            "model_alias": "zscore",
            "scheduler_alias": "live",
            "preset": "default",
        }
    )


@dataclass(frozen=True)
class Finished:
    """What a run of over a minute left behind."""

    started: int
    last_fed: int
    scores: dict[Labels, Samples]
    health: tuple[int, bytes]
    metrics: str
    exit_status: int
    stop_took_s: float
    output: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("periodic")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with VictoriaMetrics(folder, LATENCY_OFFSET_FLAG) as vm:
        now = int(time.time())
        vm.import_series(samples(range(now - HISTORY_S, now + 1)))
        vm.force_flush()
        feeder = Feeder(vm, now + 1, now + FEED_S)
        feeder.start()
        try:
            with Vmanomaly(folder, periodic(vm.url, port)) as service:
                service.wait_until(lambda: answers(f"{base}/health"), "health of the service")
                started = int(time.time())
                feeder.join()
                service.wait_until(lambda: written_until(vm, now + FEED_S), "the last score")
                health = request("GET", f"{base}/health")
                _, metrics = request("GET", f"{base}/metrics")
                stop_at = time.monotonic()
                service.signal(signal.SIGTERM)
                exit_status = service.wait()
                stop_took_s = time.monotonic() - stop_at
                yield Finished(
                    started=started,
                    last_fed=now + FEED_S,
                    scores=vm.export('{scheduler_alias="live"}'),
                    health=health,
                    metrics=metrics.decode(),
                    exit_status=exit_status,
                    stop_took_s=stop_took_s,
                    output=service.output,
                )
        finally:
            feeder.stop()


def seconds_of(points: Samples, last: int) -> list[int]:
    """Return the seconds of the points up to `last`, each as often as it was written.

    After the last sample the database repeats it for a while; those are not looked at.
    """
    assert all(timestamp % 1000 == 0 for timestamp, _ in points)
    return [timestamp // 1000 for timestamp, _ in points if timestamp <= last * 1000]


class TestOverAMinute:
    def test_every_output_of_every_series(self, finished: Finished) -> None:
        assert set(finished.scores) == {labels(o, host) for o in OUTPUTS for host in HOSTS}

    @pytest.mark.parametrize("host", HOSTS)
    @pytest.mark.parametrize("output", OUTPUTS)
    def test_every_second_exactly_once(self, finished: Finished, output: str, host: str) -> None:
        seconds = seconds_of(finished.scores[labels(output, host)], finished.last_fed)
        first = seconds[0]
        assert seconds == list(range(first, finished.last_fed + 1))
        assert first <= finished.started
        assert len(seconds) > 60

    @pytest.mark.parametrize("host", HOSTS)
    def test_each_score_belongs_to_its_own_sample(self, finished: Finished, host: str) -> None:
        written = finished.scores[labels("y", host)]
        assert [(t, y) for t, y in written if t <= finished.last_fed * 1000] == [
            (t, observed(host, t // 1000)) for t, _ in written if t <= finished.last_fed * 1000
        ]

    def test_health(self, finished: Finished) -> None:
        status, body = finished.health
        assert status == 200
        assert json.loads(body) == {"status": "ok"}

    def test_sigterm_ends_it_in_time(self, finished: Finished) -> None:
        assert finished.exit_status == 0, finished.output
        assert finished.stop_took_s < GRACE_PERIOD_S

    def test_nothing_to_complain_about(self, finished: Finished) -> None:
        for word in ("Traceback", "WARNING", "ERROR"):
            assert word not in finished.output


def test_metrics_count_what_was_written(finished: Finished) -> None:
    sent = sum(
        sample.value
        for family in text_string_to_metric_families(finished.metrics)
        for sample in family.samples
        if sample.name == "vmanomaly_writer_datapoints_sent_total"
    )
    stored = sum(len(points) for points in finished.scores.values())
    # The service kept running for a moment between the look at its metrics and its end.
    assert stored - 3 * len(HOSTS) * len(OUTPUTS) <= sent <= stored


def test_metrics_can_be_asked_for_by_name(vm: VictoriaMetrics, tmp_path: Path) -> None:
    port = free_port()
    with Vmanomaly(tmp_path, periodic(vm.url, port)) as service:
        url = f"http://127.0.0.1:{port}/metrics?name[]=vmanomaly_start_time_seconds"
        service.wait_until(lambda: answers(url), "metrics of the service")
        _, body = request("GET", url)
    assert {family.name for family in text_string_to_metric_families(body.decode())} == {
        "vmanomaly_start_time_seconds"
    }


def test_the_database_goes_away_and_comes_back(vm: VictoriaMetrics, tmp_path: Path) -> None:
    now = int(time.time())
    # Future samples too, so that all of them are there again the moment the database is.
    vm.import_series(samples(range(now - HISTORY_S, now + 1000)))
    vm.force_flush()
    delay_s = DEFAULT_LATENCY_OFFSET_S + DELAY_S
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with Vmanomaly(tmp_path, periodic(vm.url, port, delay_s)) as service:
        service.wait_until(lambda: answers(f"{base}/health"), "health of the service")
        service.wait_until(lambda: written_until(vm, now - delay_s + 10), "scores")
        assert answers(f"{base}/ready")

        # Not kill -9: the samples that the database itself loses are not what is tested.
        vm.stop()
        service.wait_until(lambda: health(base) == "degraded", "bad health")
        # A restart would not bring the database back.
        status, body = request("GET", f"{base}/health")
        assert status == 200
        assert "reader" in body.decode()
        assert vm.url in body.decode()
        service.wait_until(lambda: answers(f"{base}/ready", 503), "no readiness")
        assert service.running

        vm.start()
        back = int(time.time()) - delay_s
        service.wait_until(lambda: health(base) == "ok", "good health again")
        assert answers(f"{base}/ready")
        service.wait_until(lambda: written_until(vm, back + 5), "scores after the outage")
        scores = vm.export('{scheduler_alias="live"}')

        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    assert "Traceback" not in service.output
    # A datasource that fails is told of when it begins, not at every run.
    assert service.output.count("Error querying") == 1, service.output

    assert set(scores) == {labels(o, host) for o in OUTPUTS for host in HOSTS}
    for points in scores.values():
        seconds = seconds_of(points, back + 5)
        # What was read before the outage and could not be written was sent after it.
        assert set(range(seconds[0], back + 6)) <= set(seconds)


def test_health_while_every_read_is_refused(tmp_path: Path) -> None:
    """The database answers each probe, so only a read that works may end what is wrong."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    status = 401

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path != "/api/v1/query_range":
            handler.reply(204 if asked.method == "POST" else 200)
            return
        first, last = (int(float(asked.form[name][0])) for name in ("start", "end"))
        result = [{"metric": {}, "values": [[t, "1"] for t in range(first, last + 1)]}]
        answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        handler.reply(status, json.dumps(answer).encode() if status == 200 else b"no access")

    def n_probes() -> int:
        return sum(asked.method == "GET" for asked in database.requests)

    with serve(respond) as database, Vmanomaly(tmp_path, periodic(database.url, port)) as service:
        service.wait_until(lambda: health(base) == "degraded", "bad health")
        seen: list[str] = []
        enough = n_probes() + 2

        def was_probed() -> bool:
            seen.append(health(base))
            return n_probes() >= enough

        service.wait_until(was_probed, "probes that are answered")
        assert set(seen) == {"degraded"}
        assert len(seen) > 20
        (reason,) = json.loads(request("GET", f"{base}/health")[1])["reasons"]
        assert reason.startswith(f"reader: query load: {database.url}/api/v1/query_range answered")
        assert answers(f"{base}/ready", 503)
        status = 200
        service.wait_until(lambda: health(base) == "ok", "good health")
        service.wait_until(lambda: answers(f"{base}/ready"), "readiness")
    assert "has recovered" not in service.output


def metric(url: str, name: str) -> float:
    """Return the sum of a metric's samples."""
    _, body = request("GET", f"{url}/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == name
    )


def test_only_the_database_of_the_scores_goes_away(tmp_path: Path) -> None:
    """The service keeps reading and scoring, says what is wrong, and delivers it all later."""
    folders = [tmp_path / "source", tmp_path / "target"]
    for folder in folders:
        folder.mkdir()
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    now = int(time.time())
    with (
        VictoriaMetrics(folders[0], LATENCY_OFFSET_FLAG) as source,
        VictoriaMetrics(folders[1]) as target,
    ):
        source.import_series(samples(range(now - HISTORY_S, now + 1000)))
        source.force_flush()
        config = periodic(source.url, port)
        config["writer"] |= {"datasource_url": target.url, "queue_path": str(tmp_path / "queue")}
        with Vmanomaly(tmp_path, config) as service:

            def seen(name: str) -> float:
                return metric(base, f"vmanomaly_{name}")

            service.wait_until(lambda: answers(f"{base}/health"), "health of the service")
            service.wait_until(lambda: written_until(target, now - DELAY_S), "scores")
            assert seen("writer_queue_bytes") == 0
            assert seen("writer_queue_oldest_timestamp_seconds") == 0

            target.stop()
            service.wait_until(lambda: health(base) == "degraded", "bad health")
            (reason,) = json.loads(request("GET", f"{base}/health")[1])["reasons"]
            assert reason.startswith("writer: ")
            assert target.url in reason
            produced = seen("model_datapoints_produced_total")
            waiting = seen("writer_queue_bytes")
            oldest = seen("writer_queue_oldest_timestamp_seconds")
            assert now - DELAY_S < oldest < time.time()
            service.wait_until(
                lambda: (
                    seen("writer_queue_bytes") > waiting
                    and seen("model_datapoints_produced_total") >= produced + 3 * len(HOSTS)
                ),
                "scores in the queue",
            )
            assert seen("writer_queue_oldest_timestamp_seconds") == oldest

            target.start()
            back = int(time.time()) - DELAY_S
            service.wait_until(lambda: health(base) == "ok", "good health again")
            service.wait_until(lambda: written_until(target, back), "scores after the outage")
            service.wait_until(lambda: seen("writer_queue_bytes") == 0, "an empty queue")
            assert seen("writer_queue_oldest_timestamp_seconds") == 0
            assert seen("writer_dropped_datapoints_total") == 0
            scores = target.export('{scheduler_alias="live"}')
            service.signal(signal.SIGTERM)
            assert service.wait() == 0
    assert "Traceback" not in service.output
    assert "Error querying" not in service.output
    assert service.output.count("Cannot write") == 1, service.output
    for points in scores.values():
        seconds = seconds_of(points, back)
        assert set(seconds) == set(range(seconds[0], back + 1))
