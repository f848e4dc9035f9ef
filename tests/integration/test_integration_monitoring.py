"""The service's own metrics: all of them, scraped and pushed, while it works on a database."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric, parser
from prometheus_client.samples import Sample

from tests.integration.cluster import start_cluster
from tests.integration.servers import (
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    Vmauth,
    answers,
    free_port,
    request,
)
from tests.integration.tls import (
    PASSWORD,
    USER,
    Certificates,
    TlsFront,
    wants_client_certificate,
    wants_password,
)
from vmanomaly import __version__
from vmanomaly.config.monitoring import PushSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.push import Pusher
from vmanomaly.series import Labels

HOSTS = ("a", "b")
_PARSING = "vmanomaly_reader_response_parsing_seconds"
CREDENTIALS = "scott:tiger-of-the-tests"

_DATASOURCE = {"url", "query_key", "scheduler_alias", "preset"}
_MODEL = {"query_key", "model_alias", "scheduler_alias", "preset"}
_STAGE = {"stage", *_MODEL}
_SCHEDULER = {"scheduler_alias", "preset"}

# By sample name: the labels, and what every value of it is to be.
STARTED = time.time()
METRICS: dict[str, tuple[set[str], Callable[[float], bool]]] = {
    "vmanomaly_start_time_seconds": (set(), lambda v: STARTED - 60 < v <= time.time()),
    "vmanomaly_version_info": ({"version"}, lambda v: v == 1),
    "vmanomaly_ui_version_info": ({"version"}, lambda v: v == 1),
    "vmanomaly_available_memory_bytes": (set(), lambda v: v > 2**26),
    "vmanomaly_cpu_cores_available": (set(), lambda v: v > 0),
    "vmanomaly_native_threads_per_worker": (set(), lambda v: v >= 1),
    "vmanomaly_config_entities": ({"preset", "scope"}, lambda v: v == 2),
    "vmanomaly_config_reload_enabled": (set(), lambda v: v == 0),
    "vmanomaly_config_last_reload_successful": (set(), lambda v: v == 1),
    "vmanomaly_config_last_reload_success_timestamp_seconds": (
        set(),
        lambda v: STARTED - 60 < v <= time.time(),
    ),
    "vmanomaly_config_reloads_total": ({"status"}, lambda v: v == 0),
    "vmanomaly_scheduler_alive": (_SCHEDULER, lambda v: v == 1),
    "vmanomaly_scheduler_restarts_total": ({*_SCHEDULER, "status"}, lambda v: v == 0),
    "vmanomaly_reader_request_duration_seconds_count": (_DATASOURCE, lambda v: v >= 1),
    "vmanomaly_reader_request_duration_seconds_sum": (_DATASOURCE, lambda v: 0 < v < 600),
    "vmanomaly_reader_responses_total": ({*_DATASOURCE, "code"}, lambda v: v >= 1),
    "vmanomaly_reader_received_bytes_total": (_DATASOURCE, lambda v: v > 50),
    "vmanomaly_reader_timeseries_received_total": (_DATASOURCE, lambda v: v >= 0),
    "vmanomaly_reader_datapoints_received_total": (_DATASOURCE, lambda v: v >= 0),
    "vmanomaly_reader_response_parsing_seconds_count": ({*_DATASOURCE, "step"}, lambda v: v >= 1),
    "vmanomaly_reader_processing_tasks_queued": (_DATASOURCE, lambda v: v in {0, 1}),
    "vmanomaly_model_runs_total": (_STAGE, lambda v: v >= 1),
    "vmanomaly_model_run_duration_seconds_count": (_STAGE, lambda v: v >= 1),
    "vmanomaly_model_run_duration_seconds_sum": (_STAGE, lambda v: 0 < v < 600),
    "vmanomaly_model_last_run_timestamp_seconds": (
        _STAGE,
        lambda v: STARTED - 60 < v <= time.time(),
    ),
    "vmanomaly_model_datapoints_accepted_total": (_STAGE, lambda v: v >= 2),
    "vmanomaly_model_datapoints_produced_total": (_STAGE, lambda v: v >= 2),
    "vmanomaly_model_runs_skipped_total": (_STAGE, lambda v: v >= 0),
    "vmanomaly_model_run_errors_total": (_STAGE, lambda v: v == 0),
    "vmanomaly_models_active": (_MODEL, lambda v: v == 2),
    "vmanomaly_state_save_duration_seconds_count": (set(), lambda v: v == 0),
    "vmanomaly_state_save_errors_total": ({"reason"}, lambda v: v == 0),
    "vmanomaly_state_bytes": (set(), lambda v: v == 0),
    "vmanomaly_state_written_bytes_total": (set(), lambda v: v == 0),
    "vmanomaly_writer_request_duration_seconds_count": (_DATASOURCE, lambda v: v >= 1),
    "vmanomaly_writer_request_serialize_seconds_count": (_DATASOURCE, lambda v: v >= 1),
    "vmanomaly_writer_responses_total": ({*_DATASOURCE, "code"}, lambda v: v >= 1),
    "vmanomaly_writer_sent_bytes_total": (_DATASOURCE, lambda v: v > 50),
    "vmanomaly_writer_datapoints_sent_total": (_DATASOURCE, lambda v: v >= 2),
    "vmanomaly_writer_timeseries_sent_total": (_DATASOURCE, lambda v: v >= 2),
    "vmanomaly_writer_queue_bytes": (set(), lambda v: v == 0),
    "vmanomaly_writer_queue_oldest_timestamp_seconds": (set(), lambda v: v == 0),
    "vmanomaly_writer_dropped_datapoints_total": ({"reason"}, lambda v: v == 0),
    "process_resident_memory_bytes": (set(), lambda v: v > 2**24),
    "process_start_time_seconds": (set(), lambda v: STARTED - 60 < v <= time.time()),
    "python_info": (
        {"implementation", "major", "minor", "patchlevel", "version"},
        lambda v: v == 1,
    ),
    "python_gc_collections_total": ({"generation"}, lambda v: v >= 0),
}


def config(url: str, port: int) -> dict[str, Any]:
    """Return a configuration whose query `nothing` has no data, with credentials in its URLs."""
    secret_url = url.replace("http://", f"http://{CREDENTIALS}@")
    return {
        "reader": {
            "datasource_url": secret_url,
            "sampling_period": "1s",
            # An older VictoriaMetrics shows the last half minute late.
            "offset": "-35s",
            "queries": {"load": {"expr": "load"}, "nothing": {"expr": "no_such_series"}},
        },
        "writer": {"datasource_url": secret_url},
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": "1m",
                "fit_every": "1h",
                "infer_every": "1s",
            }
        },
        "models": {
            "zscore": {"class": "zscore_online", "queries": "all", "schedulers": "all"},
        },
        "server": {"addr": "127.0.0.1", "port": port},
        "monitoring": {
            "pull": {"addr": "127.0.0.1", "port": port},
            "push": {
                "url": secret_url,
                "push_frequency": "",
                "extra_labels": {"instance": "me:1", "team": "red"},
            },
        },
    }


@dataclass(frozen=True)
class Watched:
    """What was seen of a service, while it ran and after its end."""

    url: str
    metrics: str
    pushed: dict[Labels, Samples]
    output: str

    @property
    def families(self) -> list[Metric]:
        return list(parser.text_string_to_metric_families(self.metrics))

    def samples(self, name: str) -> list[Sample]:
        return [
            sample for family in self.families for sample in family.samples if sample.name == name
        ]


def values(vm: VictoriaMetrics, selector: str) -> list[float]:
    """Return the values of the series that a selector finds."""
    return [value for samples in vm.export(selector).values() for _, value in samples]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("monitoring")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with VictoriaMetrics(folder) as vm:
        now = int(time.time())
        # Future samples too, so that nobody has to feed them in.
        vm.import_series(
            (
                {"__name__": "load", "host": host},
                [(1000 * second, float(second % 7)) for second in range(now - 120, now + 1000)],
            )
            for host in HOSTS
        )
        vm.force_flush()
        with Vmanomaly(folder, config(vm.url, port)) as service:
            service.wait_until(lambda: answers(f"{base}/health"), "health of the service")
            service.wait_until(lambda: len(vm.export("anomaly_score")) == len(HOSTS), "scores")
            runs = 'vmanomaly_model_runs_total{stage="infer"}'
            service.wait_until(lambda: len(values(vm, runs)) > 1, "two pushes")
            _, metrics = request("GET", f"{base}/metrics")
            service.signal(signal.SIGTERM)
            assert service.wait() == 0, service.output
        alive = "vmanomaly_scheduler_alive"
        vm.wait_until(lambda: values(vm, alive)[-1:] == [0], "the last push")
        yield Watched(vm.url, metrics.decode(), vm.export('{team="red"}'), service.output)


@pytest.mark.parametrize("name", METRICS)
def test_metric(watched: Watched, name: str) -> None:
    labels, is_sensible = METRICS[name]
    found = watched.samples(name)
    assert found
    for sample in found:
        assert set(sample.labels) == labels
        assert is_sensible(sample.value), sample


def test_the_list_of_metrics_is_complete(watched: Watched) -> None:
    suffixes = {"counter": "_total", "histogram": "_count", "gauge": ""}
    names = {
        family.name + suffixes[family.type]
        for family in watched.families
        if family.name.startswith("vmanomaly")
    }
    # Jobs have one only where states are stored, and the API what was asked of it.
    without_samples = {
        "vmanomaly_state_checkpoint_timestamp_seconds",
        "vmanomaly_api_requests_total",
        "vmanomaly_tasks_running",
        "vmanomaly_tasks_total",
    }
    assert not any(map(watched.samples, without_samples))
    assert names - without_samples == {
        name for name in METRICS if name.startswith("vmanomaly") and not name.endswith("_sum")
    }


def test_a_metric_of_the_model_has_its_stages(watched: Watched) -> None:
    runs = {
        sample.labels["stage"]: sample for sample in watched.samples("vmanomaly_model_runs_total")
    }
    assert set(runs) == {"fit", "infer"}
    assert runs["fit"].value == 1
    assert runs["fit"].labels == {
        "stage": "fit",
        "query_key": "load",
        "model_alias": "zscore",
        "scheduler_alias": "live",
        "preset": "default",
    }
    skipped = {
        (sample.labels["query_key"], sample.labels["stage"]): sample.value
        for sample in watched.samples("vmanomaly_model_runs_skipped_total")
    }
    assert skipped["nothing", "fit"] == 1
    assert skipped["nothing", "infer"] >= 1
    assert skipped["load", "fit"] == 0


def test_versions_and_codes(watched: Watched) -> None:
    for name in ("version_info", "ui_version_info"):
        (sample,) = watched.samples(f"vmanomaly_{name}")
        assert sample.labels["version"] == __version__
    codes = {s.labels["code"] for s in watched.samples("vmanomaly_reader_responses_total")}
    assert codes == {"200"}
    steps = {s.labels["step"] for s in watched.samples(f"{_PARSING}_count")}
    assert steps == {"json", "df"}


def test_no_label_and_no_line_carries_credentials(watched: Watched) -> None:
    urls = {
        sample.labels["url"]
        for family in watched.families
        for sample in family.samples
        if "url" in sample.labels
    }
    host = watched.url.removeprefix("http://")
    assert urls == {f"http://{host}/api/v1/query_range", f"http://{host}/api/v1/import"}
    assert PASSWORD not in watched.metrics
    assert PASSWORD not in watched.output


def test_one_listener_serves_where_both_ports_are_the_same(watched: Watched) -> None:
    assert watched.output.count("Listening on port") == 1


def test_every_metric_is_pushed_with_the_labels_of_the_configuration(watched: Watched) -> None:
    scraped = {
        (sample.name, frozenset(sample.labels.items()))
        for family in watched.families
        for sample in family.samples
    }
    pushed = set()
    for labels in watched.pushed:
        rest = dict(labels)
        assert (rest.pop("job"), rest.pop("instance")) == ("vmanomaly", "me:1")
        assert rest.pop("team") == "red"
        pushed.add((rest.pop("__name__"), frozenset(rest.items())))
    assert scraped <= pushed


def test_pushes_follow_the_runs_and_the_end(watched: Watched) -> None:
    runs, alive = (
        [
            value
            for labels, samples in watched.pushed.items()
            if (labels["__name__"], labels.get("stage", "")) == (name, stage)
            for _, value in samples
        ]
        for name, stage in (
            ("vmanomaly_model_runs_total", "infer"),
            ("vmanomaly_scheduler_alive", ""),
        )
    )
    assert len(runs) > 1
    assert runs == sorted(runs)
    assert alive[0] == 1
    assert alive[-1] == 0


def push_once(**keys: Any) -> None:
    metrics = Metrics()
    metrics.start_time_seconds.set(17)
    section = PushSection.model_validate({"push_frequency": "", **keys})
    pusher = Pusher(section, metrics.registry, "host:8490")
    pusher.start()
    pusher.stop()


def arrived(vm: VictoriaMetrics) -> list[tuple[dict[str, str], list[float]]]:
    """Return what was pushed, as soon as the database shows it."""
    found: dict[Labels, Samples] = {}

    def shown() -> bool:
        found.update(vm.export("vmanomaly_start_time_seconds"))
        return bool(found)

    vm.wait_until(shown, "a push")
    return [(dict(labels), [value for _, value in samples]) for labels, samples in found.items()]


PUSHED = [
    (
        {"__name__": "vmanomaly_start_time_seconds", "job": "vmanomaly", "instance": "host:8490"},
        [17.0],
    )
]


def test_a_push_reaches_a_tenant_of_a_cluster(tmp_path: Path) -> None:
    with start_cluster(tmp_path, "7:8") as cluster:
        push_once(url=cluster.url, tenant_id="7:8")
        push_once(url=f"{cluster.url}/insert/0:0/prometheus")
        assert arrived(cluster.tenants["7:8"]) == PUSHED
        assert arrived(cluster.tenants["0:0"]) == PUSHED


def test_a_push_through_tls_with_certificate_and_login(
    vm: VictoriaMetrics, certificates: Certificates, tmp_path: Path
) -> None:
    client = certificates.issue("client.pem", host="vmanomaly.example")
    directives = wants_client_certificate(certificates.bundle) + wants_password(tmp_path)
    server = certificates.issue("server.pem")
    with TlsFront(tmp_path, vm.url, server, directives) as front:
        push_once(
            url=front.tls_url,
            verify_tls=str(certificates.bundle),
            tls_cert_file=str(client),
            tls_key_file=str(client),
            user=USER,
            password=PASSWORD,
        )
    assert arrived(vm) == PUSHED


def test_a_push_with_a_token_through_vmauth(vm: VictoriaMetrics, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{PASSWORD}\n")
    with Vmauth(tmp_path, [{"bearer_token": PASSWORD, "url_prefix": vm.url}]) as vmauth:
        push_once(url=vmauth.url, bearer_token_file=str(token))
    assert arrived(vm) == PUSHED


def test_a_certificate_that_is_not_trusted_is_named_with_the_remedy(
    vm: VictoriaMetrics,
    certificates: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with TlsFront(tmp_path, vm.url, certificates.issue("server.pem")) as front:
        push_once(url=front.tls_url)
    (message,) = caplog.messages
    assert message.startswith("Cannot push the service's own metrics: ")
    assert "set `monitoring.push.verify_tls` to the path of the CA bundle" in message


def test_a_push_that_fails_costs_no_score(vm: VictoriaMetrics, tmp_path: Path) -> None:
    port = free_port()
    now = int(time.time())
    points = [(1000 * second, float(second % 7)) for second in range(now - 120, now + 1000)]
    vm.import_series([({"__name__": "load", "host": host}, points) for host in HOSTS])
    vm.force_flush()
    wrong = config(vm.url, port)
    wrong["monitoring"]["push"] = {"url": f"http://127.0.0.1:{free_port()}"}
    with Vmanomaly(tmp_path, wrong) as service:
        service.wait_until(lambda: len(vm.export("anomaly_score")) == len(HOSTS), "scores")
        first = {labels: len(found) for labels, found in vm.export("anomaly_score").items()}
        service.wait_until(
            lambda: all(len(f) >= first[la] + 3 for la, f in vm.export("anomaly_score").items()),
            "more scores",
        )
        assert json.loads(request("GET", f"http://127.0.0.1:{port}/health")[1]) == {"status": "ok"}
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    assert service.output.count("Cannot push the service's own metrics") == 1, service.output
