from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import SteppedClock
from vmanomaly.errors import DatasourceError
from vmanomaly.reader.outcomes import Outcomes, Reading

URL = "http://vm/api"


class World:
    """Rounds of reads, a minute apart."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "vmanomaly")
        self.clock = SteppedClock()
        self.outcomes = Outcomes(logging.getLogger("vmanomaly.reader.vm"), self.clock)
        self.caplog = caplog

    def fail(self, code: str, *queries: str, stage: str = "infer", scheduler: str = "s") -> None:
        for query in queries:
            error = DatasourceError(f"Error querying {query}: {code}", code)
            self.outcomes.fails(Reading(scheduler, query, stage), URL, error)

    def work(self, *queries: str, stage: str = "infer", scheduler: str = "s") -> None:
        for query in queries:
            self.outcomes.works(Reading(scheduler, query, stage), URL)

    def next_round(self) -> None:
        self.clock.advance(60_000)

    def told(self) -> list[str]:
        messages = self.caplog.messages
        self.caplog.clear()
        return messages


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    return World(caplog)


def test_queries_that_join_are_told_in_one_line(world: World) -> None:
    for _ in range(4):
        world.fail("timeout", "a", "b", "c")
        world.next_round()
    assert world.told() == [
        "Error querying a: timeout",
        f"Querying {URL} still fails (timeout) for 3 queries: a, b, c",
    ]
    world.work("a", "b")
    assert world.told() == []
    world.work("c")
    assert world.told() == [
        f"Querying {URL} works again after 240 s and 12 failures; 3 queries were affected"
    ]
    world.work("a", "b", "c")
    assert world.told() == []


def test_an_outage_of_one_round_is_told_in_two_lines(world: World) -> None:
    world.fail("503", "a", "b", "c")
    world.next_round()
    world.work("a", "b", "c")
    assert world.told() == [
        "Error querying a: 503",
        f"Querying {URL} works again after 60 s and 3 failures; 3 queries were affected",
    ]


def test_of_many_queries_ten_are_named(world: World) -> None:
    names = [f"q{number:02d}" for number in range(40)]
    world.fail("timeout", *names)
    world.fail("timeout", *names)
    _, summary = world.told()
    assert summary.endswith("for 40 queries: " + ", ".join(names[:10]) + " and 30 more")


@pytest.mark.parametrize("code", ["400", "422", "413"])
def test_a_query_that_is_refused_is_an_episode_of_its_own(world: World, code: str) -> None:
    for _ in range(3):
        world.fail(code, "a", "b")
        world.next_round()
    assert world.told() == [f"Error querying a: {code}", f"Error querying b: {code}"]
    world.work("b")
    assert world.told() == [f"Querying {URL} for b works again after 180 s and 3 failures"]
    world.fail(code, "a")
    assert world.told() == []


@pytest.mark.parametrize("code", ["connection_error", "timeout", "503", "401", "404", "429"])
def test_what_is_wrong_with_the_datasource_is_one_episode(world: World, code: str) -> None:
    world.fail(code, "a", "b")
    assert world.told() == [f"Error querying a: {code}"]


def test_another_cause_is_told_and_the_end_of_the_first_is_not(world: World) -> None:
    world.fail("connection_error", "a", "b")
    world.fail("503", "a", "b")
    assert world.told() == ["Error querying a: connection_error", "Error querying a: 503"]
    world.next_round()
    world.work("a", "b")
    assert world.told() == [
        f"Querying {URL} works again after 60 s and 2 failures; 2 queries were affected"
    ]
    world.fail("connection_error", "a")
    assert world.told() == ["Error querying a: connection_error"]


def test_a_slow_query_fails_on_while_others_recover(world: World) -> None:
    """The others have been hit by the same, and do not end it, nor tell it again."""
    world.fail("timeout", "slow", "a", "b")
    for _ in range(5):
        world.next_round()
        world.work("a", "b")
        world.fail("timeout", "slow")
    assert world.told() == ["Error querying slow: timeout"]
    world.next_round()
    world.work("slow")
    assert world.told()[0].startswith(f"Querying {URL} works again after 360 s and 8 failures")


def test_a_query_that_is_read_once_an_hour_does_not_hold_up_the_end(world: World) -> None:
    world.fail("timeout", "a", "b")
    world.fail("timeout", "a", "b", scheduler="hourly")
    world.told()
    world.next_round()
    world.work("a", "b")
    assert world.told() == []
    world.next_round()
    world.work("a")
    assert world.told() == [
        f"Querying {URL} works again after 120 s and 4 failures; 2 queries were affected"
    ]
    world.work("a", "b")
    world.work("a", "b", scheduler="hourly")
    assert world.told() == []
    world.fail("timeout", "a", scheduler="hourly")
    assert world.told() == ["Error querying a: timeout"]


def test_an_empty_result_is_told_when_it_begins_and_ends(world: World) -> None:
    reading = Reading("s", "a", "infer")
    for _ in range(2):
        world.outcomes.is_empty(reading, URL, "No unseen data for query_key a")
    world.next_round()
    world.work("a")
    assert world.told() == [
        "No unseen data for query_key a",
        f"Querying {URL} for a works again after 60 s and 2 empty results",
    ]


def test_partial_answers_are_one_episode(world: World) -> None:
    for query in ("a", "b"):
        world.outcomes.is_partial(Reading("s", query, "infer"), URL)
    world.work("a", "b")
    assert world.told() == [
        f"Partial data for a: {URL} says that it lacks a part",
        f"Querying {URL} works again after 0 s and 2 partial results; 2 queries were affected",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rounds=st.lists(
        st.lists(st.sampled_from(["works", "timeout", "503", "400", "empty"]), min_size=4),
        max_size=12,
    )
)
def test_every_failure_is_covered_by_a_line_and_nothing_is_left_at_the_end(
    caplog: pytest.LogCaptureFixture, rounds: Sequence[Sequence[str]]
) -> None:
    """Whatever happens: a failure has a line of its cause that no end has come after."""
    caplog.clear()
    world = World(caplog)
    names = ["a", "b", "c", "d"]
    for outcomes in rounds:
        for name, outcome in zip(names, outcomes, strict=False):
            if outcome == "works":
                world.work(name)
            elif outcome == "empty":
                world.outcomes.is_empty(Reading("s", name, "infer"), URL, f"No data for {name}")
            else:
                world.fail(outcome, name)
                started = [f"Error querying {other}: {outcome}" for other in names]
                at = [n for n, text in enumerate(caplog.messages) if text in started]
                assert at, f"{name} fails ({outcome}), and no line says so"
    for _ in range(2):
        world.work(*names)
    caplog.clear()
    for outcome in ("timeout", "503", "400"):
        world.fail(outcome, "a")
        assert world.told() == [f"Error querying a: {outcome}"]
