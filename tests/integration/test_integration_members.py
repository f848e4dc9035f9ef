"""Three members, each unit on two of them, on a VictoriaMetrics."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import (
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    answers,
    free_port,
    health,
    request,
    wait_until,
)
from vmanomaly.config.members import Member
from vmanomaly.series import Labels

QUERIES = ("a", "b", "c", "d")
UNITS = [f"live:zscore:{query}" for query in QUERIES]
COUNT, FACTOR = 3, 2
HISTORY_S, AHEAD_S = 600, 1000
# For steps below a minute the database repeats older samples in place of the newest.
DELAY_S = 5
FLAGS = ("-search.latencyOffset=1s",)


def config(vm: VictoriaMetrics, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a configuration of which each member's port comes from its environment."""
    return {
        "reader": {
            "class": "vm",
            "datasource_url": vm.url,
            "sampling_period": "1s",
            "offset": f"-{DELAY_S}s",
            "queries": {query: {"expr": f"load{{query='{query}'}}"} for query in QUERIES},
        },
        "writer": {
            "class": "vm",
            "datasource_url": vm.url,
            "metric_format": {"__name__": "$VAR", "for": "$QUERY_KEY", **labels},
        },
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": "5m",
                "fit_every": "20s",
                "infer_every": "1s",
            }
        },
        "models": {
            "zscore": {"class": "zscore_online", "queries": "all", "schedulers": "all"},
        },
        "server": {"addr": "127.0.0.1", "port": "%{PORT}"},
    }


def fill(vm: VictoriaMetrics) -> int:
    """Import samples from the past and for the time of the test; return the present second."""
    now = int(time.time())
    vm.import_series(
        (
            {"__name__": "load", "query": query, "host": "x"},
            [
                (second * 1000, float((second * 7919 + 31 * n) % 1009))
                for second in range(now - HISTORY_S, now + AHEAD_S)
            ],
        )
        for n, query in enumerate(QUERIES)
    )
    vm.force_flush()
    return now


class Running:
    """A member: a process of its own, with a folder of its own."""

    def __init__(self, number: int, folder: Path, content: Mapping[str, Any]) -> None:
        self.number = number
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir()
        environ = {
            "VMANOMALY_MEMBERS_COUNT": str(COUNT),
            "VMANOMALY_MEMBER_NUM": f"vmanomaly-{number}",
            "VMANOMALY_REPLICATION_FACTOR": str(FACTOR),
            "PORT": self.url.rpartition(":")[2],
        }
        self.process = Vmanomaly(folder, content, environ=environ)

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(lambda: answers(f"{self.url}/ready"), "readiness of a member")

    def metric(self, scope: str) -> float:
        _, body = request("GET", f"{self.url}/metrics")
        pattern = rf'vmanomaly_config_entities\{{preset="default",scope="{scope}"\}} (\S+)'
        found = re.search(pattern, body.decode())
        assert found
        return float(found[1])


@contextmanager
def members(folder: Path, content: Mapping[str, Any]) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        running = [Running(n, folder / f"member-{n}", content) for n in range(COUNT)]
        for member in running:
            stack.callback(member.process.stop)
            member.process.start()
        for member in running:
            member.process.wait_until(lambda m=member: answers(f"{m.url}/ready"), "readiness")  # type: ignore[misc]
        yield running


def scores(vm: VictoriaMetrics) -> dict[Labels, Samples]:
    return vm.export("anomaly_score")


def newest(found: Mapping[Labels, Samples], query: str) -> int:
    """Return the newest second with a score of a query, by whatever member."""
    of_query = [points for labels, points in found.items() if labels["for"] == query]
    return max((points[-1][0] // 1000 for points in of_query), default=0)


def wait_for_scores(vm: VictoriaMetrics, second: int) -> None:
    wait_until(
        lambda: all(newest(scores(vm), query) >= second for query in QUERIES),
        "scores of every unit",
    )


def now_read() -> int:
    """Return the newest second that members read now."""
    return int(time.time()) - DELAY_S


@pytest.mark.slow
def test_one_of_three_members_is_killed_and_starts_again(tmp_path: Path) -> None:
    """Nothing is missing, and both members of a unit write equal values, also after that."""
    with VictoriaMetrics(tmp_path, *FLAGS) as vm:
        fill(vm)
        content = config(vm, {"member": "%{VMANOMALY_MEMBER_NUM}"})
        with members(tmp_path, content) as (zero, one, two):
            for member in (zero, one, two):
                own = Member(member.number, COUNT, FACTOR).own(len(UNITS))
                names = ", ".join(UNITS[i] for i in own)
                assert f"{len(own)} of 4 sub-configs: {names}\n" in member.process.output
                assert (member.metric("total"), member.metric("shard")) == (4, len(own))
                assert "-dedup.minScrapeInterval" in member.process.output
            wait_for_scores(vm, now_read() + 8)

            one.process.kill()
            killed = now_read()
            wait_for_scores(vm, killed + 25)
            assert health(zero.url) == health(two.url) == "ok"

            one.start()
            back = now_read()
            wait_for_scores(vm, back + 25)
            found = scores(vm)
    for i, query in enumerate(QUERIES):
        by_member = {
            int(labels["member"].rpartition("-")[2]): dict(points)
            for labels, points in found.items()
            if labels["for"] == query
        }
        assert set(by_member) == {n for n in range(COUNT) if i in Member(n, COUNT, FACTOR).own(4)}
        first, second = by_member.values()
        together = sorted(first.keys() | second.keys())
        assert together == list(range(together[0], together[-1] + 1, 1000)), "a gap"
        common = first.keys() & second.keys()
        assert len(common) > 30
        # The database rounds values, each block in its own way.
        assert {each: first[each] for each in common} == pytest.approx(
            {each: second[each] for each in common}, rel=1e-9, abs=1e-12
        )
        if 1 in by_member:
            # Before the kill, and after the start, which makes up what was scored meanwhile.
            assert min(by_member[1]) < killed * 1000
            assert max(by_member[1]) > (back + 20) * 1000


@pytest.mark.slow
def test_a_database_that_deduplicates_keeps_one_sample_of_each(tmp_path: Path) -> None:
    with VictoriaMetrics(tmp_path, *FLAGS, "-dedup.minScrapeInterval=1ms") as vm:
        fill(vm)
        with members(tmp_path, config(vm, {})) as (_, one, _):
            wait_for_scores(vm, now_read() + 5)
            one.process.kill()
            last = now_read() + 10
            wait_for_scores(vm, last)
            found = scores(vm)
            start, end = min(points[0][0] for points in found.values()), last * 1000
            counted = vm.query_range("count_over_time(anomaly_score[1s])", start, end, 1000)
    assert len(found) == len(QUERIES)
    for points in found.values():
        seconds = [timestamp // 1000 for timestamp, _ in points]
        assert seconds == list(range(seconds[0], seconds[-1] + 1))
    assert {value for series in counted for _, value in series["values"]} == {"1"}
