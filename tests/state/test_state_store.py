from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import orjson
import pytest

from vmanomaly.model.grouping import Channel, Grouping
from vmanomaly.series import JobKey, Labels, UnitKey
from vmanomaly.state import Content, Members, Saved, StateError, StateStore
from vmanomaly.state.content import to_arrays
from vmanomaly.state.files import write_arrays
from vmanomaly.state.index import INDEX, checksum_of, read_index, unit_row
from vmanomaly.state.store import check_files, read_members

CPU, MEM = UnitKey("live", "robust", ("cpu",)), UnitKey("live", "other", ("cpu",))
JOB = JobKey("live", ("cpu",))
LABELS = (Labels({"host": "a"}), Labels({"host": "ä\n"}))
PROGRESS = {"first_run": 1, "covered": None}
ID = "0123456789abcdef"


def saved(*values: float, members: Members | None = None) -> Saved:
    arrays = {"mean": np.array(values), "last_seen": np.arange(len(values))}
    return Saved(
        {"models.robust.threshold": "12ab"},
        "mad_online",
        "0.1.0",
        Content(members or Members(LABELS[: len(values)]), arrays),
    )


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "states").iterdir()}


def in_index(folder: Path) -> set[str]:
    entries, _ = read_index(folder)
    return {name for entry in entries.values() for name in (entry.arrays, entry.members)}


def test_what_is_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0, 2.0)}, now=42)
    store.close()
    again = StateStore(tmp_path)
    entry = again.entries[CPU]
    assert entry.signature == {"models.robust.threshold": "12ab"}
    assert (entry.class_name, entry.version, entry.saved_at) == ("mad_online", "0.1.0", 42)
    assert entry.n_series == 2
    assert entry.n_bytes == sum((tmp_path / "states" / n).stat().st_size for n in files(tmp_path))
    assert again.progress(JOB) == PROGRESS
    content = again.read(CPU)
    assert content.members == Members(LABELS)
    assert content.arrays["mean"].tolist() == [1.0, 2.0]
    again.close()


def test_groups_are_kept(tmp_path: Path) -> None:
    channels = (Channel("cpu", LABELS[0]), Channel("mem", LABELS[0]), Channel("cpu", LABELS[1]))
    grouping = Grouping(("host",), LABELS, channels, np.array([0, 2, 3]))
    store = StateStore(tmp_path)
    store.save(JOB, {}, {CPU: saved(1.0, 2.0, members=Members(LABELS, grouping))}, now=0)
    store.close()
    again = StateStore(tmp_path)
    found = again.read(CPU).members.grouping
    assert found is not None
    assert (found.groupby, found.labels, found.channels) == (("host",), LABELS, channels)
    assert found.offsets.tolist() == [0, 2, 3]
    assert found.offsets.dtype == np.int64
    again.close()


def test_files_that_are_replaced_are_deleted(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    for value in (1.0, 2.0, 3.0):
        store.save(JOB, PROGRESS, {CPU: saved(value), MEM: saved(value, value)}, now=0)
        assert files(tmp_path) == in_index(tmp_path)
        assert len(files(tmp_path)) == 4
    store.close()


def test_label_sets_are_written_only_when_they_change(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0, 2.0)}, now=0)
    members = store.entries[CPU].members
    store.save(JOB, PROGRESS, {CPU: saved(3.0, 4.0)}, now=0)
    assert store.entries[CPU].members == members
    store.close()
    again = StateStore(tmp_path)
    content = again.read(CPU)
    again.save(JOB, PROGRESS, {CPU: saved(5.0, 6.0, members=content.members)}, now=0)
    assert again.entries[CPU].members == members
    again.save(JOB, PROGRESS, {CPU: saved(5.0)}, now=0)
    assert again.entries[CPU].members != members
    assert again.read(CPU).members == Members(LABELS[:1])
    again.close()


def test_label_sets_whose_file_was_removed_are_written_again(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0, 2.0)}, now=0)
    (tmp_path / "states" / store.entries[CPU].members).unlink()
    store.save(JOB, PROGRESS, {CPU: saved(3.0, 4.0)}, now=0)
    store.close()
    again = StateStore(tmp_path)
    assert again.read(CPU).members == Members(LABELS)
    again.close()


