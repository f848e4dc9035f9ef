"""Members on a Ray cluster of three nodes, of which one is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.ray_nodes import N_NODES, Head, missing, started_nodes
from tests.integration.servers import VictoriaMetrics, free_port
from tests.integration.test_integration_members import (
    FLAGS,
    QUERIES,
    config,
    fill,
    now_read,
    scores,
    wait_for_scores,
)


@pytest.mark.slow
def test_a_node_is_killed_and_no_timestamp_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with VictoriaMetrics(tmp_path, *FLAGS) as vm, started_nodes() as nodes:
        fill(vm)
        content = config(vm, {})
        content["server"]["port"] = free_port()
        head = Head(tmp_path, content, "--members", "3", "--address", nodes.address)
        with head:
            head.wait_until_ready()
            head.wait_until_healthy()
            members = head.health()["members"]
            assert [member["state"] for member in members] == ["running"] * 3
            assert len({member["node"] for member in members}) == N_NODES
            # A member that does not answer at once is left out of a page of metrics.
            for number, shard in enumerate([2, 1, 1]):
                labels = f'member="{number}",preset="default",scope="shard"'
                wait_for_metrics(
                    head,
                    f"vmanomaly_config_entities{{{labels}}} {shard}.0",
                    f'vmanomaly_member_up{{member="{number}"}} 1.0',
                )
            wait_for_scores(vm, now_read() + 3)

            killed = next(m for m in members if nodes.can_be_killed(m["node"]))
            nodes.kill(killed["node"])
            at = now_read()
            number = killed["member"]
            head.wait_until(
                lambda: "does not answer; Ray restarts it" in head.output, "notice of it"
            )
            wait_for_scores(vm, at + 4)
            head.wait_until_healthy()
            assert head.node_of(number) != killed["node"]
            wait_for_metrics(head, f'vmanomaly_member_restarts_total{{member="{number}"}} 1.0')

            # One sub-config more, and a mistake after it.
            content["reader"]["queries"]["e"] = {"expr": "load{query='a'} * 2"}
            head.write(content)
            head.signal(signal.SIGHUP)
            head.wait_until(lambda: 'scope="total"} 5.0' in head.metrics(), "the new configuration")
            head.wait_until(lambda: "has been reloaded successfully" in head.output, "the reload")
            content["reader"]["queries"]["e"] = {"exp": "load"}
            head.write(content)
            head.signal(signal.SIGHUP)
            head.wait_until(lambda: "Reload aborted" in head.output, "the refusal")
            head.wait_until_healthy()
            wait_for_scores(vm, now_read() + 1)
            head.signal(signal.SIGTERM)
            assert head.wait() == 0
        found = scores(vm)
        assert missing(found) == {}
    assert {labels["for"] for labels in found} == {*QUERIES, "e"}


def wait_for_metrics(head: Head, *lines: str) -> None:
    head.wait_until(lambda: set(lines) <= set(head.metrics().splitlines()), "\n".join(lines))
