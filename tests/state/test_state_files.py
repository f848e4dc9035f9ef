from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save_file

from vmanomaly.state import StateError
from vmanomaly.state.files import read_arrays, write_arrays

ARRAYS = {
    "flag": np.array([True, False, True]),
    "mean": np.array([0.5, -np.inf, np.nan]),
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "room": np.arange(-3, 3, dtype=np.int16).reshape(3, 2),
    "last_seen": np.array([np.iinfo(np.int64).min, 0, 7]),
    "nothing": np.empty((0, 5), np.int32),
    "text": np.frombuffer(b"[]", np.uint8),
}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array, equal_nan=True)
        if array.dtype.kind == "f"
        else found[name].dtype == array.dtype and np.array_equal(found[name], array)
        for name, array in expected.items()
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = write_arrays(tmp_path, "a", ARRAYS)
    found = read_arrays(path)
    assert same(found, ARRAYS)
    found["mean"][0] = 1.0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_format_is_that_of_safetensors(tmp_path: Path) -> None:
    assert same(load_file(write_arrays(tmp_path, "a", ARRAYS)), ARRAYS)


def test_files_of_the_library_are_read(tmp_path: Path) -> None:
    file = tmp_path / "x"
    save_file(ARRAYS, file)
    named = file.rename(tmp_path / f"x-{zlib.crc32(file.read_bytes()):08x}.safetensors")
    assert same(read_arrays(named), ARRAYS)


def test_arrays_that_are_not_contiguous_are_written(tmp_path: Path) -> None:
    wide = np.arange(20.0).reshape(4, 5)
    assert same(read_arrays(write_arrays(tmp_path, "a", {"x": wide[:, ::2]})), {"x": wide[:, ::2]})


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = write_arrays(tmp_path, "a", ARRAYS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(StateError, match="is damaged") as caught:
            read_arrays(path)
        assert caught.value.reason == "damaged"


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = write_arrays(tmp_path, "a", ARRAYS)
    whole = path.read_bytes()
    for n_bytes in range(len(whole)):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(StateError, match="is damaged"):
            read_arrays(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"a-1\.safetensors is missing"):
        read_arrays(tmp_path / "a-1.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"x": 1}',
        b'{"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 16]}}',
        b'{"x": {"dtype": "F64", "shape": [1], "data_offsets": [-8, 0]}}',
        b'{"x": {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}',
        b'{"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}',
    ],
)
def test_a_header_that_means_nothing_is_refused(tmp_path: Path, header: bytes) -> None:
    content = len(header).to_bytes(8, "little") + header + bytes(8)
    path = tmp_path / f"a-{zlib.crc32(content):08x}.safetensors"
    path.write_bytes(content)
    with pytest.raises(StateError, match="is not a file of arrays"):
        read_arrays(path)


def test_nothing_is_left_of_a_file_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_arrays(tmp_path, "a", ARRAYS)
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="the array x of object cannot be stored"):
        write_arrays(tmp_path, "a", {"x": np.array([None])})
    assert list(tmp_path.iterdir()) == []


def sealed(
    folder: Path, header: object, data: bytes = b"\0" * 16, length: int | None = None
) -> Path:
    """Write a file with a header of our own, named after the checksum that it has."""
    text = header if isinstance(header, bytes) else orjson.dumps(header)
    content = (len(text) if length is None else length).to_bytes(8, "little") + text + data
    path = folder / f"a-{zlib.crc32(content):08x}.safetensors"
    path.write_bytes(content)
    return path


def place(
    dtype: object = "F64", shape: object = (2,), offsets: object = (0, 16)
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_header_of_our_own_can_be_read(tmp_path: Path) -> None:
    assert read_arrays(sealed(tmp_path, {"x": place()}))["x"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "header",
    [
        *([], None, 7, "x", {"x": None}, {"x": []}, {"x": {}}, b"{", b"[" * 5000),
        {"x": place(dtype="F16")},
        {"x": place(dtype=["F64"])},
        {"x": place(shape=7)},
        {"x": place(shape=(-1, -2))},
        {"x": place(shape=(2.0,))},
        {"x": place(shape=(True, 2))},
        {"x": place(shape=(0, 2**62), offsets=(0, 0)), "y": place()},
        {"x": place(shape=(2**62, 4))},
        {"x": place(shape=[1] * 100 + [2])},
        {"x": place(offsets=())},
        {"x": place(offsets=(0, 16, 16))},
        {"x": place(offsets=(-16, 0))},
        {"x": place(offsets=("0", "16"))},
        {"x": place(offsets=(0, 2**63))},
        {"x": place(shape=(1,), offsets=(8, 16))},
        {"x": place(shape=(1,), offsets=(0, 8))},
        {"x": place(), "y": place()},
        {"x": place(shape=(1,), offsets=(0, 8)), "y": place(offsets=(0, 16))},
        {"x": place(dtype="BOOL", shape=(16,)), "y": place("U8", (1,), (16, 17))},
        {"__metadata__": {"format": "np"}, "x": place()},
    ],
)
def test_forged_headers_are_refused(tmp_path: Path, header: object) -> None:
    with pytest.raises(StateError) as caught:
        read_arrays(sealed(tmp_path, header))
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**20 + 1, 2**31, 2**63, 2**64 - 1])
def test_headers_of_a_forged_length_are_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(StateError, match="is not a file of arrays"):
        read_arrays(sealed(tmp_path, {"x": place()}, length=length))


def test_giant_headers_are_refused(tmp_path: Path) -> None:
    empty = place(shape=(0,), offsets=(0, 0))
    with pytest.raises(StateError, match=r"a header of \d+ bytes"):
        read_arrays(sealed(tmp_path, {f"x{n}": empty for n in range(30_000)}, b""))


def test_truth_values_are_checked(tmp_path: Path) -> None:
    header = {"x": place("BOOL", (2,), (0, 2))}
    assert read_arrays(sealed(tmp_path, header, b"\0\1"))["x"].tolist() == [False, True]
    with pytest.raises(StateError, match="something other than truth values"):
        read_arrays(sealed(tmp_path, header, b"\0\2"))


def test_neither_pipes_nor_links_are_read(tmp_path: Path) -> None:
    path = write_arrays(tmp_path, "a", ARRAYS)
    link, pipe = tmp_path / f"b{path.name[1:]}", tmp_path / f"c{path.name[1:]}"
    link.symlink_to(path)
    os.mkfifo(pipe)
    for odd in (link, pipe):
        with pytest.raises(StateError, match=r"Too many levels|not a regular file"):
            read_arrays(odd)
