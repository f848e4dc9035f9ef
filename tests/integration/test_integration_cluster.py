"""The stand-in for a cluster behaves as a cluster was measured to."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.integration.cluster import Cluster, start_cluster
from tests.integration.servers import request
from vmanomaly.series import Labels

T0 = 1_750_000_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with start_cluster(tmp_path, "1", "1:2") as cluster:
        yield cluster


def import_into(cluster: Cluster, tenant: str, value: float, **labels: str) -> None:
    cluster.import_series(tenant, [(labels, [(1000 * T0, value)])])


def query(cluster: Cluster, tenant: str, expression: str = "m") -> list[tuple[Any, str]]:
    """Return the labels, a key that comes twice twice, and the value of each series."""
    status, body = request(
        "POST",
        f"{cluster.url}/select/{tenant}/prometheus/api/v1/query_range",
        fields={"query": expression, "start": str(T0), "end": str(T0), "step": "60"},
    )
    assert status == 200, body
    answer = json.loads(body, object_pairs_hook=lambda pairs: pairs)
    result = dict(dict(answer)["data"])["result"]
    return [(dict(series)["metric"], dict(series)["values"][0][1]) for series in result]


def test_tenants_are_apart(cluster: Cluster) -> None:
    import_into(cluster, "1", 1.0, __name__="m")
    import_into(cluster, "1:2", 2.0, __name__="m")

    assert query(cluster, "1:0") == query(cluster, "1") == [([("__name__", "m")], "1")]
    assert query(cluster, "0") == []
    assert cluster.tenants["1:2"].export("m") == {Labels({"__name__": "m"}): [(1000 * T0, 2.0)]}


def test_multitenant_takes_the_tenant_from_the_labels(cluster: Cluster) -> None:
    owner = {"vm_account_id": "1", "vm_project_id": "2"}
    import_into(cluster, "multitenant", 1.0, __name__="m", a="b", **owner)
    import_into(cluster, "multitenant", 2.0, __name__="m", vm_account_id="1")
    import_into(cluster, "multitenant", 3.0, __name__="m")

    stored = {name: list(server.export("m")) for name, server in cluster.tenants.items()}
    plain = Labels({"__name__": "m"})
    assert stored == {"0:0": [plain], "1:0": [plain], "1:2": [Labels({"__name__": "m", "a": "b"})]}


def test_multitenant_puts_the_tenant_back(cluster: Cluster) -> None:
    import_into(cluster, "1:2", 1.0, __name__="m")
    import_into(cluster, "0", 2.0, __name__="m")

    name = ("__name__", "m")
    assert sorted(query(cluster, "multitenant")) == [
        ([name, ("vm_account_id", "0"), ("vm_project_id", "0")], "2"),
        ([name, ("vm_account_id", "1"), ("vm_project_id", "2")], "1"),
    ]
    assert query(cluster, "multitenant", "sum(m)") == [([], "3")]
    assert query(cluster, "multitenant", "sum(m) by (vm_account_id) == 1") == [
        ([("vm_account_id", "1")], "1")
    ]


def test_a_label_of_the_same_name_comes_back_twice(cluster: Cluster) -> None:
    import_into(cluster, "1:2", 1.0, __name__="m", vm_account_id="7")

    assert query(cluster, "1:2") == [([("__name__", "m"), ("vm_account_id", "7")], "1")]
    assert query(cluster, "multitenant") == [
        (
            [
                ("__name__", "m"),
                ("vm_account_id", "7"),
                ("vm_account_id", "1"),
                ("vm_project_id", "2"),
            ],
            "1",
        )
    ]


def test_compressed_bodies(cluster: Cluster) -> None:
    line = {"metric": {"__name__": "m"}, "values": [1.0], "timestamps": [1000 * T0]}
    with urllib3.PoolManager() as http:
        answer = http.request(
            "POST",
            f"{cluster.url}/insert/0/prometheus/api/v1/import",
            body=gzip.compress(json.dumps(line).encode()),
            headers={"Content-Encoding": "gzip"},
        )
    assert answer.status == 204
    assert cluster.tenants["0:0"].export("m")


def test_other_apis_of_a_tenant(cluster: Cluster) -> None:
    base = f"{cluster.url}/insert/1/prometheus/api/v1/import/prometheus"
    status, _ = request("POST", f"{base}?extra_label=job=a", b"m 1 %d000\n" % T0)
    assert status == 204
    assert set(cluster.tenants["1:0"].export("m")) == {Labels({"__name__": "m", "job": "a"})}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/health", 200, "OK"),
        ("/api/v1/import", 400, "unsupported path requested"),
        ("/insert/9/prometheus/api/v1/import", 400, "for the tenant 9"),
    ],
)
def test_addresses(cluster: Cluster, path: str, status: int, words: str) -> None:
    found, body = request("POST", cluster.url + path, b"")
    assert found == status
    assert words in body.decode()
