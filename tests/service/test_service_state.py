"""A service that is interrupted and restored gives what an uninterrupted one gives."""

from __future__ import annotations

import copy
import dataclasses
import errno
import logging
import random
import sqlite3
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
import yaml

from tests.history import END, FROM, ONLINE, STEP, answer, config, points_of
from tests.lives import DAY_MS, LIVE, Life, files, kept, on, uninterrupted
from vmanomaly.config import Config, load_config
from vmanomaly.errors import DatasourceError
from vmanomaly.series import Labels
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.preview import preview
from vmanomaly.state import StateStore

pytestmark = pytest.mark.slow

# Never in between, between two fits, and longer than fits are apart.
INTERVALS = ["0s", "13m", "1000d"]


@pytest.mark.parametrize(
    "interval",
    [pytest.param(every, marks=[] if every == "13m" else pytest.mark.slow) for every in INTERVALS],
)
@pytest.mark.parametrize("model", ONLINE)
def test_interrupted_at_any_point_the_numbers_are_the_same(
    tmp_path: Path, model: str, interval: str
) -> None:
    expected = uninterrupted(tmp_path, model)
    chance = random.Random(model + interval)  # noqa: S311 - reproducible
    life = Life(kept(tmp_path, model, checkpoint_interval=interval))
    n_lives = 0
    while life.clock.now() < END:
        n_lives += 1
        # One that dies before anything is stored leaves nothing to continue.
        if chance.random() < 0.5 and n_lives > 1:
            life.writer.n_left = chance.randrange(12)
        until = min(END, life.clock.now() + chance.randrange(1, 60) * STEP)
        life.run(until, cleanly=chance.random() < 0.2)
        life.clock.time += chance.randrange(30) * STEP if life.clock.now() < END else 0
    life.writer.n_left = None
    life.run(life.clock.now())
    assert n_lives > 5
    found = points_of(life.writer, repeated=True)
    assert {point: value for point, value in found.items() if point[3] <= END} == expected


def test_a_restart_reads_nothing_for_a_fit_until_one_is_due(tmp_path: Path) -> None:
    life = Life(kept(tmp_path, "zscore_online"))
    life.run(FROM + 40 * STEP)
    assert life.fits() == ["load"]
    life.clock.time += 8 * STEP
    life.run(FROM + 83 * STEP)
    asked = [time_range for _, time_range, _ in life.reader.asked]
    assert (asked[0].start, asked[0].end) == (FROM + 39 * STEP, FROM + 52 * STEP)
    assert life.fits() == []
    life.run(FROM + 84 * STEP)
    assert life.fits() == ["load"]


def test_a_stale_state_scores_up_to_the_fit_that_is_due(tmp_path: Path) -> None:
    expected = uninterrupted(tmp_path, "zscore_online")
    life = Life(kept(tmp_path, "zscore_online"))
    life.run(FROM + 40 * STEP)
    life.fits()
    life.clock.time += 80 * STEP
    life.run(life.clock.now())
    assert life.fits() == ["load"]
    found = points_of(life.writer)
    assert found == {
        point: value
        for point, value in expected.items()
        if point[3] <= max(at for _, _, _, at in found)
    }


def test_intervals_are_made_up_no_further_back_than_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(kept(tmp_path, "zscore_online", fit_every="1000d"))
    life.run(FROM + 40 * STEP)
    life.reader.asked.clear()
    life.clock.time += 2 * DAY_MS
    life.run(life.clock.now())
    (read,) = [time_range for _, time_range, _ in life.reader.asked]
    assert read.end - read.start == DAY_MS
    assert "is not scored: it is further back than is made up" in caplog.text


CHANGED = "refitted, because this has changed: models.zscore_online.z_threshold"
GONE = "dropped, because it is no longer in the configuration"
NEW = "fitted, because nothing is stored for it"


def unit(model: str, query: str, verdict: str) -> str:
    return f"scheduler 's', model '{model}', query '{query}': {verdict}"


