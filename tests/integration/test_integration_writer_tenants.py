"""Scores go to the tenants that they belong to: the four cases, on a cluster's stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster, start_cluster
from tests.integration.servers import Samples, Vmanomaly, free_port
from vmanomaly.series import Labels

STEP_S = 60
START = 1_750_000_020
N_FIT, N_INFER = 20, 5
INFER_START = START + N_FIT * STEP_S
END = INFER_START + N_INFER * STEP_S
# Tenants that hold data, and how much larger it is than that of the first.
SCALES = {"1:0": 1.0, "1:2": 2.0}

MISSING = (
    "The label `vm_account_id` was not found in the label set of {}, but tenant_id='multitenant' "
    "is set in writer. The data will be written to the default tenant 0:0. Ensure that the query "
    "retains the necessary multi-tenant labels, or adjust the aggregation settings to preserve "
    "`vm_account_id` key in the label set."
)
UNEXPECTED = (
    "The label set for the metric {} contains multi-tenancy labels, but the write endpoint is "
    "configured for single-tenant mode (tenant_id != 'multitenant'). Either adjust the query in "
    "the reader to avoid multi-tenancy labels or ensure that reserved key `vm_account_id` is not "
    "explicitly set for single-tenant environments."
)


def wave(scale: float) -> Samples:
    return [(1000 * time, scale * (time * 7919 % 97)) for time in range(START, END, STEP_S)]


def inferred(scale: float) -> Samples:
    return wave(scale)[N_FIT:]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with start_cluster(tmp_path, *SCALES, "3:4") as cluster:
        for tenant, scale in SCALES.items():
            cluster.import_series(tenant, [({"__name__": "m", "host": "a"}, wave(scale))])
        yield cluster


def run(
    folder: Path, cluster: Cluster, reader_tenant: str, writer_tenant: str, **queries: Any
) -> list[str]:
    """Run the service on the cluster. Return the warnings it logged."""
    config = {
        "reader": {
            "datasource_url": cluster.url,
            "tenant_id": reader_tenant,
            "sampling_period": f"{STEP_S}s",
            "queries": queries,
        },
        "writer": {"datasource_url": cluster.url, "tenant_id": writer_tenant},
        "schedulers": {
            "once": {
                "class": "oneoff",
                "fit_start_s": START,
                "fit_end_s": INFER_START - STEP_S,
                "infer_start_s": INFER_START,
                "infer_end_s": END - STEP_S,
            }
        },
        "models": {
            "zscore": {
                "class": "zscore_online",
                "queries": "all",
                "schedulers": "all",
                "provide_series": ["y", "anomaly_score"],
            }
        },
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }
    status, output = Vmanomaly(folder, config).run()
    assert status == 0, output
    assert "Traceback" not in output
    assert "ERROR" not in output
    return [line for line in output.splitlines() if "WARNING" in line]


def written(cluster: Cluster) -> dict[str, dict[Labels, Samples]]:
    """Return what was written as `y`, by tenant; scores have the same labels and timestamps."""
    found = {}
    for tenant, server in cluster.tenants.items():
        observations = server.export('{__name__="y"}')
        scores = server.export('{__name__="anomaly_score"}')
        assert {
            Labels({**labels, "__name__": "y"}): [timestamp for timestamp, _ in points]
            for labels, points in scores.items()
        } == {
            labels: [timestamp for timestamp, _ in points]
            for labels, points in observations.items()
        }
        if observations:
            found[tenant] = observations
    return found


def labels(query_key: str, **more: str) -> Labels:
    own = {"model_alias": "zscore", "scheduler_alias": "once", "preset": "default"}
    return Labels({"__name__": "y", "for": query_key, **own, **more})


class TestOneTenantEach:
    """Case 1: no label names a tenant, anywhere."""

    def test_the_same(self, cluster: Cluster, tmp_path: Path) -> None:
        assert run(tmp_path, cluster, "1:2", "1:2", load={"expr": "m"}) == []
        assert written(cluster) == {"1:2": {labels("load", host="a"): inferred(2.0)}}

    def test_another(self, cluster: Cluster, tmp_path: Path) -> None:
        warnings = run(tmp_path, cluster, "1", "3:4", load={"expr": "m"})
        assert written(cluster) == {"3:4": {labels("load", host="a"): inferred(1.0)}}
        # That is said once, at the start; writing is silent.
        assert len(warnings) == 1
        assert "the reader uses the tenants 1:0 and the writer 3:4" in warnings[0]


def test_labels_choose_the_tenant(cluster: Cluster, tmp_path: Path) -> None:
    """Case 2, with the labels that the reader adds for a query with a tenant of its own too."""
    # This one comes with the account twice; the last is the tenant.
    odd = {"__name__": "odd", "vm_account_id": "7"}
    cluster.import_series("1:2", [(odd, wave(5.0))])

    warnings = run(
        tmp_path,
        cluster,
        "multitenant",
        "multitenant",
        load={"expr": "m"},
        kept={"expr": "sum(m) by (vm_account_id, vm_project_id)"},
        own={"expr": "m", "tenant_id": "1:2"},
        odd={"expr": "odd"},
    )

    assert warnings == []
    assert written(cluster) == {
        "1:0": {labels("load", host="a"): inferred(1.0), labels("kept"): inferred(1.0)},
        "1:2": {
            labels("load", host="a"): inferred(2.0),
            labels("kept"): inferred(2.0),
            labels("own", host="a"): inferred(2.0),
            labels("odd"): inferred(5.0),
        },
    }


def test_labels_that_choose_none(cluster: Cluster, tmp_path: Path) -> None:
    """Case 3."""
    warnings = run(tmp_path, cluster, "multitenant", "multitenant", total={"expr": "sum(m)"})

    assert written(cluster) == {"0:0": {labels("total"): inferred(3.0)}}
    assert len(warnings) == 1
    assert MISSING.format("total") in warnings[0]


def test_labels_that_are_not_used(cluster: Cluster, tmp_path: Path) -> None:
    """Case 4."""
    warnings = run(tmp_path, cluster, "multitenant", "0:0", load={"expr": "m"})

    assert written(cluster) == {
        "0:0": {
            labels("load", host="a", vm_account_id="1", vm_project_id="0"): inferred(1.0),
            labels("load", host="a", vm_account_id="1", vm_project_id="2"): inferred(2.0),
        }
    }
    assert len(warnings) == 2
    assert "the reader uses the tenants multitenant and the writer 0:0" in warnings[0]
    assert UNEXPECTED.format("load") in warnings[1]
