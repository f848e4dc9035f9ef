"""One case: something stored is damaged or forged, and a start is made with it."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from benchmarks.endurance import forgeries
from benchmarks.endurance.state_subjects import NAMES, Subject, subject
from vmanomaly.detector import InferResult
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey, Labels, UnitKey
from vmanomaly.service.keeper import _CLOCK_CORRECTION_MS
from vmanomaly.state import Content, Members, Saved, StateError, StateStore
from vmanomaly.state.decision import Verdict, decide
from vmanomaly.state.files import read_arrays, write_arrays
from vmanomaly.state.index import INDEX, checksum_of
from vmanomaly.state.store import read_members

_ELSEWHERE = ("digest_start", "first_channel", "channel.", "serialized", "offsets")
"""Arrays that do not have a row for each series, or only say where its part of another one is."""
REFUSED, SAME, OTHER = "refused", "same scores", "another state"
_LARGEST_INCIDENT_SCORE = 4.0


class WrongError(Exception):
    """A score that is not to be."""


class Case(NamedTuple):
    """What is done.

    Attributes
    ----------
    subject : str
        A name of a subject, or `index`.
    attack : str
        What is done to it.
    """

    subject: str
    attack: str


def case_of(rng: Generator) -> Case:
    """Return a random case."""
    if rng.random() < _INDEX_SHARE:
        return Case("index", str(rng.choice(sorted(_INDEX_ATTACKS))))
    return Case(str(rng.choice(NAMES)), str(rng.choice(sorted(_FILE_ATTACKS))))


def run_case(case: Case, rng: Generator, folder: Path) -> str:
    """Return what came of a case: `REFUSED`, `SAME` or `OTHER`.

    Parameters
    ----------
    case
        From `case_of`.
    rng
        Where it goes on.
    folder
        An empty folder, for files.

    Raises
    ------
    WrongError
        Something was accepted that gives a wrong score.
    Exception
        Whatever else a start or a run would have met, which is a failure too.
    """
    if case.subject == "index":
        return _start_with_index(_INDEX_ATTACKS[case.attack], rng, folder)
    return _restore(_known(case.subject), case.attack, rng, folder)


@cache
def _known(name: str) -> Subject:
    return subject(name)


def _restore(known: Subject, attack: str, rng: Generator, folder: Path) -> str:
    which = "members" if "members" in attack else "arrays"
    original = known.member_arrays if which == "members" else known.content.arrays
    path = _FILE_ATTACKS[attack](dict(original), rng, folder)
    try:
        if which == "members":
            content = Content(read_members(path), known.content.arrays)
        else:
            content = Content(known.content.members, read_arrays(path))
        learned = known.restored(content)
    except (StateError, ValueError):
        # What the keeper expects: that part is fitted again.
        return REFUSED
    finally:
        path.unlink()
    if (learned.last_seen or 0) > int(known.new.timestamps[-1]) + _CLOCK_CORRECTION_MS:
        # What the keeper compares with the time of the save.
        return REFUSED
    if attack.startswith("damaged"):
        raise WrongError("damage was not noticed")
    stored, known_rows = dict(_rows(content)), dict(_rows(known.content))
    same = {labels for labels, row in stored.items() if known_rows.get(labels) == row}
    found = known.scores(learned)
    _check_scores(found)
    _check_unchanged(known.undamaged, found, same)
    return SAME if same == known_rows.keys() == stored.keys() else OTHER


def _rows(content: Content) -> Iterator[tuple[Labels, bytes]]:
    """Yield all that is stored of each series or group, wherever it lies."""
    arrays, labels = content.arrays, content.members.labels
    ragged = sorted(name for name in arrays if f"{name}_offsets" in arrays)
    elsewhere = {*ragged, *(f"{name}_offsets" for name in ragged)}
    grouping = content.members.grouping
    for row, label_set in enumerate(labels):
        parts = [
            array[row].tobytes()
            for name, array in sorted(arrays.items())
            if name not in elsewhere
            and not name.startswith(_ELSEWHERE)
            and not ("digest_start" in arrays and name.startswith("centroid_"))
        ]
        for name in ragged:
            begin, end = arrays[f"{name}_offsets"][row : row + 2]
            parts += [b"%d " % (end - begin), arrays[name][begin:end].tobytes()]
        if "digest_start" in arrays:
            for start, size in zip(
                arrays["digest_start"][row], arrays["n_centroids"][row], strict=True
            ):
                parts += [
                    arrays[name][start : start + size].tobytes()
                    for name in ("centroid_mean", "centroid_weight")
                ]
        if "serialized" in arrays:
            begin, end = arrays["offsets"][row : row + 2]
            parts.append(arrays["serialized"][begin:end].tobytes())
        if "first_channel" in arrays:
            first = int(arrays["first_channel"][row])
            channels = slice(first, first + int(arrays["n_channels"][row]))
            parts += [
                array[channels].tobytes()
                for name, array in sorted(arrays.items())
                if name.startswith("channel.")
            ]
        if grouping is not None:
            number = grouping.labels.index(label_set)
            begin, end = grouping.offsets[number : number + 2]
            parts.append(repr(grouping.channels[begin:end]).encode())
        yield label_set, b"".join(parts)


def _check_scores(result: InferResult) -> None:
    """Check that what is written are scores and bounds, of whatever state."""
    for part in result.parts:
        outputs = part.predictions.outputs
        for name, values in outputs.items():
            if name != "y" and np.isinf(values).any():
                raise WrongError(f"{name} is infinite")
        if {"yhat", "yhat_lower", "yhat_upper"} <= outputs.keys() and (
            (outputs["yhat_lower"] > outputs["yhat"]) | (outputs["yhat"] > outputs["yhat_upper"])
        ).any():
            raise WrongError("yhat is not between its bounds")
        scores = [outputs[n] for n in ("anomaly_score", "incident_score") if n in outputs]
        if any((values < 0.0).any() for values in scores):
            raise WrongError("a score is negative")
        if (outputs.get("incident_score", np.zeros(1)) > _LARGEST_INCIDENT_SCORE).any():
            raise WrongError("incident_score is above its range")


def _check_unchanged(undamaged: InferResult, found: InferResult, same: set[Labels]) -> None:
    """Check that series of which the same is stored as before have the same scores."""
    before = _by_series(undamaged)
    for (query, labels), outputs in _by_series(found).items():
        if not any(owner.items() <= labels.items() for owner in same):
            continue
        for name, values in outputs.items():
            if not np.array_equal(values, before[query, labels][name], equal_nan=True):
                raise WrongError(f"{name} of {labels}, of which nothing was changed, is another")


def _by_series(result: InferResult) -> dict[tuple[str | None, Labels], dict[str, Any]]:
    return {
        (part.query, labels): {
            name: values[row] for name, values in part.predictions.outputs.items()
        }
        for part in result.parts
        for row, labels in enumerate(part.predictions.labels)
    }


def _named(content: bytes, folder: Path, *, sealed: bool) -> Path:
    """Write a file; where it is sealed, its name has the checksum that its bytes have."""
    checksum = zlib.crc32(content) if sealed else zlib.crc32(content) ^ 1
    path = folder / f"arrays-0123456789abcdef-{checksum:08x}.safetensors"
    path.write_bytes(content)
    return path


def _written(arrays: forgeries.Arrays, folder: Path) -> bytes:
    path = write_arrays(folder, "arrays-0123456789abcdef", arrays)
    content = path.read_bytes()
    path.unlink()
    return content


def _damaged(arrays: forgeries.Arrays, rng: Generator, folder: Path) -> Path:
    content = _written(arrays, folder)
    changed = content
    while changed == content:
        changed = forgeries.flipped(content, rng)
    path = folder / f"arrays-0123456789abcdef-{zlib.crc32(content):08x}.safetensors"
    path.write_bytes(changed)
    return path


def _flipped(arrays: forgeries.Arrays, rng: Generator, folder: Path) -> Path:
    return _named(forgeries.flipped(_written(arrays, folder), rng), folder, sealed=True)


def _header(arrays: forgeries.Arrays, rng: Generator, folder: Path) -> Path:
    return _named(forgeries.forged_header(_written(arrays, folder), rng), folder, sealed=True)


def _forged(arrays: forgeries.Arrays, rng: Generator, folder: Path) -> Path:
    forged = {
        name: array if array.dtype.kind in "iufb" else array.astype(np.float64)
        for name, array in forgeries.forged_arrays(arrays, rng).items()
    }
    return write_arrays(folder, "arrays-0123456789abcdef", forged)


def _forged_members(arrays: forgeries.Arrays, rng: Generator, folder: Path) -> Path:
    name = str(rng.choice(sorted(arrays)))
    text = forgeries.forged_json(arrays[name].tobytes(), rng)
    arrays[name] = np.frombuffer(text, np.uint8)
    return write_arrays(folder, "members-0123456789abcdef", arrays)


_FILE_ATTACKS: dict[str, Callable[[forgeries.Arrays, Generator, Path], Path]] = {
    "damaged arrays": _damaged,
    "damaged members": _damaged,
    "flipped bytes of arrays, right checksum": _flipped,
    "flipped bytes of members, right checksum": _flipped,
    "forged header of arrays": _header,
    "forged header of members": _header,
    "forged elements, right checksum": _forged,
    "forged elements, right checksum (2)": _forged,
    "forged elements, right checksum (3)": _forged,
    "forged members": _forged_members,
}

# ------------------------------------------------------------------------------------ the index

_INDEX_SHARE = 0.1
_JOB = JobKey("live", ("cpu",))
_UNITS = tuple(UnitKey("live", name, ("cpu",)) for name in ("a", "b", "c"))
_SIGNATURE = {"models.a.threshold": "12ab", "reader.class": "34cd"}
_PROGRESS = {"first_run": 1_750_000_000_000, "covered": 1_750_000_060_000, "last_fit": 0}


def _saved(value: float) -> Saved:
    arrays = {"mean": np.full(1, value), "last_seen": np.zeros(1, np.int64)}
    members = Members((Labels({"host": "a"}),))
    return Saved(_SIGNATURE, "zscore_online", "0.1.0", Content(members, arrays))


@cache
def _template(folder: Path) -> Path:
    template = folder / "template"
    store = StateStore(template)
    store.save(_JOB, _PROGRESS, {key: _saved(n) for n, key in enumerate(_UNITS)}, 42)
    store.close()
    return template


def _start_with_index(
    attack: Callable[[Path, Generator], None], rng: Generator, folder: Path
) -> str:
    own = folder / "state"
    shutil.copytree(_template(folder), own)
    try:
        attack(own / INDEX, rng)
        store = StateStore(own)
        wanted = dict.fromkeys(_UNITS, _SIGNATURE)
        decisions = decide(wanted, store.entries, "0.1.0")
        Progress.of(store.progress(_JOB) or {})
        n_same = 0
        for number, key in enumerate(_UNITS):
            if decisions[key].verdict is not Verdict.REUSE:
                continue
            try:
                content = store.read(key)
            except StateError:
                continue
            if content.arrays["mean"].tolist() == [number]:
                n_same += 1
        store.drop([key for key in decisions if key not in wanted])
        store.save(_JOB, _PROGRESS, {key: _saved(7 + n) for n, key in enumerate(_UNITS)}, 43)
        store.close()
        again = StateStore(own)
        for number, key in enumerate(_UNITS):
            if again.read(key).arrays["mean"].tolist() != [7 + number]:
                raise WrongError(f"{key} is not what was stored last")
        if len(again.entries) != len(_UNITS):
            raise WrongError("there is more than what was stored")
        again.close()
        return SAME if n_same == len(_UNITS) else REFUSED
    finally:
        shutil.rmtree(own)


def _flipped_index(path: Path, rng: Generator) -> None:
    path.write_bytes(forgeries.flipped(path.read_bytes(), rng))


def _forged_row(path: Path, rng: Generator) -> None:
    connection = sqlite3.connect(path)
    table = "units" if rng.random() < 0.7 else "jobs"
    rows = connection.execute(_SELECT[table]).fetchall()
    row = list(rows[int(rng.integers(0, len(rows)))])
    key, place = row[0], int(rng.integers(0, len(row)))
    if place > 1 or rng.random() < 0.2:
        odd: list[Any] = [None, 1, 2.5, b"\xff\0", "", "\0", "../x", "arrays-0123456789abcdef.tmp"]
        odd += [f"{row[place]}\0", row[place].replace(",", ", "), f" {row[place]}"]
        row[place] = odd[int(rng.integers(0, len(odd)))]
    else:
        row[place] = forgeries.forged_json(row[place].encode(), rng).decode()
    if rng.random() < 0.7:
        connection.execute(_DELETE[table], [key])
    connection.execute(_INSERT[table], [*row, checksum_of(row)])
    connection.commit()
    connection.close()


_SELECT = {
    "units": "SELECT unit, facts, arrays, members FROM units",
    "jobs": "SELECT job, progress FROM jobs",
}
_DELETE = {"units": "DELETE FROM units WHERE unit = ?", "jobs": "DELETE FROM jobs WHERE job = ?"}
_INSERT = {
    "units": "INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?)",
    "jobs": "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)",
}
_SCHEMAS = (
    "CREATE TRIGGER t AFTER INSERT ON units BEGIN DELETE FROM units; END",
    "CREATE VIEW v AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM r) SELECT x FROM r",
    """DROP TABLE jobs;
    CREATE VIEW jobs AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)
    SELECT x AS rowid, x AS job, x AS progress, x AS checksum FROM r""",
    "ALTER TABLE units ADD COLUMN more TEXT",
    "DROP TABLE units",
    "DROP TABLE units; CREATE TABLE units (unit TEXT CHECK (0))",
    "CREATE INDEX i ON units (facts)",
    "PRAGMA user_version = 99",
    "PRAGMA user_version = -1",
    "PRAGMA encoding = 'UTF-16'; VACUUM",
    "PRAGMA page_size = 512; VACUUM",
)


def _forged_schema(path: Path, rng: Generator) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.executescript(_SCHEMAS[int(rng.integers(0, len(_SCHEMAS)))])
    connection.close()


_INDEX_ATTACKS: dict[str, Callable[[Path, Generator], None]] = {
    "flipped bytes": _flipped_index,
    "forged row, right checksum": _forged_row,
    "forged row, right checksum (2)": _forged_row,
    "forged schema": _forged_schema,
}
