"""Another configuration takes the place of one that runs."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.config_helpers import changed, load, without
from tests.fakes import FakeReader, FakeWriter, SteppedClock, eventually
from vmanomaly.config import Config
from vmanomaly.config.reader import Query
from vmanomaly.config.writer import WriterSection
from vmanomaly.errors import RollbackError, VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey, Labels, SeriesBatch, TimeRange
from vmanomaly.service import Service
from vmanomaly.service.job import QueryJob

pytestmark = pytest.mark.slow

MINUTE = 60_000
START = 1_000 * MINUTE
MODEL = {"class": "zscore_online", "queries": "all", "schedulers": "all"}
BASE: dict[str, Any] = {
    "reader": {
        "datasource_url": "http://localhost:8428",
        "sampling_period": "1m",
        "eval_delay": "0s",
        "queries": {"a": {"expr": "a"}, "b": {"expr": "b"}},
    },
    "schedulers": {
        "quick": {"class": "periodic", "infer_every": "1m", "fit_every": "1d", "fit_window": "1h"},
        "slow": {"class": "periodic", "infer_every": "2m", "fit_every": "1d", "fit_window": "1h"},
    },
    "models": {
        "x": {**MODEL, "schedulers": ["quick"]},
        "y": {**MODEL, "queries": ["a"], "schedulers": ["slow"]},
    },
    "writer": {"datasource_url": "http://localhost:8428"},
}


def answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    values = (grid // MINUTE % 7).astype(np.float64)
    return SeriesBatch((Labels({"query": query.alias}),), grid, values[np.newaxis])


class World:
    """A service on fakes whose time is moved on by hand."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        config: Mapping[str, Any] = BASE,
        environ: Mapping[str, str] | None = None,
        now: int = START,
        progress: Mapping[JobKey, Progress] | None = None,
    ) -> None:
        self.environ = environ
        self.readers: list[FakeReader] = []
        self.writers: list[FakeWriter] = []
        self.answer: Callable[[Query, TimeRange, str], SeriesBatch] = answer
        self.bad_writers: list[str] = []
        monkeypatch.setattr("vmanomaly.service.work.create_reader", self._create_reader)
        monkeypatch.setattr("vmanomaly.service.service.create_writer", self._create_writer)
        self.clock = SteppedClock(now)
        self.start(config, progress)

    def start(
        self, config: Mapping[str, Any], progress: Mapping[JobKey, Progress] | None = None
    ) -> None:
        self.metrics = Metrics()
        self.service = Service(
            load(config, self.environ), self.clock, self.metrics, progress=progress
        )
        self.thread = threading.Thread(target=self.service.run)
        self.thread.start()

    def _create_reader(self, *_: object) -> FakeReader:
        self.readers.append(FakeReader(self._answer))
        return self.readers[-1]

    def _answer(self, query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        return self.answer(query, time_range, stage)

    def _create_writer(self, section: WriterSection, *_: object) -> FakeWriter:
        url = section.datasource_url if hasattr(section, "datasource_url") else ""
        if url in self.bad_writers:
            raise VmanomalyError(f"{url} is bad")
        self.writers.append(FakeWriter())
        return self.writers[-1]

    def asked(self, query: str, stage: str) -> list[TimeRange]:
        """Return the ranges in which a query was read, by whatever reader."""
        return [
            time_range
            for reader in self.readers
            for alias, time_range, asked_for in list(reader.asked)
            if (alias, asked_for) == (query, stage)
        ]

    def scored(self, scheduler: str, model: str, query: str) -> list[int]:
        """Return the minutes since the start that a unit has scored, in the order of writing."""
        return [
            int(timestamp - START) // MINUTE
            for writer in self.writers
            for predictions, to in list(writer.written)
            if (to.scheduler_alias, to.model_alias, to.query_key) == (scheduler, model, query)
            for timestamp in predictions.timestamps
        ]

    def runs(self, stage: str, scheduler: str, model: str, query: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "vmanomaly_model_runs_total",
            {
                "stage": stage,
                "query_key": query,
                "model_alias": model,
                "scheduler_alias": scheduler,
                "preset": "default",
            },
        )

    def pass_minutes(self, n: int) -> None:
        """Let time pass, a minute after the other, each to the end of its runs."""
        for _ in range(n):
            self.clock.advance(MINUTE)
            self.settle()

    def settle(self) -> None:
        """Wait until every job has come as far as it can by now."""
        for job in (job for jobs in self.service._work.jobs.values() for job in jobs):
            assert eventually(lambda job=job: self.is_done(job)), job.name  # type: ignore[misc]

    def is_done(self, job: QueryJob) -> bool:
        every = int(self.service._work.config.schedulers[job.key.scheduler_alias].infer_every)  # type: ignore[attr-defined]
        covered = job.progress.covered
        return covered is not None and self.clock.now() - covered < every

    def apply(self, config: Mapping[str, Any]) -> None:
        self.service.apply(load(config, self.environ))

    def close(self) -> None:
        self.service.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    world = World(monkeypatch)
    try:
        world.settle()
        world.pass_minutes(3)
        yield world
    finally:
        world.close()


def continuous(minutes: list[int]) -> bool:
    """Tell whether every minute is there once, in order."""
    return minutes == list(range(minutes[0], minutes[-1] + 1))


def threads() -> dict[str, threading.Thread]:
    return {each.name: each for each in threading.enumerate() if each.name.startswith("scheduler ")}


SMALL_CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "another query": {"reader.queries.c": {"expr": "c"}},
    "another model": {"models.z": {**MODEL, "class": "mad_online"}},
    "another scheduler": {
        "schedulers.other": {"infer_every": "1m", "fit_every": "1d", "fit_window": "1h"},
        "models.z": {**MODEL, "class": "mad_online", "schedulers": ["other"]},
    },
    "a policy": {"models.x.min_dev_from_expected": 0.5},
    "an output": {"models.x.provide_series": ["yhat"]},
    "a timeout of the reader": {"reader.timeout": "7s"},
    "a password of the reader": {"reader.user": "me", "reader.password": "sesame"},
    "the writer": {"writer.timeout": "7s"},
}


