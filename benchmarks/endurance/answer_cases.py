"""Answers to a range query, as servers write them, as nobody writes them, and damaged ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

STEP = 60_000
GRID = STEP * np.arange(28_333_334, 28_333_342, dtype=np.int64)

_SECONDS = [int(t) // 1000 for t in GRID]
_CASES_PER_ANSWER = 8
_TEXTS = (
    b"", b"a", b"web-1", b"job", b"instance", b"__name__", b"le", b"\xc3\xa9", b"\xff", b"\xc3",
    b"\xed\xa0\x80", b"\\ud800", b"\\uDC00", b"\\ud83d\\ude00", b"\\u0061", b"\\\\", b'\\"', b"\\n",
    b"\\/", b"}", b"]", b"{", b",", b'\\\\\\"}', b" ", b"\x7f", b"x" * 40,
)  # fmt: skip
_NUMBERS = (
    b"0", b"-0", b"1", b"1.5", b"NaN", b"+Inf", b"-Inf", b"Inf", b"1e5", b"1E-5", b"1e+005",
    b"0.1", b"123456789012345678901234567890", b"1e308", b"1e-400", b"1e400", b"4.9e-324", b"5.",
    b".5", b"00012", b"+1", b"9007199254740993", b"18446744073709551615",
    b"2.2250738585072011e-308", b" 1 ", b"1_0", b"infinity", b"nan", b"\xd9\xa3", b"\\u0031",
)  # fmt: skip
_NO_NUMBERS = (b"0x1", b"", b"-", b"1e", b"x", b"1 2", b"\\n", b"--1", b"1,5")
_TIMES = (
    b"%d.0", b"%de0", b"%d.000", b"%d.0001", b"%d.5", b"%d.9999", b"-%d", b"%d000",
    b"%d.00000000000000000000000001", b"%d.0005", b"%d.0004999", b"%d0e-1", b"%d000E-3",
)  # fmt: skip
_NO_TIMES = (b"0%d", b'"%d"', b"%d.", b"+%d", b"[%d]")
_UNQUOTED = (b"1", b"1.5", b"-2e3", b"0.1e1", b"123456789012345678901234567890")
_NO_VALUES = (b"null", b"true", b"[]", b"{}", b"1e400", b"01", b"NaN")
_TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\xff", b" ", b"\n", b"null", b"NaN",
    b"[]", b"{}", b'""', b'"result":[]', b'"result":null,', b'"status":"error",', b'"values":[]',
    b'"values":[],', b'"metric":{},', b'"isPartial":true,', b'"histograms":[],', b"0", b"1", b"-",
    b".", b"e9", b"e-9", b"99999999999999999999", b"]}", b"]}]}}", b"{}{}", b"\\u0000", b"\\ud800",
    b"\t", b"\xef\xbb\xbf", b"/*", b"'", b"Infinity", b"true",
)  # fmt: skip
_SEPARATORS = (b"", b"", b"", b" ", b"\n", b"\t", b"\r\n", b"  ", b" " * 33)


@dataclass(frozen=True)
class Case:
    """An answer, and where it is cut into pieces.

    Attributes
    ----------
    body : bytes
        The answer.
    sizes : tuple of int
        Of its pieces but the last one.
    """

    body: bytes
    sizes: tuple[int, ...]


def cases(chance: random.Random, n: int) -> Iterator[Case]:
    """Yield so many answers: three in ten as they were made, the others damaged."""
    body = b""
    for number in range(n):
        if number % _CASES_PER_ANSWER == 0:
            body = answer(chance)
        damaged = body
        if chance.random() < 0.7:
            for _ in range(chance.choice((1, 1, 1, 2, 4))):
                damaged = chance.choice(_DAMAGES)(damaged, chance)
        yield Case(damaged, _sizes(len(damaged), chance))


def large_case(chance: random.Random) -> Case:
    """Return an answer of several MiB, that comes in large pieces and is damaged once, or not."""
    # Long names, so that few samples are to be read for it.
    one = b",".join(_usual_series(chance, b"host-%d" % number) for number in range(50))
    parts = [
        one.replace(b"host-", b"host-%d-" % number + b"x" * 500)
        for number in range(chance.randint(60, 120))
    ]
    body = _around(b",".join(parts))
    if chance.random() < 0.5:
        body = chance.choice(_DAMAGES)(body, chance)
    sizes = [chance.choice((1000, 65_536, 500_000, 1 << 20)) for _ in range(chance.randint(0, 12))]
    return Case(body, tuple(sizes))


def answer(chance: random.Random) -> bytes:
    """Return an answer: most are in the form that servers write, some in none that they write."""
    n_series = chance.choice((0, 1, 1, 2, 2, 3, 4, 8))
    if chance.random() < 0.5:
        names = [b"%d" % chance.randrange(20) for _ in range(n_series)]
        return _around(b",".join(_usual_series(chance, name) for name in names))
    space = _spacing(chance)
    result = b"[" + (space() + b"," + space()).join(
        _odd_series(chance, space) for _ in range(n_series)
    ) + b"]"  # fmt: skip
    data = _object(
        [(b'"resultType"', b'"matrix"'), (b'"result"', result)], chance, space, often=0.1
    )
    around = [(b'"status"', b'"success"'), (b'"data"', data)]
    if chance.random() < 0.2:
        around.insert(1, (b'"isPartial"', chance.choice((b"true", b"false", b"null", b"1"))))
    if chance.random() < 0.1:
        around.append((b'"warnings"', chance.choice((b"[]", b'["x"]', b"null", b"[1]"))))
    if chance.random() < 0.1:
        around.append((b'"stats"', b'{"seriesFetched":"2","a":[1,{"b":[]}]}'))
    return space() + _object(around, chance, space, often=0.1) + space()


def _around(series: bytes) -> bytes:
    return (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        + series
        + b'],"stats":{"seriesFetched":"2"}}}'
    )


def _usual_series(chance: random.Random, name: bytes) -> bytes:
    samples = b",".join(
        b'[%d,"%s"]' % (seconds, repr(round(chance.gauss(50, 20), chance.randrange(17))).encode())
        for seconds in _SECONDS
        if chance.random() < 0.8
    )
    return b'{"metric":{"__name__":"cpu","host":"%s"},"values":[%s]}' % (name, samples)


def _odd_series(chance: random.Random, space: Callable[[], bytes]) -> bytes:
    labels = [
        (b'"%s"' % _text(chance), b'"%s"' % _text(chance))
        for _ in range(chance.choice((0, 1, 2, 4)))
    ]
    samples = [_odd_sample(chance, space) for _ in range(chance.randrange(5))]
    members = [
        (b'"metric"', _object(labels, chance, space, often=0.0)),
        (b'"values"', b"[" + (space() + b"," + space()).join(samples) + b"]"),
    ]
    if chance.random() < 0.1:
        members.append((b'"histograms"', b'[[%d,{"count":"1"}]]' % chance.choice(_SECONDS)))
    if chance.random() < 0.03:
        members.append(chance.choice(members))
    if chance.random() < 0.03:
        del members[chance.randrange(len(members))]
    return _object(members, chance, space, often=0.1)


def _odd_sample(chance: random.Random, space: Callable[[], bytes]) -> bytes:
    seconds = b"%d" % (chance.choice(_SECONDS) + chance.choice((0, 0, 0, 0, 1, -60, 600)))
    if chance.random() < 0.1:
        seconds = _mostly(chance, _TIMES, _NO_TIMES) % int(seconds)
    if chance.random() < 0.5:
        value = b'"%r"' % chance.uniform(-1e6, 1e6)
    elif chance.random() < 0.9:
        value = b'"%s"' % _mostly(chance, _NUMBERS, _NO_NUMBERS)
    else:
        value = _mostly(chance, _UNQUOTED, _NO_VALUES)
    return b"[" + space() + seconds + space() + b"," + space() + value + space() + b"]"


def _mostly(chance: random.Random, good: tuple[bytes, ...], bad: tuple[bytes, ...]) -> bytes:
    return chance.choice(bad if chance.random() < 0.03 else good)


def _text(chance: random.Random) -> bytes:
    return b"".join(chance.choice(_TEXTS) for _ in range(chance.choice((1, 1, 1, 2, 3))))


def _spacing(chance: random.Random) -> Callable[[], bytes]:
    if chance.random() < 0.5:
        return lambda: b""
    return lambda: chance.choice(_SEPARATORS)


def _object(
    members: list[tuple[bytes, bytes]],
    chance: random.Random,
    space: Callable[[], bytes],
    often: float,
) -> bytes:
    if chance.random() < often:
        chance.shuffle(members)
    inside = (space() + b"," + space()).join(
        name + space() + b":" + space() + value for name, value in members
    )
    return b"{" + space() + inside + space() + b"}"


def _sizes(length: int, chance: random.Random) -> tuple[int, ...]:
    if chance.random() < 0.5:
        return ()
    cuts = sorted(chance.randint(0, length) for _ in range(chance.choice((1, 1, 2, 5))))
    return tuple(end - start for start, end in zip([0, *cuts], cuts, strict=False))


def _flip(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body) + 1)
    return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]


def _insert(body: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(body))
    return body[:at] + chance.choice(_TOKENS) + body[at:]


def _overwrite(body: bytes, chance: random.Random) -> bytes:
    at, token = chance.randint(0, len(body)), chance.choice(_TOKENS)
    return body[:at] + token + body[at + len(token) :]


def _delete(body: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(body))
    return body[:at] + body[at + chance.choice((1, 1, 2, 5, 30)) :]


def _repeat(body: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(body))
    end = at + chance.choice((1, 2, 10, 60, 400))
    return body[:end] + body[at:]


def _cut_off(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randint(0, len(body))]


def _exchange(body: bytes, chance: random.Random) -> bytes:
    first, middle, last = sorted(chance.randint(0, len(body)) for _ in range(3))
    return body[:first] + body[middle:last] + body[first:middle] + body[last:]


_DAMAGES = (_flip, _flip, _insert, _insert, _overwrite, _delete, _repeat, _cut_off, _exchange)
