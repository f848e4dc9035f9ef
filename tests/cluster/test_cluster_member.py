"""A member of a cluster, in this process instead of one of Ray."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.config_helpers import MINIMAL, changed, load
from tests.fakes import eventually
from vmanomaly.cluster import member as module
from vmanomaly.cluster.lines import Lines
from vmanomaly.cluster.member import MemberProcess
from vmanomaly.cluster.part import part_of
from vmanomaly.config import Config
from vmanomaly.errors import ConfigError, RollbackError

ENVIRON = {"VMANOMALY_MEMBERS_COUNT": "2"}
NOTHING_TO_READ = changed({"reader": {"class": "noop"}, "writer": {"class": "noop"}}, MINIMAL)


def part(content: dict[str, Any] = NOTHING_TO_READ, number: int = 0, **environ: str) -> Config:
    return part_of(load(content, ENVIRON | environ), number)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses with which a process would have ended at once."""
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    return ended


@pytest.fixture
def member(monkeypatch: pytest.MonkeyPatch, ended: list[int]) -> Iterator[MemberProcess]:
    monkeypatch.setattr(module, "configure_logging", lambda *_: None)
    before = list(logging.getLogger().handlers)
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    process = MemberProcess("INFO", "text")
    yield process
    process.stop()
    logging.getLogger().handlers[:] = before


def test_it_starts_reports_and_stops(member: MemberProcess, ended: list[int]) -> None:
    assert not member.report().has_started
    assert member.metrics() == []
    assert member.start(part(), {}) is None
    assert eventually(lambda: not member.report().unready_reasons)
    report = member.report()
    assert report.has_started
    assert (report.exit_status, report.health.reasons) == (None, [])
    assert "vmanomaly_start_time_seconds" in {metric.name for metric in member.metrics()}
    status, _ = member.stop()
    assert status == 0
    assert member.report().exit_status == 0
    assert ended == []


def test_why_it_cannot_start_is_an_answer(member: MemberProcess, tmp_path: Any) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    config = replace(part(), model_folder=file / "states", schedulers=load(MINIMAL).schedulers)
    reason = member.start(config, {})
    assert reason is not None
    assert "cannot keep the state in" in reason
    assert not member.report().has_started
    assert member.start(part(), {}) is None


def test_why_it_cannot_apply_is_an_answer(
    member: MemberProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert member.start(part(), {}) is None
    monkeypatch.setattr(
        "vmanomaly.service.service.create_models", lambda *_: _raise(ConfigError(["a: wrong"]))
    )
    other = part(changed({"settings.checkpoint_interval": "7m"}, NOTHING_TO_READ))
    assert member.apply(other) == "a: wrong"
    monkeypatch.undo()
    assert member.report().health.reasons == []


def test_where_there_is_no_way_back_ray_starts_another_process(
    member: MemberProcess, monkeypatch: pytest.MonkeyPatch, ended: list[int]
) -> None:
    assert member.start(part(), {}) is None
    monkeypatch.setattr(
        "vmanomaly.service.service.create_models", lambda *_: _raise(RollbackError("neither"))
    )
    member.apply(part(changed({"settings.checkpoint_interval": "7m"}, NOTHING_TO_READ)))
    assert ended == [1]


def test_a_service_that_ends_of_itself_is_started_again_by_ray(
    member: MemberProcess, ended: list[int]
) -> None:
    assert member.start(part(), {}) is None
    service = member._service
    assert service is not None
    assert eventually(service._has_started.is_set)
    service.stop()
    assert eventually(lambda: ended == [1])


def test_what_it_logs_goes_to_the_head(member: MemberProcess) -> None:
    logging.getLogger("vmanomaly.reader.vm").error("%d of %d", 1, 2)
    (line,) = [line for line in member.report().lines if line.name == "vmanomaly.reader.vm"]
    record = line.record(3)
    assert (record.getMessage(), record.levelname, vars(record)["member"]) == ("1 of 2", "ERROR", 3)
    assert not [line for line in member.report().lines if line.name == "vmanomaly.reader.vm"]


def test_of_many_lines_the_latest_are_kept() -> None:
    lines = Lines()
    for number in range(1_500):
        lines.handle(logging.makeLogRecord({"msg": str(number)}))
    messages = [line.message for line in lines.take()]
    assert messages == [str(number) for number in range(500, 1_500)]


def _raise(error: Exception) -> None:
    raise error