@pytest.mark.parametrize("change", SMALL_CHANGES)
def test_what_a_change_does_not_affect_continues_without_gap_or_fit(
    world: World, change: str
) -> None:
    world.apply(changed(SMALL_CHANGES[change], BASE))
    world.pass_minutes(3)
    for names in (("quick", "x", "a"), ("quick", "x", "b"), ("slow", "y", "a")):
        assert continuous(world.scored(*names)), names
        assert world.runs("fit", *names) == 1
    assert world.scored("quick", "x", "a")[-1] == 6


@pytest.mark.parametrize("change", ["nothing", "the writer", "another scheduler"])
def test_a_scheduler_whose_work_is_the_same_is_not_even_stopped(world: World, change: str) -> None:
    before = threads()
    world.apply(changed(SMALL_CHANGES[change], BASE))
    assert before.items() <= threads().items()


def test_only_the_schedulers_concerned_are_stopped(world: World) -> None:
    before = threads()
    world.apply(changed({"models.y.min_dev_from_expected": 0.5}, BASE))
    after = threads()
    assert before["scheduler quick"] is after["scheduler quick"]
    assert before["scheduler slow"] is not after["scheduler slow"]


def test_another_query_is_fitted_at_once(world: World) -> None:
    world.apply(changed({"reader.queries.c": {"expr": "c"}}, BASE))
    world.settle()
    assert eventually(lambda: world.runs("fit", "quick", "x", "c") == 1)
    assert world.scored("quick", "x", "c") == [3]
    world.pass_minutes(2)
    assert world.scored("quick", "x", "c") == [3, 4, 5]


def test_another_model_on_a_query_is_fitted_alone(world: World) -> None:
    world.apply(changed({"models.z": {**MODEL, "queries": ["a"], "schedulers": ["quick"]}}, BASE))
    world.pass_minutes(2)
    assert world.runs("fit", "quick", "z", "a") == 1
    assert world.runs("fit", "quick", "x", "a") == 1
    assert len(world.asked("b", "fit")) == 1


CHANGES_OF_THE_LEARNED: dict[str, tuple[dict[str, Any], set[tuple[str, str, str]]]] = {
    "a parameter": ({"models.x.decay": 0.9}, {("quick", "x", "a"), ("quick", "x", "b")}),
    "an expression": ({"reader.queries.b.expr": "2 * b"}, {("quick", "x", "b")}),
    "the source": (
        {"reader.datasource_url": "http://other:8428"},
        {("quick", "x", "a"), ("quick", "x", "b"), ("slow", "y", "a")},
    ),
    "the grid": ({"schedulers.slow.infer_every": "4m"}, {("slow", "y", "a")}),
}


@pytest.mark.parametrize("change", CHANGES_OF_THE_LEARNED)
def test_what_is_learned_differently_is_refitted(world: World, change: str) -> None:
    changes, concerned = CHANGES_OF_THE_LEARNED[change]
    world.apply(changed(changes, BASE))
    for names in concerned:
        assert eventually(lambda names=names: world.runs("fit", *names) == 2), names  # type: ignore[misc]
    world.pass_minutes(1)
    for names in (("quick", "x", "a"), ("quick", "x", "b"), ("slow", "y", "a")):
        assert world.runs("fit", *names) == (2 if names in concerned else 1), names


