"""A model that does not come back is told of, and so is its return."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from tests.fakes import eventually
from vmanomaly.context import RunContext
from vmanomaly.service.health import Health
from vmanomaly.service.stuck import LIMITS_S, StuckModels

JOB = "scheduler 's', query 'q'"


@pytest.mark.parametrize("stage", ["fit", "infer"])
def test_a_model_that_hangs_needs_a_restart(
    stage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(LIMITS_S, stage, 0.0)
    health, given_back = Health({}), threading.Event()
    stuck = StuckModels(JOB, health)
    with caplog.at_level(logging.INFO):
        with stuck.watched(stage, "m", RunContext(), given_back.set):
            assert given_back.wait(60)
            assert eventually(lambda: health.status().needs_restart)
            assert health.reasons() == [f"{JOB}: model 'm' has been stuck in its {stage} for 0 s"]
        assert health.reasons() == []
    told = [record for record in caplog.records if record.name == "vmanomaly.service.stuck"]
    assert [record.levelno for record in told] == [logging.ERROR, logging.INFO]
    assert told[1].getMessage().startswith(f"{JOB}: the model returned after")


def test_a_model_that_shows_signs_of_life_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS_S, "fit", 0.0)
    looked, given_back = threading.Event(), threading.Event()

    class Context(RunContext):
        @property
        def checked_s(self) -> float:
            looked.set()
            return time.monotonic() + 60

        @checked_s.setter
        def checked_s(self, at: float) -> None: ...

    health = Health({})
    alive = Context()
    with StuckModels(JOB, health).watched("fit", "m", alive, given_back.set):
        assert looked.wait(60)
    assert not given_back.is_set()
    assert health.reasons() == []


def test_a_reason_is_forgotten_with_its_scheduler() -> None:
    health = Health({})
    health.report(JOB, "stuck", needs_restart=True)
    health.report("scheduler 'so', query 'q'", "stuck", needs_restart=True)
    health.forget_scheduler("s")
    assert health.reasons() == ["scheduler 'so', query 'q': stuck"]