class TestPartialReuse:
    """The example of the reference: a changed threshold, a query that goes and one that comes."""

    SECTIONS: ClassVar[dict[str, Any]] = {
        "settings": {"restore_state": True, "n_workers": 4},
        "schedulers": {
            "s": {
                "class": "periodic",
                "fit_every": "1000d",
                "infer_every": "1m",
                "fit_window": "2h",
            }
        },
        "models": {
            "zscore_online": {
                "class": "zscore_online",
                "z_threshold": 3.5,
                "decay": 0.99,
                "schedulers": ["s"],
                "queries": "all",
            },
            "quantile_online": {
                "class": "quantile_online",
                "schedulers": ["s"],
                "queries": ["q1", "q2"],
            },
        },
        "reader": {
            "datasource_url": "http://localhost:8428",
            "sampling_period": "1m",
            "eval_delay": "0s",
            "queries": {"q1": {"expr": "query 1"}, "q2": {"expr": "query 2"}},
        },
        "writer": {"datasource_url": "http://localhost:8428"},
    }

    @pytest.fixture
    def before(self, tmp_path: Path) -> Config:
        return self.config(tmp_path, self.SECTIONS)

    @pytest.fixture
    def after(self, tmp_path: Path) -> Config:
        sections = copy.deepcopy(self.SECTIONS)
        sections["settings"]["n_workers"] = 2
        sections["models"]["zscore_online"]["z_threshold"] = 3.0
        sections["models"]["quantile_online"]["queries"] = ["q1", "q3"]
        sections["reader"]["queries"]["q3"] = {"expr": "query 3"}
        return self.config(tmp_path, sections)

    def config(self, folder: Path, sections: dict[str, Any]) -> Config:
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(sections, sort_keys=False))
        return load_config([path], on(folder))

    def test_what_is_reused_and_what_is_not(
        self, before: Config, after: Config, caplog: pytest.LogCaptureFixture
    ) -> None:
        life = Life(before)
        life.run(FROM + 30 * STEP)
        assert sorted(life.fits()) == ["q1", "q2"]
        with caplog.at_level(logging.INFO):
            life.config = after
            keeper, jobs = life.start()
            keeper.restore(jobs)
        told = (message.removeprefix("Stored state of ") for message in caplog.messages)
        assert {message for message in told if message.startswith("scheduler")} == {
            unit("zscore_online", "q1", CHANGED),
            unit("zscore_online", "q2", CHANGED),
            unit("quantile_online", "q1", "reused, because nothing has changed"),
            unit("quantile_online", "q2", GONE),
        }
        unfitted = {unit.key[1:] for job in jobs for unit in job.units if unit.unfitted}
        assert unfitted == {
            ("zscore_online", ("q1",)),
            ("zscore_online", ("q2",)),
            ("zscore_online", ("q3",)),
            ("quantile_online", ("q3",)),
        }
        life.clock.time += 5 * STEP
        life.follow(jobs, FROM + 50 * STEP)
        keeper.close()
        assert sorted(life.fits()) == ["q1", "q2", "q3"]
        store = StateStore(Path(str(after.model_folder)))
        assert {(key.model_alias, key.queries) for key in store.entries} == {
            ("zscore_online", ("q1",)),
            ("zscore_online", ("q2",)),
            ("zscore_online", ("q3",)),
            ("quantile_online", ("q1",)),
            ("quantile_online", ("q3",)),
        }
        store.close()

    def test_a_new_model_on_a_query_does_not_affect_the_others(
        self, before: Config, after: Config
    ) -> None:
        def of_quantiles(life: Life) -> dict[tuple[Labels, int], float]:
            return {
                (predictions.labels[row], int(predictions.timestamps[column])): float(
                    predictions.outputs["yhat"][row, column]
                )
                for predictions, origin in life.writer.written
                if (origin.model_alias, origin.query_key) == ("quantile_online", "q1")
                for row, column in np.argwhere(~np.isnan(predictions.outputs["yhat"]))
            }

        life, undisturbed = Life(before), Life(dataclasses.replace(before, model_folder=None))
        undisturbed.run(FROM + 60 * STEP)
        life.run(FROM + 30 * STEP)
        life.config = after
        life.clock.time += 5 * STEP
        life.run(FROM + 60 * STEP)
        assert of_quantiles(life) == of_quantiles(undisturbed)

    def test_a_dry_run_reports_the_same(self, before: Config, after: Config) -> None:
        life = Life(before)
        life.run(FROM + 30 * STEP)
        folder = Path(str(after.model_folder))
        stored = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        header, *lines = preview(after, "0.1.0", life.clock.now())
        assert header == f"With the state in {folder}, version 0.1.0 would do this:"
        assert [line.strip() for line in lines] == [
            unit("zscore_online", "q1", CHANGED),
            unit("zscore_online", "q2", CHANGED),
            unit("zscore_online", "q3", NEW),
            unit("quantile_online", "q1", "reused, because nothing has changed; 5 series"),
            unit("quantile_online", "q3", NEW),
            unit("quantile_online", "q2", GONE),
        ]
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == stored