def test_a_policy_holds_from_the_next_run_on(world: World) -> None:
    world.apply(changed({"models.x.provide_series": ["yhat"]}, BASE))
    world.pass_minutes(1)
    predictions = [p for p, to in world.writers[-1].written if to.model_alias == "x"]
    assert list(predictions[-1].outputs) == ["yhat"]
    assert len(predictions[0].outputs) > 1


def test_what_is_removed_no_longer_runs_and_is_no_longer_exposed(world: World) -> None:
    world.apply(without("schedulers.slow", without("models.y", BASE)))
    assert "scheduler slow" not in threads()
    n_scored = len(world.scored("slow", "y", "a"))
    world.pass_minutes(4)
    assert len(world.scored("slow", "y", "a")) == n_scored
    exposed = {
        (sample.name, label)
        for family in world.metrics.registry.collect()
        for sample in family.samples
        for label in sample.labels.values()
    }
    assert {name for name, label in exposed if label in {"slow", "y"}} == set()
    assert ("vmanomaly_scheduler_alive", "quick") in exposed


def test_the_run_that_is_under_way_is_waited_for(world: World) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow_answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        if query.alias == "b":
            entered.set()
            go_on.wait(60)
        return answer(query, time_range, stage)

    world.answer = slow_answer
    world.clock.advance(MINUTE)
    assert entered.wait(60)
    applying = threading.Thread(
        target=world.apply, args=(changed({"models.x.min_dev_from_expected": 0.5}, BASE),)
    )
    applying.start()
    assert eventually(lambda: "scheduler quick" not in threads())
    assert applying.is_alive()
    world.clock.advance(MINUTE)
    go_on.set()
    applying.join(60)
    assert not applying.is_alive()
    world.settle()
    for query in ("a", "b"):
        assert world.scored("quick", "x", query) == list(range(6))
        assert world.runs("fit", "quick", "x", query) == 1


def test_a_scheduler_that_is_replaced_is_no_longer_dead(world: World) -> None:
    world.service.health.report(
        "scheduler 'slow'", "died (ZeroDivisionError) and is not restarted any more"
    )
    world.apply(changed({"models.y.decay": 0.9}, BASE))
    assert world.service.health.reasons() == []


def test_a_new_writer_takes_the_place_of_the_old_one(world: World) -> None:
    world.apply(changed({"writer.timeout": "7s"}, BASE))
    n_before = len(world.writers[0].written)
    world.pass_minutes(1)
    assert len(world.writers) == 2
    assert len(world.writers[0].written) == n_before
    assert world.writers[1].written


def test_what_cannot_be_applied_leaves_everything_as_it_was(world: World) -> None:
    world.bad_writers = ["http://bad:8428"]
    bad = changed(
        {
            "writer.datasource_url": "http://bad:8428",
            "models.x.decay": 0.9,
            "models.y.decay": 0.9,
            "reader.datasource_url": "http://other:8428",
        },
        BASE,
    )
    with pytest.raises(VmanomalyError, match="is bad"):
        world.apply(bad)
    world.pass_minutes(3)
    for names in (("quick", "x", "a"), ("quick", "x", "b"), ("slow", "y", "a")):
        assert continuous(world.scored(*names))
        assert world.runs("fit", *names) == 1
    assert world.service._work.config == load(BASE)
    world.apply(changed({"models.x.decay": 0.9}, BASE))
    assert eventually(lambda: world.runs("fit", "quick", "x", "a") == 2)


def test_no_way_back_is_told_apart(world: World) -> None:
    world.bad_writers = ["http://bad:8428", "http://localhost:8428"]
    with pytest.raises(RollbackError, match=r"bad\. The rollback failed too: "):
        world.apply(changed({"writer.datasource_url": "http://bad:8428"}, BASE))