def test_a_unit_that_has_not_changed_is_left_alone(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0), MEM: saved(2.0)}, now=0)
    before = store.entries[MEM]
    n_bytes = store.save(JOB, {"first_run": 2}, {CPU: saved(3.0)}, now=0)
    assert store.entries[MEM] == before
    assert 0 < n_bytes < store.n_bytes
    assert store.progress(JOB) == {"first_run": 2}
    store.close()


def test_dropped_units_leave_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0), MEM: saved(2.0)}, now=0)
    store.drop([MEM, UnitKey("live", "robust", ("never",))])
    assert store.entries.keys() == {CPU}
    assert store.progress(JOB) == PROGRESS
    store.drop([CPU])
    assert store.progress(JOB) is None
    assert files(tmp_path) == set()
    store.close()
    assert read_index(tmp_path) == ({}, {})


def test_what_a_crash_has_left_behind_is_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()
    (tmp_path / "states" / f"arrays-{ID}.tmp").touch()
    (tmp_path / "states" / f"members-{ID}-00000000.safetensors").touch()
    (tmp_path / "queue").mkdir()
    again = StateStore(tmp_path)
    assert files(tmp_path) == in_index(tmp_path)
    assert (tmp_path / "queue").exists()
    (message,) = caplog.messages
    assert message.startswith("Deleting 2 files of states that the index does not name")
    assert f"arrays-{ID}.tmp in {tmp_path / 'states'}" in message
    again.close()


@pytest.mark.parametrize(
    "name",
    ["terraform.tfstate", "arrays-1.tmp", f"arrays-{ID}.safetensors", f"x-{ID}.tmp", "arrays"],
)
def test_files_of_others_are_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "states"
    folder.mkdir()
    (folder / name).write_text("not ours")
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.drop([CPU])
    store.close()
    StateStore(tmp_path).close()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: "not ours"}


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    left = elsewhere / f"arrays-{ID}.tmp"
    left.touch()
    models = tmp_path / "models"
    models.mkdir()
    (models / "states").symlink_to(elsewhere)
    with pytest.raises(StateError, match="symbolic link") as caught:
        StateStore(models)
    assert "VMANOMALY_MODEL_DUMPS_DIR" in str(caught.value)
    assert left.exists()


@pytest.mark.parametrize("absolute", [True, False])
def test_an_index_that_names_files_elsewhere_loses_nobody_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, absolute: bool
) -> None:
    victim = tmp_path / "victim.safetensors"
    victim.write_text("not ours")
    models = tmp_path / "models"
    store = StateStore(models)
    store.save(JOB, PROGRESS, {CPU: saved(1.0), MEM: saved(2.0)}, now=0)
    name = str(victim) if absolute else "../../victim.safetensors"
    forged = unit_row(CPU, replace(store.entries[CPU], arrays=name, members=name))
    store._index.execute("REPLACE INTO units VALUES (?, ?, ?, ?, ?)", forged)
    store.close()
    again = StateStore(models)
    assert again.entries.keys() == {MEM}
    assert "1 rows of the stored state are damaged and left out" in caplog.messages
    again.save(JOB, PROGRESS, {CPU: saved(3.0)}, now=0)
    again.drop([CPU, MEM])
    again.close()
    assert victim.read_text() == "not ours"