class TestFaults:
    """What goes wrong with a state costs that state at most."""

    @pytest.fixture
    def life(self, tmp_path: Path) -> Life:
        life = Life(kept(tmp_path, "zscore_online", fit_every="1000d"))
        life.run(FROM + 40 * STEP)
        life.fits()
        return life

    @pytest.mark.parametrize("kind", ["arrays", "members"])
    @pytest.mark.parametrize("harm", ["truncated", "flipped", "removed"])
    def test_a_damaged_file_is_logged_once_and_its_part_is_refitted(
        self, life: Life, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, harm: str
    ) -> None:
        (path,) = (file for file in files(tmp_path) if file.name.startswith(kind))
        content = bytearray(path.read_bytes())
        content[-1] ^= 4
        if harm == "removed":
            path.unlink()
        else:
            path.write_bytes(content[:-1] if harm == "truncated" else content)
        now = life.clock.now()
        assert any("refitted" in line for line in preview(life.config, "0.1.0", now))
        life.run(FROM + 60 * STEP)
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert warning.startswith("Stored state of scheduler 's', model 'm', query 'load': ")
        assert warning.endswith("it is refitted, everything else continues")
        assert life.fits() == ["load"]
        life.run(FROM + 80 * STEP)
        assert life.fits() == []

    def test_a_file_that_is_damaged_while_the_service_runs(
        self, life: Life, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        keeper, jobs = life.start()
        keeper.restore(jobs)
        life.follow(jobs, FROM + 60 * STEP)
        for path in files(tmp_path):
            path.unlink()
        life.follow(jobs, FROM + 80 * STEP)
        keeper.close()
        assert life.fits() == ["load"]
        assert "is missing; it is refitted" in caplog.text
        at = [at for _, output, _, at in points_of(life.writer) if output == "y"]
        assert set(range(FROM + STEP, FROM + 81 * STEP, STEP)) <= set(at)

    def test_a_state_of_a_newer_version_is_not_used(
        self, life: Life, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmanomaly.__version__", "0.0.9")
        reason = "refitted, because it is of the newer version 0.1.0"
        _, line = preview(life.config, "0.0.9", life.clock.now())
        assert line.endswith(reason)
        with caplog.at_level(logging.INFO):
            life.run(FROM + 60 * STEP)
        assert (
            f"Stored state of scheduler 's', model 'm', query 'load': {reason}" in caplog.messages
        )
        assert life.fits() == ["load"]

    @pytest.mark.parametrize("reason", ["disk_full", "locked"])
    def test_a_save_that_fails_is_logged_once_and_made_up_for(
        self,
        life: Life,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        reason: str,
    ) -> None:
        keeper, jobs = life.start()
        keeper.restore(jobs)
        other = None
        if reason == "disk_full":
            full = OSError(errno.ENOSPC, "No space left on device")
            monkeypatch.setattr("os.fsync", lambda descriptor: raise_(full))
        else:
            monkeypatch.setattr("vmanomaly.state.index._BUSY_TIMEOUT_S", 0.01)
            keeper.close()
            keeper, jobs = life.start()
            keeper.restore(jobs)
            other = sqlite3.connect(tmp_path / "models" / "vmanomaly.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
        life.follow(jobs, FROM + 60 * STEP)
        assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
            next(
                message for message in caplog.messages if f"cannot be stored ({reason})" in message
            )
        ]
        counted = life.metrics.registry.get_sample_value(
            "vmanomaly_state_save_errors_total", {"reason": reason}
        )
        assert counted == 5
        assert jobs[0].units[0].state is not None
        monkeypatch.undo()
        if other is not None:
            other.close()
        with caplog.at_level(logging.INFO):
            life.follow(jobs, FROM + 64 * STEP)
        keeper.close()
        (again,) = [each for each in caplog.messages if each.startswith("States are stored again")]
        assert again.endswith(" s and 5 failures")
        life.run(FROM + 100 * STEP)
        assert life.fits() == []
        expected = uninterrupted(tmp_path, "zscore_online", fit_every="1000d")
        found = points_of(life.writer)
        assert found == {point: value for point, value in expected.items() if point in found}
        assert max(at for _, _, _, at in found) == FROM + 100 * STEP

    def test_while_scores_wait_in_memory_nothing_is_stored(
        self, life: Life, tmp_path: Path
    ) -> None:
        stored, until = files(tmp_path), FROM + 60 * STEP
        keeper, jobs = life.start()
        keeper.restore(jobs)
        life.writer.n_in_memory = 1
        life.follow(jobs, until)
        keeper.close()
        assert files(tmp_path) == stored
        # The process has ended, and what was in memory is lost.
        del life.writer.written[:]
        life.writer.n_in_memory = 0
        life.run(until)
        at = {at for _, output, _, at in points_of(life.writer) if output == "y"}
        assert set(range(FROM + 41 * STEP, until + STEP, STEP)) <= at
        assert life.fits() == []
        assert files(tmp_path) != stored

    def test_a_model_that_cannot_be_stored_continues_in_memory(
        self, life: Life, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        keeper, jobs = life.start()
        keeper.restore(jobs)
        unit = jobs[0].units[0]
        keeper.load(jobs[0])
        assert unit.state is not None
        unit.state.arrays = lambda: raise_(ZeroDivisionError())  # type: ignore[method-assign]
        life.follow(jobs, FROM + 60 * STEP)
        keeper.close()
        assert files(tmp_path) == []
        assert life.fits() == []
        errors = [r for r in caplog.records if r.levelno == logging.ERROR]
        assert [r.getMessage() for r in errors] == [
            "Cannot store the state of scheduler 's', model 'm', query 'load'"
        ]
        assert errors[0].exc_info is not None
        counted = life.metrics.registry.get_sample_value(
            "vmanomaly_state_save_errors_total", {"reason": "model_error"}
        )
        assert counted == 5
        found = points_of(life.writer)
        expected = uninterrupted(tmp_path, "zscore_online", fit_every="1000d")
        assert found == {p: value for p, value in expected.items() if p[3] <= FROM + 60 * STEP}

    def test_a_database_that_is_unavailable_for_three_intervals(
        self, life: Life, tmp_path: Path
    ) -> None:
        keeper, jobs = life.start()
        keeper.restore(jobs)
        life.reader.answer = lambda *_: raise_(DatasourceError("refused", "connection_error"))
        life.follow(jobs, FROM + 52 * STEP)
        keeper.close()
        life.reader.answer = answer
        life.run(FROM + 60 * STEP)
        expected = uninterrupted(tmp_path, "zscore_online", fit_every="1000d")
        found = points_of(life.writer)
        assert found == {p: value for p, value in expected.items() if p[3] <= FROM + 60 * STEP}

    @pytest.mark.parametrize("jump", [-90 * STEP, -20 * STEP, -STEP, 30 * STEP])
    def test_a_clock_that_jumps_between_two_processes(
        self, life: Life, tmp_path: Path, jump: int
    ) -> None:
        life.clock.time += jump
        life.run(life.clock.now() + 200 * STEP)
        expected = uninterrupted(tmp_path, "zscore_online", fit_every="1000d")
        found = points_of(life.writer, repeated=True)
        last = max(at for _, _, _, at in found)
        assert found == {point: value for point, value in expected.items() if point[3] <= last}

    def test_switched_off_everything_is_deleted(
        self, life: Life, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = life.config.settings.model_copy(update={"restore_state": False})
        life.config = dataclasses.replace(life.config, settings=settings)
        (line,) = preview(life.config, "0.1.0", life.clock.now())
        assert line == (
            "settings.restore_state is off: every model is fitted at startup; the stored states "
            "of 1 unit are deleted."
        )
        before = files(tmp_path)
        with caplog.at_level(logging.INFO):
            keeper, jobs = life.start()
            keeper.restore(jobs)
        assert files(tmp_path) == []
        assert (
            "settings.restore_state is off: deleting the stored states of 1 unit" in caplog.messages
        )
        life.follow(jobs, FROM + 60 * STEP)
        keeper.close()
        assert life.fits() == ["load"]
        assert not set(files(tmp_path)) & set(before)


def raise_(error: Exception) -> NoReturn:
    raise error


def test_between_runs_models_are_on_disk_only(tmp_path: Path) -> None:
    life = Life(kept(tmp_path, "mad_online"))
    keeper, jobs = life.start()
    keeper.restore(jobs)
    life.follow(jobs, FROM + 20 * STEP)
    in_memory = [job.units[0].state is not None for job in jobs]
    assert in_memory == [False]
    assert not jobs[0].unfitted
    keeper.load(jobs[0])
    assert jobs[0].units[0].state is not None
    keeper.close()


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("model", ["zscore_online", "mad_online"])
def test_what_did_not_change_is_kept_under_a_new_configuration(
    tmp_path: Path, model: str, on_disk: bool
) -> None:
    expected = uninterrupted(tmp_path, model)
    life = Life(kept(tmp_path, model) if on_disk else config(tmp_path, model, LIVE))
    keeper, jobs = life.start()
    life.follow(jobs, FROM + 50 * STEP)
    life.fits()
    same = {"m": life.config.models["m"].model_copy(update={"clip_predictions": True})}
    other = {"n": life.config.models["m"].model_copy(update={"decay": 0.5})}
    life.config = dataclasses.replace(life.config, models=same | other)
    new = Keeper(life.config, keeper.store, life.clock, life.metrics)
    new_jobs = life.jobs(new)
    new.take_over(new_jobs, keeper, jobs)
    new.drop_all_but(new_jobs)
    life.follow(new_jobs, END)
    new.close()
    of_m = [(p, d) for p, d in life.writer.written if d.model_alias == "m"]
    n_others = len(life.writer.written) - len(of_m)
    life.writer.written = of_m
    assert points_of(life.writer) == expected
    assert n_others > 0


def test_a_changed_model_takes_nothing_over(tmp_path: Path) -> None:
    life = Life(kept(tmp_path, "zscore_online"))
    keeper, jobs = life.start()
    life.follow(jobs, FROM + 50 * STEP)
    models = {"m": life.config.models["m"].model_copy(update={"decay": 0.5})}
    life.config = dataclasses.replace(life.config, models=models)
    new = Keeper(life.config, keeper.store, life.clock, life.metrics)
    new_jobs = life.jobs(new)
    new.take_over(new_jobs, keeper, jobs)
    assert new_jobs[0].unfitted
    assert new_jobs[0].progress.covered is None
    assert len(files(tmp_path)) == 2
    new.drop_all_but(new_jobs)
    assert files(tmp_path) == []
    new.close()