@pytest.mark.parametrize("seed", range(5))
def test_one_change_after_the_other(
    world: World, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(6):
        changes = chance.sample(sorted(SMALL_CHANGES), 2)
        world.apply(changed({**SMALL_CHANGES[changes[0]], **SMALL_CHANGES[changes[1]]}, BASE))
        world.pass_minutes(1)
    for names in (("quick", "x", "a"), ("quick", "x", "b"), ("slow", "y", "a")):
        assert continuous(world.scored(*names))
        assert world.runs("fit", *names) == 1
    assert "Traceback" not in caplog.text
    readers_in_use = {id(work.reader) for work in world.service._schedulers.works}
    assert len(readers_in_use) <= 2


def test_states_on_disk_follow_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a reload keeps or adds outlives the process; what it drops does not."""
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    base = changed({"settings.restore_state": True}, BASE)
    world = World(monkeypatch, base, {"VMANOMALY_MODEL_DUMPS_DIR": str(tmp_path)})
    units = [("quick", "x", "a"), ("quick", "x", "b"), ("slow", "y", "a")]
    try:
        world.settle()
        world.pass_minutes(2)
        more = changed({"reader.queries.c": {"expr": "c"}, "models.y.decay": 0.9}, base)
        world.apply(more)
        world.pass_minutes(3)
        assert [world.runs("fit", *names) for names in units] == [1, 1, 2]
        assert world.runs("fit", "quick", "x", "c") == 1
        world.close()

        world.start(more)
        world.pass_minutes(3)
        assert [world.runs("fit", *names) for names in units] == [None, None, None]
        assert world.runs("fit", "quick", "x", "c") is None
        for names in (("quick", "x", "a"), ("quick", "x", "b"), ("quick", "x", "c")):
            assert continuous(world.scored(*names))
        world.apply(base)
        world.close()

        world.start(more)
        world.pass_minutes(2)
        assert world.runs("fit", "quick", "x", "a") is None
        assert world.runs("fit", "quick", "x", "c") == 1
        assert world.runs("fit", "slow", "y", "a") == 1
    finally:
        world.close()


def test_a_stop_ends_an_apply_that_waits(world: World) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hang(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        entered.set()
        go_on.wait(60)
        return answer(query, time_range, stage)

    world.answer = hang
    world.clock.advance(MINUTE)
    assert entered.wait(60)
    config: Config = load(changed({"models.x.decay": 0.9}, BASE))
    applying = threading.Thread(target=world.service.apply, args=(config,))
    applying.start()
    world.service.stop()
    go_on.set()
    applying.join(60)
    world.thread.join(60)
    assert not applying.is_alive()
    assert not world.thread.is_alive()
    assert threads() == {}


STUCK = "scheduler 'quick', query 'b'"


def test_a_scheduler_with_a_run_that_is_stuck_is_not_changed(world: World) -> None:
    world.service.health.report(STUCK, "model 'x' has been stuck", needs_restart=True)
    n_readers = len(world.readers)
    with pytest.raises(VmanomalyError, match=r"query 'b': model 'x' has been stuck.*restart"):
        world.apply(changed({"models.x.decay": 0.9, "models.y.decay": 0.9}, BASE))
    assert len(world.readers) == n_readers
    assert {"scheduler quick", "scheduler slow"} <= set(threads())
    world.apply(changed({"models.y.decay": 0.9}, BASE))
    world.service.health.report(STUCK, None)
    world.apply(changed({"models.x.decay": 0.9}, BASE))


def test_a_run_that_turns_out_to_be_stuck_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmanomaly.service.schedulers._LOOK_EVERY_S", 0.01)
    entered, go_on = threading.Event(), threading.Event()

    def hang(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        entered.set()
        go_on.wait(60)
        return answer(query, time_range, stage)

    world.answer = hang
    world.clock.advance(MINUTE)
    assert entered.wait(60)
    config = load(changed({"models.x.decay": 0.9}, BASE))
    with ThreadPoolExecutor(1) as threads_of_test:
        applying = threads_of_test.submit(world.service.apply, config)
        assert eventually(lambda: "scheduler quick" not in threads())
        world.service.health.report(STUCK, "model 'x' has been stuck", needs_restart=True)
        error = applying.exception(10)
        go_on.set()
    assert isinstance(error, RollbackError)
    assert "model 'x' has been stuck, and its run cannot be ended" in str(error)


def test_an_apply_waits_for_no_start_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("vmanomaly.service.service.warm_up", fail)
    monkeypatch.setattr("vmanomaly.service.work.create_reader", lambda *_: FakeReader(answer))
    monkeypatch.setattr("vmanomaly.service.service.create_writer", lambda *_: FakeWriter())
    service = Service(load(BASE), SteppedClock(START))
    with ThreadPoolExecutor(1) as threads_of_test:
        applying = threads_of_test.submit(
            service.apply, load(changed({"models.x.decay": 0.9}, BASE))
        )
        with pytest.raises(OSError, match="no space left"):
            service.run()
        assert applying.exception(10) is None
    assert threads() == {}
    assert eventually(lambda: "health" not in {each.name for each in threading.enumerate()})
