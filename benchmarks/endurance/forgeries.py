"""Ways to damage and to forge what is stored: bytes, arrays, JSON and headers; all from a seed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import orjson
from numpy.random import Generator

from vmanomaly.model.state import Array

Arrays = dict[str, Array]

_ODD_FLOATS = (
    *(np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-320, 1e-30, 1e30, 1e306, -1e306, 1.7e308),
    *(-1.7e308, 2.0**31, 2.0**53, 2.0**63, 1e9, 0.5),
)
_ODD_INTS = (
    *(0, -1, 1, 2, 3, 7, 8, 116, 1000, 10**9, 2**31 - 1, -(2**31), 2**31, 2**32, 2**53),
    *(2**53 + 1, 2**62, 2**63 - 1, -(2**63), 1_750_000_000_000, -(10**9)),
)
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 3, 10**9, 2**53, 2**63 - 1, -(2**63), 1.5, 1e300, ""),
    *("\0", "a\0b", "\n2026-01-01 ERROR", "x" * 5000, [], [[]], {}, {"": ""}, {"a": None}),
    *([0, 1], [-1, 2], [0, 10**9], ["a", "b", ["c"]], "F64", "U8", "BOOL", "999.0.0"),
)


def flipped(content: bytes, rng: Generator) -> bytes:
    """Return the bytes with up to eight of them changed, or cut short or made longer."""
    changed = bytearray(content)
    if rng.random() < 0.1:
        end = int(rng.integers(0, len(changed) + 1))
        return bytes(changed[:end] if rng.random() < 0.7 else changed + rng.bytes(end))
    # Headers are short: half of the changes go there.
    most = len(changed) if rng.random() < 0.5 else min(len(changed), 600)
    for place in rng.integers(0, most, int(rng.integers(1, 9))):
        if rng.random() < 0.5:
            changed[place] ^= 1 << int(rng.integers(0, 8))
        else:
            changed[place] = int(rng.integers(0, 256))
    return bytes(changed)


def forged_arrays(arrays: Arrays, rng: Generator) -> Arrays:
    """Return the arrays with one or two of them forged."""
    forged = dict(arrays)
    for _ in range(1 if rng.random() < 0.8 else 2):
        name = str(rng.choice(sorted(forged)))
        way = _ARRAY_WAYS[int(rng.integers(0, len(_ARRAY_WAYS)))]
        forged[name] = way(forged[name].copy(), rng)
    if rng.random() < 0.03:
        del forged[str(rng.choice(sorted(forged)))]
    return forged


def _odd_elements(array: Array, rng: Generator) -> Array:
    flat = array.reshape(-1)
    for place in rng.integers(0, max(array.size, 1), int(rng.integers(1, 4))):
        if array.size:
            flat[place] = _odd(array.dtype, rng)
    return array


def _odd(dtype: np.dtype[Any], rng: Generator) -> Any:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.float64(rng.choice(_ODD_FLOATS)).astype(dtype)
    odd = int(_ODD_INTS[int(rng.integers(0, len(_ODD_INTS)))])
    return np.array(odd & (2**64 - 1), np.uint64).astype(dtype)


def _all_odd(array: Array, rng: Generator) -> Array:
    array[...] = _odd(array.dtype, rng)
    return array


def _random_bits(array: Array, rng: Generator) -> Array:
    flat = array.reshape(-1)
    if array.size:
        place = int(rng.integers(0, array.size))
        flat[place] = np.frombuffer(rng.bytes(array.itemsize), array.dtype)[0]
    return array


def _shuffled(array: Array, rng: Generator) -> Array:
    flat = array.reshape(-1)
    rng.shuffle(flat)
    return array


def _reversed(array: Array, rng: Generator) -> Array:
    return np.ascontiguousarray(np.flip(array, axis=int(rng.integers(0, array.ndim))))


def _nudged(array: Array, rng: Generator) -> Array:
    flat = array.reshape(-1)
    if array.size:
        place = int(rng.integers(0, array.size))
        with np.errstate(all="ignore"):
            flat[place] += array.dtype.type(rng.integers(1, 3))
    return array


def _scaled(array: Array, rng: Generator) -> Array:
    factor = float(rng.choice([-1.0, 0.0, 2.0, 1e6, 1e300]))
    with np.errstate(all="ignore"):
        scaled = array.astype(np.float64) * factor
        if array.dtype.kind != "f":
            scaled = np.nan_to_num(scaled, nan=0.0)
        return scaled.astype(array.dtype)


def _reshaped(array: Array, rng: Generator) -> Array:
    ways: list[Callable[[], Array]] = [
        lambda: array[:-1],
        lambda: np.concatenate([array, array]),
        lambda: array[..., None],
        lambda: array.reshape(-1),
        lambda: np.zeros((0, *array.shape[1:]), array.dtype),
        lambda: array.astype(np.float64 if array.dtype != np.float64 else np.int64),
        lambda: array.astype(np.int32),
    ]
    with np.errstate(all="ignore"):
        return ways[int(rng.integers(0, len(ways)))]()


_ARRAY_WAYS: tuple[Callable[[Array, Generator], Array], ...] = (
    *(_odd_elements, _odd_elements, _odd_elements, _all_odd, _random_bits, _random_bits),
    *(_shuffled, _reversed, _nudged, _nudged, _scaled, _reshaped),
)


def forged_json(text: bytes, rng: Generator) -> bytes:
    """Return JSON with some of its nodes replaced, removed, repeated or swapped."""
    tree = orjson.loads(text)
    for _ in range(int(rng.integers(1, 4))):
        tree = _changed_node(tree, rng)
    return orjson.dumps(tree)


def _changed_node(tree: Any, rng: Generator) -> Any:
    children = (
        list(tree)
        if isinstance(tree, dict)
        else list(range(len(tree or ())))
        if isinstance(tree, list)
        else []
    )
    if not children or rng.random() < 0.15:
        return deepcopy(_ODD_VALUES[int(rng.integers(0, len(_ODD_VALUES)))])
    child = children[int(rng.integers(0, len(children)))]
    way = rng.random()
    if way < 0.7:
        tree[child] = _changed_node(tree[child], rng)
    elif way < 0.8:
        del tree[child]
    elif isinstance(tree, list):
        tree.insert(int(rng.integers(0, len(tree) + 1)), deepcopy(tree[child]))
    else:
        tree[str(rng.choice(["", "dtype", "a\0", "unknown"]))] = tree.pop(child)
    return tree


def forged_header(content: bytes, rng: Generator) -> bytes:
    """Return a file of arrays whose header was forged, or the length that it is said to have."""
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    if rng.random() < 0.1:
        said = int(rng.choice([0, 1, 7, length + 8, len(content), 2**20, 2**31, 2**62], 1)[0])
        return said.to_bytes(8, "little") + header + data
    places = orjson.loads(header)
    name = str(rng.choice(sorted(places)))
    other = str(rng.choice(sorted(places)))
    ways: list[Callable[[], Any]] = [
        lambda: places[name].update(data_offsets=places[other]["data_offsets"]),
        lambda: places[name].update(shape=[*places[name]["shape"], 0]),
        lambda: places[name].update(shape=[-n for n in places[name]["shape"]]),
        lambda: places[name].update(shape=[0, 2**62, 2**62]),
        lambda: places[name].update(dtype=str(rng.choice(["F64", "I64", "BOOL", "U8", "F16"]))),
        lambda: places.update({name: places[other], other: places[name]}),
        lambda: places.update({f"{name}{i}": places[name] for i in range(2000)}),
        lambda: places.update({name: [name]}),
    ]
    if rng.random() < 0.5:
        ways[int(rng.integers(0, len(ways)))]()
        text = orjson.dumps(places)
    else:
        text = forged_json(header, rng)
    return len(text).to_bytes(8, "little") + text + data
