"""Members that share the work of a configuration, on a clock that is moved on by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.config_helpers import changed
from tests.fakes import eventually
from tests.service.test_service_apply import BASE, MINUTE, MODEL, START, World
from vmanomaly.config.reader import Query
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.state.index import read_index

pytestmark = pytest.mark.slow

FOUR: dict[str, Any] = changed(
    {
        "models": {"x": {**MODEL, "schedulers": ["quick"]}},
        "reader.queries": {name: {"expr": name} for name in "abcd"},
        "schedulers": {
            "quick": {
                "class": "periodic",
                "infer_every": "1m",
                "fit_every": "30m",
                "fit_window": "1h",
            }
        },
    },
    BASE,
)
"""Four sub-configs: quick:x:a to quick:x:d."""


def environ(number: int, count: int, replication_factor: int = 1) -> dict[str, str]:
    return {
        "VMANOMALY_MEMBERS_COUNT": str(count),
        "VMANOMALY_MEMBER_NUM": f"vmanomaly-{number}",
        "VMANOMALY_REPLICATION_FACTOR": str(replication_factor),
    }


def queries(world: World) -> set[str]:
    work = world.service._work
    return {query for jobs in work.jobs.values() for job in jobs for query in job.key.queries}


def entities(world: World) -> tuple[float | None, float | None]:
    registry = world.metrics.registry
    total, shard = (
        registry.get_sample_value(
            "vmanomaly_config_entities", {"preset": "default", "scope": scope}
        )
        for scope in ("total", "shard")
    )
    return total, shard


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worlds]:
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    worlds = Worlds(monkeypatch)
    yield worlds
    for world in worlds.started:
        world.service.stop()
        world.thread.join(60)


class Worlds:
    """Members, each with a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.started: list[World] = []

    def start(
        self, content: Mapping[str, Any], variables: Mapping[str, str], now: int = START
    ) -> World:
        world = World(self.monkeypatch, content, variables, now)
        assert eventually(world.service._has_started.is_set)
        self.started.append(world)
        return world


