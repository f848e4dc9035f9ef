"""A service that continues where a process has come that is gone, and its states with it.

The oracle is a service that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from tests.config_helpers import changed
from tests.fakes import FakeWriter, eventually
from tests.service.test_service_apply import BASE, MINUTE, MODEL, START, World
from vmanomaly.config.reader import Query
from vmanomaly.series import Labels, SeriesBatch, TimeRange

pytestmark = pytest.mark.slow

FIT_EVERY = 10
CONTENT: dict[str, Any] = changed(
    {
        "models": {"x": {**MODEL, "schedulers": ["quick"]}},
        "reader.queries": {"a": {"expr": "a"}},
        "schedulers": {
            "quick": {
                "class": "periodic",
                "infer_every": "1m",
                "fit_every": f"{FIT_EVERY}m",
                "fit_window": "1h",
            }
        },
    },
    BASE,
)
ONLINE = {"class": "zscore_online"}
NOT_ONLINE = {"class": "rolling_quantile", "quantile": 0.5, "window_steps": 5}
REPLICAS = {"VMANOMALY_MEMBERS_COUNT": "2", "VMANOMALY_REPLICATION_FACTOR": "2"}


def irregular(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    values = (grid // MINUTE * 7919 % 1009).astype(np.float64)
    return SeriesBatch((Labels({"query": query.alias}),), grid, values[np.newaxis])


def forecasts(*worlds: World) -> list[tuple[int, float]]:
    """Return what was written, in the order of writing, by minutes since the start."""
    return [
        (int(timestamp - START) // MINUTE, float(yhat))
        for world in worlds
        for writer in world.writers
        for predictions, _ in list(writer.written)
        for timestamp, yhat in zip(
            predictions.timestamps, predictions.outputs["yhat"][0], strict=True
        )
    ]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    monkeypatch.setattr("tests.service.test_service_apply.answer", irregular)
    worlds: list[World] = []

    def begin(
        content: Mapping[str, Any] = CONTENT, environ: Mapping[str, str] | None = None, **more: Any
    ) -> World:
        world = World(monkeypatch, content, environ, **more)
        worlds.append(world)
        world.settle()
        return world

    yield begin
    for world in worlds:
        world.close()


@pytest.mark.parametrize("environ", [None, REPLICAS], ids=["alone", "replicas"])
@pytest.mark.parametrize("model", [ONLINE, NOT_ONLINE], ids=["online", "not online"])
@pytest.mark.parametrize(("died", "later"), [(0, 3), (4, 8), (13, 0), (4, 21)])
def test_no_timestamp_is_missing_or_twice_and_the_scores_are_the_same(
    start: Any, environ: dict[str, str] | None, model: dict[str, Any], died: int, later: int
) -> None:
    content = changed({"models.x": {**CONTENT["models"]["x"], **model}}, CONTENT)
    undisturbed = start(content, environ)
    undisturbed.pass_minutes(died + later + 5)
    first = start(content, environ)
    first.pass_minutes(died)
    # Noted once the scores are delivered.
    assert eventually(lambda: bool(first.service.progress()))
    second = start(
        content,
        environ,
        now=START + (died + later) * MINUTE,
        progress=first.service.progress(),
    )
    second.pass_minutes(5)
    found, expected = forecasts(first, second), forecasts(undisturbed)
    minutes = [minute for minute, _ in found]
    assert minutes == list(range(minutes[0], minutes[0] + len(minutes)))
    assert minutes == [minute for minute, _ in expected]
    n_missed_fits = (died + later) // FIT_EVERY - died // FIT_EVERY
    # Of several fits that were missed only the last is made up.
    n_equal = len(minutes) if n_missed_fits <= 1 else FIT_EVERY
    values = [value for _, value in found[:n_equal]]
    assert values == pytest.approx([value for _, value in expected[:n_equal]], rel=1e-12)
    assert len(set(values)) > 1


def test_it_can_be_interrupted_again_before_its_first_run(start: Any) -> None:
    first = start()
    first.pass_minutes(3)
    second = start(now=START + 5 * MINUTE, progress=first.service.progress())
    second.close()
    progress = first.service.progress()
    assert progress
    third = start(now=START + 6 * MINUTE, progress=second.service.progress())
    minutes = [minute for minute, _ in forecasts(first, second, third)]
    assert minutes == list(range(minutes[0], minutes[-1] + 1))
    assert minutes[-1] == 6


def test_a_fit_too_long_ago_is_made_again(start: Any) -> None:
    """With a replay of months a start would take for ever."""
    content = changed({"schedulers.quick.fit_every": "1000d"}, CONTENT)
    first = start(content)
    first.pass_minutes(70)
    second = start(content, now=START + 75 * MINUTE, progress=first.service.progress())
    minutes = [minute for minute, _ in forecasts(first, second)]
    assert minutes == list(range(minutes[0], 76))
    fit, *more = [
        time_range
        for reader in second.readers
        for _, time_range, stage in reader.asked
        if stage == "fit"
    ]
    assert not more
    assert fit == TimeRange(START + 10 * MINUTE, START + 70 * MINUTE)


def test_what_waits_in_a_queue_is_scored_again(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start()
    first.pass_minutes(2)
    before = first.service.progress()
    monkeypatch.setattr(FakeWriter, "n_queued", 3)
    first.pass_minutes(2)
    assert first.service.progress() == before
    monkeypatch.setattr(FakeWriter, "n_queued", 0)
    first.pass_minutes(1)
    (progress,) = first.service.progress().values()
    assert progress.covered == START + 5 * MINUTE
