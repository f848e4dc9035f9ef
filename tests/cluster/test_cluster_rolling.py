"""One member after another takes a configuration, or none does."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import Metric

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.cluster import cluster as module
from vmanomaly.cluster.cluster import Cluster
from vmanomaly.config import Config
from vmanomaly.context import RunContext
from vmanomaly.errors import ConfigError, RollbackError, VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.service.health import HealthStatus, MemberStatus

ENVIRON = {"VMANOMALY_MEMBERS_COUNT": "3"}
OTHER = changed({"reader.queries.disk": {"expr": "disk"}}, MINIMAL)


class FakeMember:
    """Applies what it is told, unless it refuses configurations with that many queries."""

    def __init__(self, number: int, config: Config, *_: Any) -> None:
        self.number = number
        self.applied = [config]
        self.refuses: tuple[int, ...] = ()
        self.exit_status: int | None = None
        self.reasons: list[str] = []
        self.answers = False
        self.n_restarts = 0

    def watch(self) -> None:
        self.answers = True

    def stop_watching(self) -> None:
        self.answers = False

    def stop(self, timeout_s: float) -> None:
        self.exit_status = 0

    def apply(self, config: Config) -> str | None:
        if len(config.reader.queries) in self.refuses:
            return "no such file"
        self.applied.append(config)
        return None

    def health(self) -> HealthStatus:
        return HealthStatus(self.reasons, False)

    def status(self) -> MemberStatus:
        return MemberStatus(self.number, "running", "10.0.0.1")

    def unready_reasons(self) -> list[str]:
        return self.reasons

    def metrics(self) -> Metric:
        raise NotImplementedError


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(module, "RemoteMember", FakeMember)
    monkeypatch.setattr(module, "placement_group", lambda *_, **__: None)
    return Cluster(load(MINIMAL, ENVIRON), Metrics(), RunContext(), "INFO", "text")


def members(cluster: Cluster) -> list[FakeMember]:
    return cluster._members  # type: ignore[return-value]


def n_queries(member: FakeMember) -> list[int]:
    return [len(config.reader.queries) for config in member.applied]


def test_each_member_gets_its_part(cluster: Cluster) -> None:
    cluster.apply(load(OTHER, ENVIRON))
    for number, member in enumerate(members(cluster)):
        assert n_queries(member) == [1, 2]
        assert {config.member.number for config in member.applied} == {number}


def test_where_one_refuses_the_others_go_back(cluster: Cluster) -> None:
    zero, one, two = members(cluster)
    one.refuses = (2,)
    with pytest.raises(VmanomalyError, match=r"^member 1: no such file$"):
        cluster.apply(load(OTHER, ENVIRON))
    assert [n_queries(each) for each in (zero, one, two)] == [[1, 2, 1], [1], [1]]
    one.refuses = ()
    cluster.apply(load(OTHER, ENVIRON))
    assert [n_queries(each)[-1] for each in (zero, one, two)] == [2, 2, 2]


def test_where_another_does_not_go_back_there_is_no_way(cluster: Cluster) -> None:
    zero, one, _ = members(cluster)
    zero.refuses, one.refuses = (1,), (2,)
    with pytest.raises(RollbackError, match=r"member 1: no such file\. The rollback of member 0"):
        cluster.apply(load(OTHER, ENVIRON))


def test_a_wrong_class_reaches_no_member(cluster: Cluster, tmp_path: Any) -> None:
    wrong = changed({"models.own": {"class": "nowhere.Model", "queries": "all"}}, MINIMAL)
    with pytest.raises(ConfigError):
        cluster.apply(load(wrong, ENVIRON))
    assert [n_queries(member) for member in members(cluster)] == [[1], [1], [1]]


def test_harmless_settings_reach_all(cluster: Cluster) -> None:
    settings = load(changed({"settings.logger_levels": {"reader": "debug"}}, MINIMAL)).settings
    cluster.hold(settings)
    assert [member.applied[-1].settings for member in members(cluster)] == [settings] * 3


def test_health_names_the_members(cluster: Cluster) -> None:
    members(cluster)[1].reasons = ["member 1: is down, Ray restarts it"]
    status = cluster.status()
    assert status.reasons == ["member 1: is down, Ray restarts it"] == cluster.unready_reasons()
    assert not status.needs_restart
    assert [member.member for member in status.members] == [0, 1, 2]


def test_it_ends_when_all_have_ended(cluster: Cluster) -> None:
    for member in members(cluster):
        member.exit_status = 0
    cluster._note_end()
    assert cluster.run() == 0


def test_it_ends_with_a_failure_when_one_cannot_be_made(cluster: Cluster) -> None:
    zero, one, two = members(cluster)
    one.exit_status = 1
    cluster._note_end()
    for member in (one,):
        member.stop = lambda timeout_s: None  # type: ignore[method-assign]
    assert cluster.run() == 1
    assert (zero.exit_status, two.exit_status) == (0, 0)


def test_it_stops(cluster: Cluster) -> None:
    cluster.stop()
    assert cluster.run() == 0
    assert [member.exit_status for member in members(cluster)] == [0, 0, 0]
