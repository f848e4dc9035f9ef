"""States are stored now and then; what came after the last time is replayed from the data."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeReader
from tests.history import FROM, STEP, answer, config, points_of
from tests.lives import LIVE, Life, files, kept, on, uninterrupted
from vmanomaly.config.reader import Query
from vmanomaly.errors import DatasourceError
from vmanomaly.scheduler.schedule import Progress, Replay
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.preview import preview
from vmanomaly.service.write_budget import WriteBudget
from vmanomaly.state import StateStore

pytestmark = pytest.mark.slow

MINUTELY = {"infer_every": "1m", "fit_every": "1000d"}
LOAD = Labels({"query": "load"})


def complete(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """Return one series without a gap."""
    grid = time_range.grid(STEP)
    return SeriesBatch((LOAD,), grid, np.sin(grid / 1e6)[np.newaxis])


def progress_of(folder: Path) -> dict[str, Any]:
    """Return what is stored of the progress of the only job."""
    store = StateStore(folder / "models")
    (key,) = {key.job for key in store.entries}
    row = store.progress(key)
    store.close()
    assert row is not None
    return row


def at(minute: int) -> int:
    return FROM + minute * STEP


class TestWhen:
    """Progress at every run, states when it is time."""

    def test_in_between_only_the_progress_is_written(self, tmp_path: Path) -> None:
        life = Life(kept(tmp_path, "zscore_online", "10m", **MINUTELY))
        life.reader.answer = complete
        life.run(at(4))
        before = files(tmp_path)
        life.run(at(13))
        assert files(tmp_path) == before
        row = progress_of(tmp_path)
        assert row["covered"] == at(13)
        assert row["replay"] == {"start": at(4), "fits": False, "written_to": at(13)}
        life.run(at(14))
        assert files(tmp_path) != before
        assert progress_of(tmp_path)["replay"] is None

    def test_a_duration_of_0_stores_at_every_run(self, tmp_path: Path) -> None:
        life = Life(kept(tmp_path, "zscore_online", "0s", **MINUTELY))
        stored = set()
        for minute in range(4, 9):
            life.run(at(minute))
            stored.add(str(files(tmp_path)))
            assert progress_of(tmp_path)["replay"] is None
        assert len(stored) == 5

    @pytest.mark.parametrize(("interval", "is_stored"), [("20m", True), ("1h", False)])
    def test_a_fit_is_stored_unless_it_comes_more_often(
        self, tmp_path: Path, interval: str, is_stored: bool
    ) -> None:
        life = Life(kept(tmp_path, "zscore_online", interval, infer_every="1m", fit_every="20m"))
        life.reader.answer = complete
        life.run(at(24))
        replay = progress_of(tmp_path)["replay"]
        if is_stored:
            assert replay is None
        else:
            assert replay == {"start": at(23), "fits": True, "written_to": at(24)}

    def test_a_clean_stop_stores(self, tmp_path: Path) -> None:
        life = Life(kept(tmp_path, "zscore_online", "1000d", **MINUTELY))
        life.reader.answer = complete
        life.run(at(20), cleanly=True)
        assert progress_of(tmp_path)["replay"] is None
        life.fits()
        life.run(at(21))
        (read,) = [time_range for _, time_range, _ in life.reader.asked]
        assert read.end - read.start <= 4 * STEP

    def test_without_a_restart_in_view_a_stop_stores_nothing(self, tmp_path: Path) -> None:
        settings = {"checkpoint_interval": "1000d"}
        life = Life(
            config(
                tmp_path, "zscore_online", LIVE | MINUTELY, settings=settings, environ=on(tmp_path)
            )
        )
        life.run(at(20))
        before = files(tmp_path)
        keeper, jobs = life.start()
        life.follow(jobs, at(30))
        for job in jobs:
            job.checkpoint()
        keeper.close()
        assert life.metrics.registry.get_sample_value("vmanomaly_state_save_duration_seconds_count")
        assert len(files(tmp_path)) == len(before)
        assert progress_of(tmp_path)["replay"]["start"] < at(30)

    def test_what_does_not_learn_between_fits_is_never_replayed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmanomaly.detector.Detector.infer_learns", False)
        life = Life(kept(tmp_path, "zscore_online", "1000d", **MINUTELY))
        keeper, jobs = life.start()
        keeper.restore(jobs)
        life.follow(jobs, at(20))
        assert jobs[0].units[0].state is None
        keeper.close()
        assert progress_of(tmp_path)["replay"] is None

    @pytest.mark.parametrize("bytes_per_day", [300_000, 3_000_000])
    def test_by_itself_it_keeps_to_the_budget(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_per_day: int
    ) -> None:
        monkeypatch.setattr("vmanomaly.service.write_budget.BYTES_PER_RUN", 0)
        monkeypatch.setattr(
            "vmanomaly.service.keeper.WriteBudget", lambda: WriteBudget(bytes_per_day)
        )
        life = Life(kept(tmp_path, "mad_online", infer_every="1m", fit_every="80m"))
        life.run(at(40))
        before = self.n_written(life)
        life.run(at(470))
        written = self.n_written(life) - before
        allowed = bytes_per_day * 430 / 1440
        (size,) = [file.stat().st_size for file in files(tmp_path) if "arrays" in file.name]
        # A state and a half at the edges; half of the budget may be kept for fits.
        assert allowed / 2 - 2 * size < written < allowed + 1.5 * size

    def n_written(self, life: Life) -> float:
        return life.metrics.registry.get_sample_value("vmanomaly_state_written_bytes_total") or 0.0

    def test_metrics_say_what_was_written_and_up_to_where(self, tmp_path: Path) -> None:
        life = Life(kept(tmp_path, "zscore_online", "10m", **MINUTELY))
        life.run(at(4))
        assert self.n_written(life) == sum(file.stat().st_size for file in files(tmp_path))
        life.run(at(12))
        labels = {"scheduler_alias": "s", "query_key": "load", "preset": "default"}
        name = "vmanomaly_state_checkpoint_timestamp_seconds"
        assert life.metrics.registry.get_sample_value(name, labels) == at(4) / 1000


class TestReplay:
    """A process that is killed leaves the next one only what is not in the database."""

    @pytest.fixture
    def life(self, tmp_path: Path) -> Life:
        """Return a life whose first process was killed 16 minutes after its checkpoint."""
        life = Life(kept(tmp_path, "zscore_online", "1000d", **MINUTELY))
        life.reader.answer = complete
        life.run(at(20))
        life.reader.asked.clear()
        return life

    def whole(self, folder: Path, until: int) -> dict[Any, float]:
        life = Life(config(folder, "zscore_online", LIVE | MINUTELY))
        life.reader.answer = complete
        life.run(until)
        return points_of(life.writer)

    def test_it_is_one_read_and_nothing_is_written_twice(self, life: Life, tmp_path: Path) -> None:
        life.clock.time += 5 * STEP
        life.run(at(30))
        asked = [(r.start, r.end, stage) for _, r, stage in life.reader.asked[:3]]
        assert asked == [
            (at(4), at(20), "infer"),
            (at(20), at(26), "infer"),
            (at(26), at(27), "infer"),
        ]
        assert points_of(life.writer) == self.whole(tmp_path, at(30))

    @pytest.mark.parametrize("offset", ["-3m", "2m"])
    def test_an_offset_of_the_query_changes_nothing(self, tmp_path: Path, offset: str) -> None:
        def shifted(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
            by = int(query.offset)
            window = TimeRange(time_range.start + by, time_range.end + by)
            return complete(query, window, stage)

        settings = {"restore_state": True, "checkpoint_interval": "1000d"}
        found = []
        for name, environ, stops in (("killed", on(tmp_path), 4), ("whole", {}, 1)):
            folder = tmp_path / name
            folder.mkdir()
            life = Life(
                config(
                    folder,
                    "zscore_online",
                    LIVE | MINUTELY,
                    offset,
                    settings if environ else {},
                    environ,
                )
            )
            life.reader.answer = shifted
            for stop in range(stops):
                life.run(at(40 - 10 * (stops - 1 - stop)))
            found.append(points_of(life.writer))
        assert found[0] == found[1]

    def test_a_series_that_is_late_loses_no_point(self, tmp_path: Path) -> None:
        def late(life: Life) -> Any:
            def answer_late(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
                batch = complete(query, time_range, stage)
                other = batch.values.copy()
                other[:, batch.timestamps > life.clock.now() - 2 * STEP] = np.nan
                labels = (*batch.labels, Labels({"query": "late"}))
                both = SeriesBatch(labels, batch.timestamps, np.vstack([batch.values, other]))
                return both.keep([r for r in (0, 1) if not np.isnan(both.values[r]).all()])

            return answer_late

        killed = Life(kept(tmp_path, "zscore_online", "1000d", **MINUTELY))
        killed.reader.answer = late(killed)
        for stop in (20, 33, 34, 50):
            killed.run(at(stop))
        whole = Life(config(tmp_path, "zscore_online", LIVE | MINUTELY))
        whole.reader.answer = late(whole)
        whole.run(at(50))
        assert points_of(killed.writer, repeated=True) == points_of(whole.writer)
        n_twice = sum(p.n_points for p, _ in killed.writer.written) - len(points_of(whole.writer))
        # At each of three restarts two points of the series that is on time.
        n_outputs = len(life_outputs(whole))
        assert n_twice == 3 * 2 * n_outputs

    def test_data_that_is_gone_is_told_once(
        self, life: Life, caplog: pytest.LogCaptureFixture
    ) -> None:
        def forgotten(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
            batch = complete(query, time_range, stage)
            batch.values[:, batch.timestamps <= at(10)] = np.nan
            return batch

        life.reader.answer = forgotten
        caplog.clear()
        life.run(at(30))
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert warning.startswith(
            "scheduler 's', query 'load': 6 of the samples learned after 2025-06-15T17:51:00Z"
        )
        scored = [t for _, output, _, t in points_of(life.writer) if output == "y"]
        assert scored == [at(minute) for minute in range(4, 31)]

    def test_a_query_that_returns_nothing_any_more(
        self, life: Life, caplog: pytest.LogCaptureFixture
    ) -> None:
        life.reader.answer = lambda query, time_range, stage: SeriesBatch(
            (), time_range.grid(STEP), np.empty((0, len(time_range.grid(STEP))))
        )
        life.run(at(30))
        assert "16 of the samples learned after" in caplog.text
        life.reader.answer = complete
        life.run(at(32))
        assert max(t for *_, t in points_of(life.writer)) == at(32)

    def test_a_read_that_fails_is_done_again_before_anything_is_scored(
        self, life: Life, tmp_path: Path
    ) -> None:
        def away(*_: object) -> SeriesBatch:
            raise DatasourceError("refused", "connection_error")

        n_before = len(life.writer.written)
        row = progress_of(tmp_path)
        life.reader.answer = away
        life.run(at(25))
        assert len(life.writer.written) == n_before
        assert progress_of(tmp_path) == row
        life.reader.answer = complete
        life.run(at(40))
        assert points_of(life.writer) == self.whole(tmp_path, at(40))

    def test_one_that_is_stopped_is_done_again(self, life: Life, tmp_path: Path) -> None:
        keeper, jobs = life.start()
        keeper.restore(jobs)
        keeper.close()
        assert progress_of(tmp_path)["replay"]["start"] == at(4)
        life.run(at(40))
        assert points_of(life.writer) == self.whole(tmp_path, at(40))

    def test_one_that_is_longer_than_a_fit_window_is_cut(self, life: Life, tmp_path: Path) -> None:
        life.run(at(300))
        life.reader.asked.clear()
        life.run(at(302))
        asked = [(r.start, r.end) for _, r, _ in life.reader.asked[:4]]
        assert asked == [
            (at(4), at(124)),
            (at(124), at(244)),
            (at(244), at(300)),
            (at(300), at(301)),
        ]
        assert points_of(life.writer) == self.whole(tmp_path, at(302))

    def test_it_goes_back_further_than_scores_are_made_up(
        self,
        life: Life,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("tests.lives.DAY_MS", 3 * STEP)
        life.run(at(30))
        assert points_of(life.writer) == self.whole(tmp_path, at(30))
        assert "is not scored" not in caplog.text

    @pytest.mark.parametrize("kind", ["arrays", "members"])
    def test_a_damaged_state_is_fitted_and_not_replayed(
        self, life: Life, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        (path,) = (file for file in files(tmp_path) if file.name.startswith(kind))
        path.write_bytes(path.read_bytes()[:-1])
        life.run(at(30))
        assert [stage for _, _, stage in life.reader.asked[:2]] == ["fit", "infer"]
        assert life.reader.asked[1][1] == TimeRange(at(20), at(21))
        assert "replayed" not in caplog.text
        scored = [t for _, output, _, t in points_of(life.writer) if output == "y"]
        assert scored == [at(minute) for minute in range(4, 31)]

    def test_one_model_of_two_is_new(self, life: Life, tmp_path: Path) -> None:
        other = life.config.models["m"].model_copy(update={"decay": 0.5})
        life.config = dataclasses.replace(life.config, models={**life.config.models, "n": other})
        life.run(at(30))
        stages = [stage for _, _, stage in life.reader.asked]
        assert stages[:3] == ["infer", "fit", "infer"]
        assert stages.count("fit") == 1
        life.writer.written = [(p, o) for p, o in life.writer.written if o.model_alias == "m"]
        assert points_of(life.writer) == self.whole(tmp_path, at(30))

    @pytest.mark.parametrize("interval", ["0s", "1000d"])
    def test_it_is_announced(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, interval: str
    ) -> None:
        life = Life(kept(tmp_path, "zscore_online", interval, **MINUTELY))
        life.reader.answer = complete
        life.run(at(20))
        _, line = preview(life.config, "0.1.0", life.clock.now())
        runs = "the runs from 2025-06-15T17:51:00Z to 2025-06-15T18:07:00Z are replayed"
        assert line.endswith("1 series" if interval == "0s" else f"1 series; {runs}")
        with caplog.at_level(logging.INFO):
            life.run(at(22))
        told = [m for m in caplog.messages if "are replayed" in m]
        assert told == (
            []
            if interval == "0s"
            else [
                f"scheduler 's', query 'load': {runs}, since their states were not stored",
                "scheduler 's', query 'load': the runs since 2025-06-15T17:51:00Z are replayed",
            ]
        )

    def test_a_fit_that_was_not_stored_is_announced(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        life = Life(kept(tmp_path, "zscore_online", "1000d", infer_every="1m", fit_every="20m"))
        life.run(at(30))
        _, line = preview(life.config, "0.1.0", life.clock.now())
        assert line.endswith("refitted, because it was not stored since its last fit")
        with caplog.at_level(logging.INFO):
            life.run(at(31))
        assert "refitted, because it was not stored since its last fit" in caplog.text

    def test_fits_are_due_by_the_time_of_runs(self, tmp_path: Path) -> None:
        life = Life(kept(tmp_path, "zscore_online", "0s", infer_every="1m", fit_every="20m"))
        life.run(at(23))
        delay = type(life.config.reader.eval_delay)(STEP // 2)
        reader = life.config.reader.model_copy(update={"eval_delay": delay})
        late = dataclasses.replace(life.config, reader=reader)
        due = at(24)
        for now, told in ((due, "reused"), (due + STEP // 2, "refitted")):
            _, line = preview(late, "0.1.0", now)
            assert f": {told}, because" in line

    def test_a_progress_without_these_words_is_that_of_a_stored_state(self, tmp_path: Path) -> None:
        row = {"first_run": 0, "covered": STEP, "last_fit": 0}
        assert Progress.of(row) == Progress(0, STEP, 0)
        replay = Replay(start=0, fits=False, written_to=STEP)
        stored = {**row, "replay": dataclasses.asdict(replay)}
        assert Progress.of(stored) == Progress(0, STEP, 0, replay)
        assert Progress.of({**row, "replay": {"start": 0}}) is None


def life_outputs(life: Life) -> list[str]:
    """Return the outputs that were written."""
    return sorted({output for _, output, _, _ in points_of(life.writer)})


class TestReload:
    """A configuration that takes the place of another finds all states, stored or not."""

    @pytest.mark.parametrize("fit_every", ["1000d", "20m"])
    @pytest.mark.parametrize("is_replayed", [False, True])
    def test_nothing_is_lost(self, tmp_path: Path, fit_every: str, is_replayed: bool) -> None:
        keys = {"infer_every": "1m", "fit_every": fit_every}
        life = Life(kept(tmp_path, "mad_online", "1000d", **keys))
        life.run(at(30))
        keeper, jobs = life.start()
        keeper.restore(jobs)
        if is_replayed:
            life.follow(jobs, at(35))
        new = Keeper(life.config, keeper.store, life.clock, life.metrics)
        new_jobs = life.jobs(new)
        new.take_over(new_jobs, keeper, jobs)
        new.drop_all_but(new_jobs)
        life.follow(new_jobs, at(50))
        new.close()
        life.run(at(70))
        found = points_of(life.writer, repeated=True)
        expected = uninterrupted(tmp_path, "mad_online", **keys)
        assert found == {point: v for point, v in expected.items() if point[3] <= at(70)}


def test_a_group_is_replayed_with_the_channels_that_each_run_has_met(tmp_path: Path) -> None:
    """A channel that is there for some runs suspends the group in these only."""

    def with_guest(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = answer(query, time_range, stage)
        there = (at(44) < batch.timestamps) & (batch.timestamps <= at(52))
        if stage == "fit" or not there.any():
            return batch
        guest = np.where(there, 1.0, np.nan)[np.newaxis]
        labels = (*batch.labels, Labels({"host": "guest"}))
        return SeriesBatch(labels, batch.timestamps, np.vstack([batch.values, guest]))

    found = []
    for name, stops in (("killed", (60, 90)), ("whole", (90,))):
        folder = tmp_path / name
        folder.mkdir()
        life = Life(kept(folder, "temporal_envelope_multivariate", "1000d", fit_every="1000d"))
        life.reader = FakeReader(with_guest)
        for stop in stops:
            life.run(at(stop))
        found.append(points_of(life.writer, repeated=True))
    assert found[0] == found[1]
    scored = {t for *_, t in found[0]}
    assert not scored & set(range(at(45), at(53), STEP))
    assert scored & set(range(at(53), at(61), STEP))
