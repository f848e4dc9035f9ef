"""A pickle in the folder of stored state is loaded only where that is allowed and it is ours."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import sqlite3
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tests.fakes import FakeClock, FakeReader, FakeWriter
from tests.service.test_service_custom import CONFIG, FIT, INFER, MODEL, levels
from vmanomaly.config import Config, load_config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.run import Run
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_jobs, create_models, with_custom_classes
from vmanomaly.service.unit import Unit
from vmanomaly.state import StateStore
from vmanomaly.state.files import read_arrays, write_arrays
from vmanomaly.state.index import INDEX, unit_row

ALLOWED = "settings: {restore_state: true, restore_pickled_models: true}\n"
NOT_ALLOWED = "settings: {restore_state: true}\n"


class Process:
    """A process of the service on a folder, as far as its keeper is concerned."""

    def __init__(self, folder: Path, settings: str) -> None:
        (folder / "custom.py").write_text(dedent(MODEL))
        (folder / "config.yaml").write_text(CONFIG.replace("    mem: {expr: mem}\n", "") + settings)
        environ = {
            "VMANOMALY_CUSTOM_MODELS_DIR": str(folder),
            "VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models"),
        }
        self.config: Config = with_custom_classes(load_config([folder / "config.yaml"], environ))
        self.store = StateStore(folder / "models")
        clock = FakeClock(INFER.end)
        self.keeper = Keeper(self.config, self.store, clock, Metrics())
        self.writer = FakeWriter()
        self.jobs: list[QueryJob] = create_jobs(
            self.config,
            create_models(self.config),
            FakeReader(levels),
            self.writer,
            Health({}),
            Metrics(),
            self.keeper,
        )["s"]

    def start(self) -> QueryJob:
        self.keeper.restore(self.jobs)
        (job,) = self.jobs
        return job

    def first_run(self) -> QueryJob:
        """Fit, score and store."""
        job = self.start()
        job.progress.first_run = INFER.end
        assert not job.execute(Run(FIT, INFER, micro_batch=1000, micro_batch_end=0)).failed
        job.keep()
        return job


def fitted(folder: Path, settings: str = NOT_ALLOWED) -> None:
    process = Process(folder, settings)
    process.first_run()
    process.keeper.close()


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def plant(folder: Path) -> Path:
    """Put a pickle of code in place of each object, with right checksums; return what it makes."""
    trace, states = folder / "trace", folder / "models" / "states"
    store = StateStore(folder / "models")
    ((key, entry),) = store.entries.items()
    store.close()
    arrays = read_arrays(states / entry.arrays)
    stored = pickle.dumps(Payload(trace))
    n = len(arrays["offsets"]) - 1
    arrays["serialized"] = np.frombuffer(stored * n, np.uint8)
    arrays["offsets"] = len(stored) * np.arange(n + 1)
    path = write_arrays(states, "arrays-00000000000000aa", arrays)
    row = unit_row(key, dataclasses.replace(entry, arrays=path.name))
    connection = sqlite3.connect(folder / "models" / INDEX)
    connection.execute("REPLACE INTO units VALUES (?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    return trace


def test_a_planted_pickle_is_not_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fitted(tmp_path)
    trace = plant(tmp_path)
    process = Process(tmp_path, NOT_ALLOWED)
    with caplog.at_level(logging.WARNING):
        assert process.start().unfitted
    assert not trace.exists()
    (message,) = (text for text in caplog.messages if "clip_predictions" not in text)
    assert message == (
        "Stored state of scheduler 's', model 'mine', query 'cpu': deserialize, {host=\"a\"}: it "
        "is a pickle, which could run any code, and is not loaded: if nobody else can write to the "
        "folder, set settings.restore_pickled_models: true; it is refitted, everything else "
        "continues"
    )
    assert process.store.entries == {}
    process.keeper.close()


def test_where_it_is_allowed_what_is_planted_runs(tmp_path: Path) -> None:
    fitted(tmp_path)
    trace = plant(tmp_path)
    process = Process(tmp_path, ALLOWED)
    process.start()
    assert trace.exists(), "this test could not tell that nothing was loaded"
    process.keeper.close()


def _writable_file(folder: Path) -> None:
    for path in (folder / "models" / "states").iterdir():
        path.chmod(0o622)


def _writable_folder(folder: Path) -> None:
    (folder / "models" / "states").chmod(0o770)


def _of_another(folder: Path) -> None:
    for path in (folder / "models" / "states").iterdir():
        os.chown(path, 12345, -1)


@pytest.mark.parametrize(
    "expose",
    [
        _writable_file,
        _writable_folder,
        pytest.param(
            _of_another, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
        ),
    ],
)
def test_what_others_may_have_written_is_not_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, expose: object
) -> None:
    fitted(tmp_path)
    trace = plant(tmp_path)
    assert callable(expose)
    expose(tmp_path)
    process = Process(tmp_path, ALLOWED)
    assert process.start().unfitted
    assert not trace.exists()
    assert "its file or folder belongs to another user, or others may write to it" in caplog.text
    process.keeper.close()


def test_where_it_is_allowed_models_go_on(tmp_path: Path) -> None:
    fitted(tmp_path, ALLOWED)
    process = Process(tmp_path, ALLOWED)
    job = process.start()
    assert not job.unfitted
    job.execute(Run(None, INFER, micro_batch=1000, micro_batch_end=0))
    process.keeper.close()


def test_between_runs_of_a_process_nothing_has_to_be_allowed(tmp_path: Path) -> None:
    process = Process(tmp_path, NOT_ALLOWED)
    job = process.first_run()
    (unit,) = job.units
    process.keeper.load(job)
    assert _is_in_memory(unit)
    process.keeper.close()


def test_a_file_that_is_changed_between_runs_is_not_that_of_the_process(tmp_path: Path) -> None:
    process = Process(tmp_path, NOT_ALLOWED)
    job = process.first_run()
    (path,) = (tmp_path / "models" / "states").glob("arrays-*")
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    process.keeper.load(job)
    assert job.units[0].state is None
    assert job.unfitted
    process.keeper.close()


def _is_in_memory(unit: Unit) -> bool:
    return unit.state is not None