def test_each_member_runs_its_part(worlds: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    members = [worlds.start(FOUR, environ(number, 3)) for number in range(3)]
    assert [queries(member) for member in members] == [{"a", "d"}, {"b"}, {"c"}]
    assert [entities(member) for member in members] == [(4, 2), (4, 1), (4, 1)]
    assert (
        "Member 0 of 3 (from 0), replication factor 1, split by complete: 2 of 4 sub-configs: "
        "quick:x:a, quick:x:d"
    ) in caplog.messages
    assert not [line for line in caplog.messages if "dedup" in line]


def test_one_alone_counts_all_of_its_units(worlds: Worlds) -> None:
    assert entities(worlds.start(BASE, {})) == (3, 3)


def test_replicas_say_that_the_database_must_deduplicate(
    worlds: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worlds.start(FOUR, environ(0, 3, 2))
    (line,) = [line for line in caplog.messages if "dedup" in line]
    assert "-dedup.minScrapeInterval" in line


class TestNothingToDo:
    def test_it_stays_up_and_well(self, worlds: Worlds, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        idle = worlds.start(FOUR, environ(5, 6))
        idle.thread.join(0.3)
        assert idle.thread.is_alive()
        assert idle.service.health.status().reasons == []
        assert eventually(lambda: idle.service.readiness.reasons() == [])
        assert entities(idle) == (4, 0)
        assert any(line.endswith("0 of 4 sub-configs: nothing to do") for line in caplog.messages)
        assert not [each for each in caplog.records if each.levelname not in ("INFO", "DEBUG")]

    def test_it_takes_work_when_there_is_more_and_gives_it_back(self, worlds: Worlds) -> None:
        idle = worlds.start(FOUR, environ(4, 5))
        more = changed({"reader.queries.e": {"expr": "e"}}, FOUR)
        idle.apply(more)
        assert queries(idle) == {"e"}
        idle.settle()
        assert idle.scored("quick", "x", "e") == [0]
        assert entities(idle) == (5, 1)
        idle.apply(FOUR)
        assert queries(idle) == set()
        assert entities(idle) == (4, 0)
        idle.thread.join(0.3)
        assert idle.thread.is_alive()

    def test_it_ends_where_the_others_end_too(self, worlds: Worlds) -> None:
        once = {
            "class": "oneoff",
            "fit_start_s": 0,
            "fit_end_s": 60,
            "infer_start_s": 60,
            "infer_end_s": 120,
        }
        idle = World(worlds.monkeypatch, changed({"schedulers.quick": once}, FOUR), environ(4, 5))
        idle.thread.join(60)
        assert not idle.thread.is_alive()


def test_what_changes_only_for_another_member_restarts_nothing(worlds: Worlds) -> None:
    member = worlds.start(FOUR, environ(0, 2))
    member.settle()
    jobs = member.service._work.jobs["quick"]
    member.apply(changed({"reader.queries.b.expr": "rate(b)"}, FOUR))
    assert member.service._work.jobs["quick"] is jobs


def test_a_unit_that_moves_away_takes_its_state_with_it(worlds: Worlds, tmp_path: Path) -> None:
    content = changed({"settings.restore_state": True}, FOUR)
    variables = environ(0, 2) | {"VMANOMALY_MODEL_DUMPS_DIR": str(tmp_path)}
    member = worlds.start(content, variables)
    member.settle()

    def stored() -> set[str]:
        entries, _ = read_index(tmp_path)
        return {key.queries[0] for key in entries}

    assert eventually(lambda: stored() == {"a", "c"})
    # One more in front moves all the others on.
    member.apply(changed({"reader.queries._": {"expr": "_"}}, content))
    assert queries(member) == {"_", "b", "d"}
    member.settle()
    assert eventually(lambda: stored() == {"_", "b", "d"})


def test_a_member_that_is_started_without_work_drops_its_old_states(
    worlds: Worlds, tmp_path: Path
) -> None:
    content = changed({"settings.restore_state": True}, FOUR)
    folder = {"VMANOMALY_MODEL_DUMPS_DIR": str(tmp_path)}
    busy = worlds.start(content, environ(0, 2) | folder)
    busy.settle()
    busy.service.stop()
    busy.thread.join(60)
    assert read_index(tmp_path)[0]
    worlds.start(content, environ(4, 5) | folder)
    assert read_index(tmp_path)[0] == {}


def irregular(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    values = (grid // MINUTE * 7919 % 1009 + len(query.alias)).astype(np.float64)
    return SeriesBatch((Labels({"query": query.alias}),), grid, values[np.newaxis])


def samples(world: World, query: str) -> dict[int, dict[str, float]]:
    """Return what was written, by timestamp and output; the same timestamp only if alike."""
    found: dict[int, dict[str, float]] = {}
    for writer in world.writers:
        for predictions, to in list(writer.written):
            for column, timestamp in enumerate(predictions.timestamps):
                if to.query_key == query:
                    point = {
                        name: values[0, column] for name, values in predictions.outputs.items()
                    }
                    assert found.setdefault(int(timestamp), point) == point
    return found


@pytest.mark.parametrize("scatter", [False, True])
@pytest.mark.parametrize("later", [0, 1, 7 * MINUTE + 3, 20 * MINUTE, 31 * MINUTE, 90 * MINUTE])
def test_replicas_write_equal_samples_whenever_they_were_started(
    later: int, scatter: bool, worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.service.test_service_apply.answer", irregular)
    content = changed({"schedulers.quick.scatter_infer_jobs": scatter}, FOUR)
    first = worlds.start(content, environ(0, 3, 2))
    first.settle()
    first.pass_minutes(later // MINUTE)
    first.clock.advance(later % MINUTE)
    second = worlds.start(content, environ(1, 3, 2), START + later)
    for world in (first, second):
        world.settle()
        world.pass_minutes(35)
    assert (queries(first), queries(second)) == ({"a", "c", "d"}, {"a", "b", "d"})
    for query in "ad":
        of_first, of_second = samples(first, query), samples(second, query)
        assert max(of_first) == max(of_second)
        common = of_first.keys() & of_second.keys()
        # From the last fit before the second was started.
        assert min(common) <= START + later
        assert {each: of_first[each] for each in common} == {
            each: of_second[each] for each in common
        }
        assert common == set(range(min(common), max(common) + 1, MINUTE))
