from __future__ import annotations

from typing import Any

import numpy as np

from tests.service.test_service_job import World, config, run, two_series
from vmanomaly.config import Config
from vmanomaly.errors import DatasourceError
from vmanomaly.series import SeriesBatch
from vmanomaly.service.readiness import Readiness

__all__ = ["config"]  # A fixture.


def refuse(*_: Any) -> SeriesBatch:
    raise DatasourceError("answered 401", "401")


def readiness_of(world: World) -> Readiness:
    return Readiness(lambda: [world.cpu, world.mem], world.health)


def test_every_model_has_to_be_fitted(config: Config) -> None:
    world = World(config, two_series)
    readiness = readiness_of(world)
    (reason,) = readiness.reasons()
    assert reason.endswith("models wait for their first fit: queries cpu, mem")
    world.cpu.execute(run())
    (reason,) = readiness.reasons()
    assert reason.endswith("wait for their first fit: queries mem")
    world.mem.execute(run())
    assert readiness.reasons() == []


def test_a_model_that_was_restored_is_ready(config: Config) -> None:
    world, stored = World(config, two_series), World(config, two_series)
    for job in (stored.cpu, stored.mem):
        job.execute(run(infer=None))
    readiness = readiness_of(world)
    for job, before in ((world.cpu, stored.cpu), (world.mem, stored.mem)):
        for unit, other in zip(job.units, before.units, strict=True):
            content = other.content
            assert content is not None
            unit.restore(content)
    assert readiness.reasons() == []


def test_a_query_that_fails_holds_up_no_other(config: Config) -> None:
    world = World(config, two_series)
    readiness = readiness_of(world)
    world.cpu.execute(run())
    world.reader.answer = refuse
    world.mem.execute(run())
    assert readiness.reasons() == []
    assert world.health.reasons() == ["reader: query mem: answered 401"]


def test_it_is_not_ready_while_every_query_fails(config: Config) -> None:
    world = World(config, refuse)
    readiness = readiness_of(world)
    for job in (world.cpu, world.mem):
        job.execute(run())
    assert readiness.reasons() == ["no model could be fitted, since its query fails: see /health"]


def test_what_was_ready_once_stays_it_when_models_come(config: Config) -> None:
    world, later = World(config, two_series), World(config, two_series)
    jobs = [world.cpu, world.mem]
    readiness = Readiness(lambda: jobs, world.health)
    for job in jobs:
        job.execute(run())
    assert readiness.reasons() == []
    jobs.append(later.cpu)
    assert readiness.reasons() == []


def test_it_is_not_ready_while_a_restart_is_needed(config: Config) -> None:
    world = World(config, two_series)
    for job in (world.cpu, world.mem):
        job.execute(run())
    world.health.report("lane 's'", "is stuck", needs_restart=True)
    assert readiness_of(world).reasons() == ["lane 's': is stuck"]


def test_a_range_without_a_step_says_nothing_about_the_datasource(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run(infer=None))
    world.reader.answer = refuse
    world.cpu.execute(run(fit=None))
    failing = ["reader: query cpu: answered 401"]
    assert world.health.reasons() == failing

    def nothing(*_: Any) -> SeriesBatch:
        return SeriesBatch((), np.empty(0, np.int64), np.empty((0, 0)))

    world.reader.answer = nothing
    world.cpu.execute(run(fit=None))
    assert world.health.reasons() == failing
