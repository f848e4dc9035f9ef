from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.fakes import FakeClock
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.service.health import Health
from vmanomaly.service.supervisor import MAX_RESTARTS, Supervisor

HOUR = 3_600_000


class MortalScheduler:
    """Lives as its lives say: each does something with the hook and ends, or raises."""

    def __init__(self, *lives: Callable[[Callable[[], None]], None]) -> None:
        self.lives = list(lives)
        self.n_lives = 0
        self.stopped = False

    def run(self, on_run_ended: Callable[[], None]) -> tuple[str, ...]:
        self.n_lives += 1
        if self.lives:
            self.lives.pop(0)(on_run_ended)
        return ()

    def stop(self) -> None:
        self.stopped = True


def die(on_run_ended: Callable[[], None]) -> None:
    raise ZeroDivisionError("out of range")


class World:
    def __init__(self, scheduler: MortalScheduler, max_restarts: int = MAX_RESTARTS) -> None:
        self.metrics, self.health = Metrics(), Health({})
        self.ticks: list[tuple[int, float | None, list[str]]] = []
        self.clock = FakeClock(0, self.look)
        self.supervisor = Supervisor(
            "s", scheduler, max_restarts, self.clock, self.health, self.metrics
        )

    def look(self, now: int) -> None:
        self.ticks.append((now, self.metric("scheduler_alive"), self.health.reasons()))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            f"vmanomaly_{name}", {"scheduler_alias": "s", "preset": "default", **labels}
        )

    def restarts(self, status: str) -> float | None:
        return self.metric("scheduler_restarts_total", status=status)


def test_a_scheduler_that_dies_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[object, float | None]] = []

    def live(on_run_ended: Callable[[], None]) -> None:
        seen.append((world.metric("scheduler_alive"), world.restarts("success")))
        on_run_ended()
        seen.append((world.health.reasons(), world.restarts("success")))
        on_run_ended()

    world = World(MortalScheduler(die, live))
    with caplog.at_level(logging.INFO):
        assert world.supervisor.run() == ()
    assert world.ticks == [(1000, 0.0, ["scheduler 's': died (ZeroDivisionError: out of range)"])]
    assert seen == [(1.0, 0.0), ([], 1.0)]
    assert (world.restarts("success"), world.restarts("failure")) == (1.0, 0.0)
    assert "Scheduler 's' is not alive; restart attempt 1 of 5 follows in 1 s" in caplog.messages
    assert "Scheduler 's' restarted successfully" in caplog.messages
    assert world.metric("scheduler_alive") == 0


@pytest.mark.parametrize("error", [SystemExit("3"), KeyboardInterrupt("3"), GeneratorExit("3")])
def test_nothing_that_is_raised_ends_it_unnoticed(error: BaseException) -> None:
    def leave(on_run_ended: Callable[[], None]) -> None:
        raise error

    world = World(MortalScheduler(*[leave] * 9))
    died = f"died ({type(error).__name__}: 3)"
    assert world.supervisor.run() == (died,)
    assert world.restarts("failure") == MAX_RESTARTS
    assert world.metric("scheduler_alive") == 0
    assert world.health.reasons_to_restart() == [
        f"scheduler 's': {died} and is not restarted any more"
    ]


def test_it_is_given_up_after_five_restarts_each_later_than_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler = MortalScheduler(*[die] * 9)
    world = World(scheduler)
    assert world.supervisor.run() == ("died (ZeroDivisionError: out of range)",)
    assert [now for now, _, _ in world.ticks] == [1000, 3000, 7000, 15_000, 31_000]
    assert scheduler.n_lives == 6
    assert (world.restarts("success"), world.restarts("failure")) == (0.0, 5.0)
    assert world.metric("scheduler_alive") == 0
    assert world.health.reasons() == [
        "scheduler 's': died (ZeroDivisionError: out of range) and is not restarted any more"
    ]
    assert "max restart attempts reached (5)" in caplog.text


def test_runs_in_between_do_not_make_restarts_endless() -> None:
    def run_once_and_die(on_run_ended: Callable[[], None]) -> None:
        on_run_ended()
        raise ZeroDivisionError

    scheduler = MortalScheduler(*[run_once_and_die] * 9)
    world = World(scheduler)
    assert world.supervisor.run() == ("died (ZeroDivisionError: )",)
    assert scheduler.n_lives == 6
    assert (world.restarts("success"), world.restarts("failure")) == (5.0, 0.0)


def test_restarts_are_forgotten_after_an_hour_of_life() -> None:
    def die_old(on_run_ended: Callable[[], None]) -> None:
        on_run_ended()
        world.clock.time += HOUR + 1
        raise ZeroDivisionError

    scheduler = MortalScheduler(*[die_old] * 20)
    world = World(scheduler)
    assert world.supervisor.run() == ()
    assert scheduler.n_lives == 21
    assert world.restarts("success") == 19


def test_a_scheduler_that_ends_by_itself_is_not_started_again() -> None:
    scheduler = MortalScheduler(die)
    assert World(scheduler, max_restarts=0).supervisor.run() == (
        "died (ZeroDivisionError: out of range)",
    )
    assert scheduler.n_lives == 1


def test_stop_ends_the_wait_for_a_restart() -> None:
    scheduler = MortalScheduler(die)
    world = World(scheduler)
    world.clock.on_tick = lambda now: world.supervisor.stop()
    assert world.supervisor.run() == ()
    assert scheduler.n_lives == 1
    assert scheduler.stopped
