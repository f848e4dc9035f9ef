"""The reader against real servers and their limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.cluster import Cluster, start_cluster
from tests.integration.servers import Nginx, Prometheus, Samples, VictoriaMetrics
from vmanomaly.config.reader import Query, VmReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader.vm import VmReader
from vmanomaly.series import FloatArray, Labels, SeriesBatch, TimeRange

STEP = 60_000
DAY = 24 * 60 * STEP
START = 1_750_000_020_000 // STEP * STEP


def reader_of(
    url: str, *, data_folder: Path | None = None, expr: str = "load", **keys: Any
) -> tuple[VmReader, Query]:
    query = Query(alias="load", expr=expr, step=Duration(STEP))
    queries = {"load": query, "slow": Query(alias="slow", expr="slow", step=Duration(STEP))}
    section = VmReaderSection(datasource_url=url, queries=queries, **keys)
    return VmReader(section, Metrics(), data_folder), query


def counted(reader: VmReader, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in reader._metrics.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def loaded(n_points: int, random: np.random.Generator) -> dict[str, FloatArray]:
    """Return series with gaps, among them one that begins and one that ends half-way."""
    rows = {name: random.normal(50, 20, n_points).round(6) for name in ("a", "b", "young", "old")}
    rows["b"][random.random(n_points) < 0.2] = np.nan
    rows["young"][: n_points // 2] = np.nan
    rows["old"][n_points // 2 :] = np.nan
    return rows


def samples(values: FloatArray) -> Samples:
    return [
        (START + STEP * i, float(value)) for i, value in enumerate(values) if np.isfinite(value)
    ]


def by_name(batch: SeriesBatch) -> dict[str, FloatArray]:
    return {labels["host"]: row for labels, row in zip(batch.labels, batch.values, strict=True)}


@pytest.mark.parametrize("on_disk", [False, True])
def test_45_days_from_a_server_that_allows_500_points(tmp_path: Path, on_disk: bool) -> None:
    n_points = 45 * DAY // STEP
    rows = loaded(n_points, np.random.default_rng(1))
    with VictoriaMetrics(
        # Samples stand for their own minute only, so that gaps stay gaps.
        tmp_path,
        "-search.maxPointsPerTimeseries=500",
        "-search.maxStalenessInterval=30s",
    ) as vm:
        vm.import_series(
            ({"__name__": "load", "host": name}, samples(row)) for name, row in rows.items()
        )
        vm.force_flush()
        reader, query = reader_of(vm.url, data_folder=tmp_path / "data" if on_disk else None)
        whole = TimeRange(START - STEP, START + (n_points - 1) * STEP)
        batch = reader.read(query, whole, "s", stage="fit")
        reader.close()
    assert counted(reader, "vmanomaly_reader_responses_total", code="200") == -(-n_points // 500)
    np.testing.assert_array_equal(batch.timestamps, START + STEP * np.arange(n_points))
    found = by_name(batch)
    assert found.keys() == rows.keys()
    for name, row in rows.items():
        np.testing.assert_array_equal(found[name], row)


def test_prometheus_allows_11_000_points(tmp_path: Path) -> None:
    n_points = 25_000
    values = np.random.default_rng(2).normal(50, 20, n_points).round(6)
    with Prometheus(tmp_path, [({"__name__": "load", "host": "a"}, samples(values))]) as prometheus:
        reader, query = reader_of(prometheus.url)
        whole = TimeRange(START - STEP, START + (n_points - 1) * STEP)
        batch = reader.read(query, whole, "s", stage="fit")
        reader.check_health()
        reader.close()
    np.testing.assert_array_equal(by_name(batch)["a"], values)
    assert counted(reader, "vmanomaly_reader_responses_total", code="400") == 1
    assert counted(reader, "vmanomaly_reader_responses_total", code="200") == 3


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("reader")
    with VictoriaMetrics(folder, "-search.maxQueryDuration=1s") as server:
        values = np.random.default_rng(3).normal(50, 20, (50, 600)).round(6)
        server.import_series(
            ({"__name__": "load", "host": str(host)}, samples(row))
            for host, row in enumerate(values)
        )
        server.force_flush()
        yield server


RANGE = TimeRange(START - STEP, START + 599 * STEP)


def test_an_old_server_is_warned_of(vm: VictoriaMetrics, caplog: pytest.LogCaptureFixture) -> None:
    reader, query = reader_of(vm.url)
    now = int(time.time()) * 1000
    reader.read(query, RANGE, "s", stage="fit")
    assert "latency_offset" not in caplog.text
    reader.read(query, TimeRange(now - STEP, now + STEP), "s", stage="infer")
    reader.close()
    (warning,) = [message for message in caplog.messages if "latency_offset" in message]
    assert "hides the last 30s of its data" in warning


def test_a_query_that_the_server_gives_up(vm: VictoriaMetrics) -> None:
    # Many to many, which is found out while it is evaluated.
    reader, query = reader_of(vm.url, expr="load + on() load")
    with pytest.raises(DatasourceError) as caught:
        reader.read(query, RANGE, "s", stage="fit")
    reader.close()
    assert "Error querying" in str(caught.value)
    assert caught.value.code == "422"


def test_subqueries_of_too_many_points_are_read_in_pieces(vm: VictoriaMetrics) -> None:
    reader, query = reader_of(vm.url, expr='sum_over_time(last_over_time(load{host="7"})[1h:1s])')
    batch = reader.read(query, RANGE, "s", stage="fit")
    reader.close()
    assert batch.values.shape == (1, 600)
    assert np.isfinite(batch.values).all()
    assert counted(reader, "vmanomaly_reader_responses_total", code="422") == 1
    assert counted(reader, "vmanomaly_reader_responses_total", code="200") == 2


def test_a_line_that_breaks(vm: VictoriaMetrics, tmp_path: Path) -> None:
    broken = "limit_rate 20k;"
    with Nginx(tmp_path, f"location / {{ proxy_pass {vm.url}; {broken} }}") as nginx:
        reader, query = reader_of(nginx.url, timeout="1s")
        with pytest.raises(DatasourceError) as caught:
            reader.read(query, RANGE, "s", stage="fit")
        reader.close()
    assert caught.value.code == "timeout"


def test_a_slow_query_holds_nobody_back(vm: VictoriaMetrics, tmp_path: Path) -> None:
    slow = f"""
        location / {{ proxy_pass {vm.url}; }}
        location /slow/ {{ proxy_pass {vm.url}/; limit_rate 2k; }}
    """
    with Nginx(tmp_path, slow) as nginx, ThreadPoolExecutor(2) as executor:
        dragging, query = reader_of(f"{nginx.url}/slow", timeout="8s")
        reader, _ = reader_of(nginx.url)
        late = executor.submit(dragging.read, query, RANGE, "s", stage="fit")
        n_read = 0
        while not late.done() and n_read < 5:
            batch = reader.read(query, RANGE, "s", stage="fit")
            assert batch.n_valid_points == 50 * 600
            n_read += 1
        assert n_read == 5
        assert not late.done()
        with pytest.raises(DatasourceError):
            late.result(60)
        dragging.close()
        reader.close()


def test_compressed_and_plain_answers_are_the_same(vm: VictoriaMetrics, tmp_path: Path) -> None:
    plain = f'location / {{ proxy_pass {vm.url}; proxy_set_header Accept-Encoding ""; }}'
    with Nginx(tmp_path, plain) as nginx:
        batches = []
        for url in (vm.url, nginx.url):
            reader, query = reader_of(url)
            batches.append(reader.read(query, RANGE, "s", stage="fit"))
            reader.close()
    assert batches[0].labels == batches[1].labels
    np.testing.assert_array_equal(batches[0].values, batches[1].values)
    assert set(batches[0].labels) == {
        Labels({"__name__": "load", "host": str(host)}) for host in range(50)
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start_cluster(tmp_path_factory.mktemp("cluster"), "1:2", "5") as cluster:
        for number, tenant in enumerate(("1:2", "5"), start=1):
            values = np.full(10, float(number))
            labels = {"__name__": "load", "host": "a"}
            cluster.import_series(tenant, [(labels, samples(values))])
        yield cluster


class TestCluster:
    """Tenants through the stand-in of a cluster."""

    def read(self, cluster: Cluster, reader_tenant: str, query_tenant: str | None) -> SeriesBatch:
        query = Query(alias="load", expr="load", step=Duration(STEP), tenant_id=query_tenant)
        section = VmReaderSection(
            datasource_url=cluster.url, tenant_id=reader_tenant, queries={"load": query}
        )
        reader = VmReader(section, Metrics())
        batch = reader.read(query, TimeRange(START - STEP, START + 9 * STEP), "s", stage="fit")
        reader.close()
        return batch

    @pytest.mark.parametrize(
        ("reader_tenant", "query_tenant", "value"),
        [("1:2", None, 1.0), ("5", None, 2.0), ("5:0", "1:2", 1.0)],
    )
    def test_one_tenant(
        self, cluster: Cluster, reader_tenant: str, query_tenant: str | None, value: float
    ) -> None:
        batch = self.read(cluster, reader_tenant, query_tenant)
        assert batch.labels == (Labels({"__name__": "load", "host": "a"}),)
        assert batch.values.tolist() == [[value] * 10]

    def test_all_tenants(self, cluster: Cluster) -> None:
        batch = self.read(cluster, "multitenant", None)
        found = {
            (labels["vm_account_id"], labels["vm_project_id"]): row[0]
            for labels, row in zip(batch.labels, batch.values, strict=True)
        }
        assert found == {("1", "2"): 1.0, ("5", "0"): 2.0}

    def test_the_tenant_of_a_query_becomes_its_labels(self, cluster: Cluster) -> None:
        batch = self.read(cluster, "multitenant", "1:2")
        (labels,) = batch.labels
        assert (labels["vm_account_id"], labels["vm_project_id"]) == ("1", "2")

    def test_a_label_that_comes_twice_is_the_tenant(self, cluster: Cluster) -> None:
        own = {"__name__": "labelled", "vm_account_id": "99", "host": "b"}
        cluster.import_series("1:2", [(own, samples(np.ones(3)))])
        query = Query(alias="load", expr="labelled", step=Duration(STEP))
        section = VmReaderSection(
            datasource_url=cluster.url, tenant_id="multitenant", queries={"load": query}
        )
        reader = VmReader(section, Metrics())
        batch = reader.read(query, TimeRange(START - STEP, START + 2 * STEP), "s", stage="fit")
        reader.close()
        assert [labels["vm_account_id"] for labels in batch.labels] == ["1"]