def test_a_damaged_index_is_kept_under_another_name(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(b"somebody's notes, and no database" * 100)
    StateStore(tmp_path).close()
    kept = tmp_path / f"{INDEX}.damaged"
    assert kept.read_bytes().startswith(b"somebody's notes")


def test_a_folder_that_was_removed_is_named_with_the_remedy(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "models")
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(
        StateError, match=r"models/states was removed; restart the service"
    ) as caught:
        store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    assert caught.value.reason == "io_error"
    store.close()
    store = StateStore(tmp_path / "models")
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()


@pytest.mark.parametrize("step", ["fsync", "rename", "commit"])
def test_a_save_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    before = files(tmp_path)

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    progress: dict[str, object] = dict(PROGRESS)
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", no_room)
    elif step == "rename":
        monkeypatch.setattr(Path, "rename", no_room)
    else:
        # SQLite may use no more pages than it has.
        store._index.execute("PRAGMA max_page_count = 1")
        progress = {f"note {n}": "x" * 1000 for n in range(100)}
    with pytest.raises(StateError) as caught:
        store.save(JOB, progress, {CPU: saved(2.0), MEM: saved(2.0)}, now=0)
    assert caught.value.reason == "disk_full"
    assert str(tmp_path) in str(caught.value)
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert store.entries.keys() == {CPU}
    assert store.read(CPU).arrays["mean"].tolist() == [1.0]
    store._index.execute("PRAGMA max_page_count = 1000000")
    store.save(JOB, PROGRESS, {CPU: saved(2.0)}, now=0)
    assert store.read(CPU).arrays["mean"].tolist() == [2.0]
    store.close()


def test_a_locked_index_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmanomaly.state.index._BUSY_TIMEOUT_S", 0.01)
    store = StateStore(tmp_path)
    other = sqlite3.connect(tmp_path / INDEX, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked") as caught:
        store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    assert caught.value.reason == "locked"
    assert files(tmp_path) == set()
    other.execute("ROLLBACK")
    other.close()
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    other = sqlite3.connect(tmp_path / INDEX, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked"):
        store.drop([CPU])
    other.close()
    assert store.read(CPU).arrays["mean"].tolist() == [1.0]
    store.close()


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_a_full_disk_is_named_where_sqlite_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    def fail(path: Path) -> NoReturn:
        raise StateError("disk I/O error", "io_error")

    room = os.statvfs_result((4096, 4096, 1 << 20, free // 4096, free // 4096, 0, 0, 0, 0, 255))
    monkeypatch.setattr("vmanomaly.state.index._connect", fail)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    with pytest.raises(StateError, match=r"vmanomaly\.db: disk I/O error") as caught:
        StateStore(tmp_path)
    is_full = free == 0
    assert caught.value.reason == ("disk_full" if is_full else "io_error")
    assert str(caught.value).endswith("; the disk is full, free some of it") is is_full


def test_only_one_process_may_use_a_folder(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    with pytest.raises(StateError, match="another vmanomaly keeps its state in"):
        StateStore(tmp_path)
    store.close()
    StateStore(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"cannot keep the state in .*file: File exists"):
        StateStore(tmp_path / "file")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def no_database(path: Path) -> None:
    path.write_bytes(b"x" * 5000)


def newer_layout(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def damaged_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, path TEXT)")
    connection.close()


@pytest.mark.parametrize(
    "harm", [truncate, no_database, newer_layout, damaged_pages, of_another_program]
)
def test_an_index_that_cannot_be_used_is_replaced(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()
    harm(tmp_path / INDEX)
    with pytest.raises(StateError) as caught:
        read_index(tmp_path)
    assert caught.value.reason == "damaged"
    again = StateStore(tmp_path)
    assert again.entries == {}
    assert files(tmp_path) == set()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        "The stored state is not used, and vmanomaly.db is kept as "
    )
    assert "\n" not in caplog.messages[0]
    again.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    again.close()


def test_a_row_whose_content_was_changed_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0), MEM: saved(2.0)}, now=0)
    store.close()
    connection = sqlite3.connect(tmp_path / INDEX)
    with connection:
        connection.execute(
            "UPDATE units SET facts = replace(facts, '12ab', '12ac') WHERE rowid = 1"
        )
    connection.close()
    again = StateStore(tmp_path)
    assert again.entries.keys() == {MEM}
    assert caplog.messages == ["1 rows of the stored state are damaged and left out"]
    again.close()


def written(path: Path) -> tuple[int, int, int]:
    """Return what a write to a file changes; to look at one moves its time of access."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def test_looking_changes_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    expected = store.entries, {JOB: PROGRESS}
    assert read_index(tmp_path) == expected
    store.close()
    before = {path: written(path) for path in tmp_path.rglob("*")}
    assert read_index(tmp_path) == expected
    assert {path: written(path) for path in tmp_path.rglob("*")} == before
    assert read_index(tmp_path / "nowhere") == ({}, {})
    assert not (tmp_path / "nowhere").exists()


def test_looking_finds_files_that_are_replaced_meanwhile(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(0.0)}, now=0)
    seen = read_index(tmp_path)[0][CPU]
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=1)
    check_files(tmp_path, CPU, seen)
    store.close()

    now = read_index(tmp_path)[0][CPU]
    (tmp_path / "states" / now.arrays).unlink()
    for entry in (seen, now):
        with pytest.raises(StateError, match=f"{now.arrays} is missing"):
            check_files(tmp_path, CPU, entry)


def test_looking_is_not_disturbed_by_a_service_that_saves(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(0.0)}, now=0)
    ends = threading.Event()

    def save_on() -> None:
        for now in itertools.count(1):
            store.save(JOB, PROGRESS, {CPU: saved(float(now))}, now)
            if ends.is_set():
                return

    thread = threading.Thread(target=save_on)
    thread.start()
    try:
        for _ in range(100):
            check_files(tmp_path, CPU, read_index(tmp_path)[0][CPU])
    finally:
        ends.set()
        thread.join()
        store.close()


@pytest.mark.slow
def test_looking_reads_what_a_killed_process_has_left_in_the_log(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.state.test_state_store import *\n"
        "store = StateStore(Path(sys.argv[1]))\n"
        "store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db-shm"]
    before = {path: path.read_bytes() for path in kept}
    assert tmp_path / f"{INDEX}-wal" in before
    entries, _ = read_index(tmp_path)
    assert entries.keys() == {CPU}
    assert {path: path.read_bytes() for path in kept} == before


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    store = StateStore(folder)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))} == {0}
    store.close()


def test_a_closed_store_stores_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.close()
    with pytest.raises(StateError, match="closed"):
        store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    assert files(tmp_path) == set()


def forge(folder: Path, table: str, **values: object) -> None:
    """Change a row of the index of `folder`, and give it the checksum that it has then."""
    connection = sqlite3.connect(folder / INDEX)
    columns = {
        "units": ["unit", "facts", "arrays", "members"],
        "jobs": ["job", "progress"],
    }[table]
    row = dict(
        zip(columns, connection.execute(f"SELECT * FROM {table}").fetchone()[:-1], strict=True)  # noqa: S608
    )
    row |= values
    assignments = ", ".join(f"{name} = ?" for name in row)
    connection.execute(
        f"UPDATE {table} SET {assignments}, checksum = ?",  # noqa: S608
        [*row.values(), checksum_of([*row.values()])],
    )
    connection.commit()
    connection.close()


def facts(**changes: object) -> str:
    stored = {
        "signature": {"a": "b"},
        "class_name": "mad_online",
        "version": "0.1.0",
        "saved_at": 42,
        "n_series": 2,
        "n_bytes": 7,
    }
    return orjson.dumps(stored | changes).decode()


def test_a_forged_row_that_says_what_we_say_is_read(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()
    forge(tmp_path, "units", facts=facts(version="0.1.7"))
    again = StateStore(tmp_path)
    assert again.entries[CPU].version == "0.1.7"
    again.close()


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("units", {"facts": facts(signature=["a"])}),
        ("units", {"facts": facts(signature={"a": ["b"]})}),
        ("units", {"facts": facts(signature=None)}),
        ("units", {"facts": facts(version=None)}),
        ("units", {"facts": facts(version=1)}),
        ("units", {"facts": facts(class_name=[])}),
        ("units", {"facts": facts(saved_at="now")}),
        ("units", {"facts": facts(n_series=-1)}),
        ("units", {"facts": facts(n_bytes=1.5)}),
        ("units", {"facts": facts(n_bytes=2**63)}),
        ("units", {"facts": facts(more=1)}),
        ("units", {"facts": "[]"}),
        ("units", {"facts": "{"}),
        ("units", {"facts": "[" * 2000}),
        ("units", {"facts": None}),
        ("units", {"facts": b"\xff\0"}),
        ("units", {"unit": "[]"}),
        ("units", {"unit": '["live", "robust", ["cpu"]]'}),
        ("units", {"unit": '["live",null,["cpu"]]'}),
        ("units", {"unit": '["live","robust","cpu"]'}),
        ("units", {"unit": None}),
        ("units", {"arrays": "arrays-0123456789abcdef.tmp\0"}),
        ("units", {"arrays": "../vmanomaly.db"}),
        ("units", {"members": b"members-0123456789abcdef.tmp"}),
        ("units", {"members": None}),
        ("jobs", {"job": '["live",["cpu"],0]'}),
        ("jobs", {"job": "7"}),
        ("jobs", {"progress": '{"covered":"now"}'}),
        ("jobs", {"progress": '{"covered":1e300}'}),
        ("jobs", {"progress": '{"covered":true}'}),
        ("jobs", {"progress": "[]"}),
        ("jobs", {"progress": b"{}"}),
    ],
)
def test_a_forged_row_is_left_out_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str, values: dict[str, object]
) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()
    forge(tmp_path, table, **values)
    again = StateStore(tmp_path)
    assert caplog.messages == ["1 rows of the stored state are damaged and left out"]
    assert (CPU in again.entries, again.progress(JOB) is not None) == (
        table == "jobs",
        table == "units",
    )
    again.save(JOB, PROGRESS, {CPU: saved(2.0)}, now=0)
    again.close()
    caplog.clear()
    last = StateStore(tmp_path)
    assert last.read(CPU).arrays["mean"].tolist() == [2.0]
    assert caplog.messages == []
    last.close()


def test_a_name_with_nul_is_only_a_name(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()
    forge(tmp_path, "units", unit='["live","rob\\u0000ust",["cpu"]]')
    again = StateStore(tmp_path)
    (key,) = again.entries
    assert key.model_alias == "rob\0ust"
    again.drop([key])
    again.close()
    assert read_index(tmp_path) == ({}, {})


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TRIGGER t AFTER INSERT ON units BEGIN DELETE FROM units; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE INDEX i ON units (facts)",
        "ALTER TABLE units ADD COLUMN more TEXT",
        "DROP TABLE units; CREATE TABLE units (unit TEXT CHECK (0))",
        """DROP TABLE jobs; CREATE VIEW jobs AS
        WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)
        SELECT x AS rowid, x AS job, x AS progress, x AS checksum FROM r""",
    ],
)
def test_an_index_of_another_schema_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, schema: str
) -> None:
    store = StateStore(tmp_path)
    store.save(JOB, PROGRESS, {CPU: saved(1.0)}, now=0)
    store.close()
    connection = sqlite3.connect(tmp_path / INDEX)
    connection.executescript(schema)
    connection.close()
    with pytest.raises(StateError, match="it holds more than its tables"):
        read_index(tmp_path)
    again = StateStore(tmp_path)
    assert again.entries == {}
    assert "The stored state is not used" in caplog.text
    again.save(JOB, PROGRESS, {CPU: saved(2.0)}, now=0)
    assert again.read(CPU).arrays["mean"].tolist() == [2.0]
    again.close()


def test_a_link_or_a_pipe_in_place_of_the_index_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / INDEX).symlink_to(outside)
    with pytest.raises(StateError, match="it is a symbolic link, which is not followed"):
        StateStore(tmp_path / "link")
    assert outside.read_text() == "mine"
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / INDEX)
    with pytest.raises(StateError, match="it is not a regular file"):
        StateStore(tmp_path / "pipe")


GROUPS = Grouping(
    ("host",),
    (Labels({"host": "a"}), Labels({"host": "b"})),
    (
        Channel("cpu", Labels({"host": "a"})),
        Channel("mem", Labels({"host": "a"})),
        Channel("cpu", Labels({"host": "b"})),
    ),
    np.array([0, 2, 3]),
)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": [{"host": 1}, {"host": "b"}]},
        {"labels": [{"host": None}, {"host": "b"}]},
        {"labels": [{"host": "a"}, {"host": "a"}]},
        {"labels": {"host": "a"}},
        {"labels": ["ab", "cd"]},
        {"offsets": [0, 3]},
        {"offsets": [0, 0, 3]},
        {"offsets": [0, 3, 2]},
        {"offsets": [1, 2, 3]},
        {"offsets": [0, 2, 9]},
        {"offsets": [0, -1, 3]},
        {"offsets": [0, 2.0, 3]},
        {"offsets": [0, 2**70, 3]},
        {"offsets": [[0], [2], [3]]},
        {"offsets": None},
        {"offsets": [0, 1, 3]},
        {"groupby": "host"},
        {"groupby": ["rack"]},
        {"groups": [{"host": "a"}, {"host": "c"}]},
        {"channels": [["cpu", {"host": "a"}]] * 3},
        {"channels": [["cpu"], ["mem"], ["cpu"]]},
        {"channels": [[1, {"host": "a"}], ["mem", {"host": "a"}], ["cpu", {"host": "b"}]]},
        {"more": []},
    ],
)
def test_forged_members_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    arrays = to_arrays(Members(GROUPS.labels, GROUPS))
    assert read_members(write_arrays(tmp_path, "members-a", arrays)).grouping is not None
    forged = {
        name: np.frombuffer(json.dumps(part).encode(), np.uint8) for name, part in change.items()
    }
    with pytest.raises(StateError, match="is damaged"):
        read_members(write_arrays(tmp_path, "members-b", arrays | forged))
