"""The kinds of values in requests: times, durations, texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import as_duration, as_number
from vmanomaly.config.values.scalar import resolve
from vmanomaly.config.values.time import parse_time

_ResultT = TypeVar("_ResultT")
ContentT = TypeVar("ContentT")

MAX_SPEC_VALUES = 10_000
"""In the specification of a model, or of a search."""

_LARGEST_MS = 253_402_300_799_000
"""The end of the year 9999."""
_MAX_DEPTH = 50


class WrongValueError(ValueError):
    """A value of a request is wrong; answered with 422.

    Parameters
    ----------
    name
        The argument or field; None where the message names it.
    message
        What was expected.
    """

    def __init__(self, name: str | None, message: str) -> None:
        super().__init__(message if name is None else f"{name}: {message}")
        self.name = name
        self.message = message


def as_time_ms(value: object) -> int:
    """Read a time: Unix seconds, whole, fractional or with an exponent, or RFC 3339.

    Returns
    -------
    int
        Unix milliseconds.

    Raises
    ------
    ValueError
        It is none.

    Examples
    --------
    >>> as_time_ms("1.764127845e+09"), as_time_ms(1.5), as_time_ms("1970-01-01T00:01:00Z")
    (1764127845000, 1500, 60000)
    """
    expected = "expected a time: Unix seconds, or RFC 3339 such as 2026-01-31T12:00:00Z"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                milliseconds = parse_time(str(value), "UTC")
            except ValueError:
                raise ValueError(expected) from None
            return _in_range(milliseconds, expected)
    if not abs(value) < _LARGEST_MS:
        raise ValueError(expected)
    return _in_range(round(value * 1000), expected)


def _in_range(milliseconds: int, expected: str) -> int:
    if not 0 <= milliseconds <= _LARGEST_MS:
        raise ValueError(expected)
    return milliseconds


def as_positive_duration(value: object) -> Duration:
    """Read a duration above 0 as in a configuration; a bare number is seconds.

    Examples
    --------
    >>> as_positive_duration("1h"), as_positive_duration(60), as_positive_duration("0.5")
    (Duration('1h'), Duration('1m'), Duration('500ms'))
    """
    if isinstance(value, str):
        number = resolve(value.strip())
        value = number if isinstance(number, int | float) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < _LARGEST_MS / 1000:
            raise ValueError("expected a duration above 0, such as 1h")
        milliseconds = round(float(value) * 1000)
        value = Duration(milliseconds)
    return as_duration(value, 1, "above 0")


def as_finite(value: object) -> float:
    """Read a number that is finite."""
    number = as_number(value)
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def as_small(content: ContentT, most: int = MAX_SPEC_VALUES) -> ContentT:
    """Return what is in a request, unless a check of it could take long.

    Parameters
    ----------
    content
        Mappings and lists in each other.
    most
        How many values it may hold.

    Raises
    ------
    ValueError
        There are more of them, or they are nested too deeply.

    Examples
    --------
    >>> as_small({"scale": [1, 2]}, 2)
    Traceback (most recent call last):
    ...
    ValueError: more than 2 values
    """
    n_values, level = 0, _inner(content)
    for _ in range(_MAX_DEPTH):
        n_values += len(level)
        if n_values > most:
            raise ValueError(f"more than {most} values")
        if not level:
            return content
        level = [inner for each in level for inner in _inner(each)]
    raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")


def _inner(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _filled(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("required, and must not be empty")
    return value.strip()


def read_argument(name: str, read: Callable[[object], _ResultT], value: object) -> _ResultT:
    """Read an argument by hand.

    Raises
    ------
    WrongValueError
        `read` raises a ValueError.
    """
    try:
        return read(value)
    except ValueError as error:
        raise WrongValueError(name, str(error)) from error


_TIME_SCHEMA = {
    "anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}],
    "examples": [1764127845, "2026-01-31T12:00:00Z"],
}
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "string", "format": "duration"},
        {"type": "number", "exclusiveMinimum": 0, "description": "Seconds"},
    ],
    "examples": ["5m"],
}

TimeMs: TypeAlias = Annotated[int, PlainValidator(as_time_ms), WithJsonSchema(_TIME_SCHEMA)]
PositiveDuration: TypeAlias = Annotated[
    Duration,
    PlainValidator(as_positive_duration),
    WithJsonSchema(_DURATION_SCHEMA),
]
FilledText: TypeAlias = Annotated[
    str, PlainValidator(_filled), WithJsonSchema({"type": "string", "minLength": 1})
]
SmallMapping: TypeAlias = Annotated[dict[str, Any], AfterValidator(as_small)]
SmallList: TypeAlias = Annotated[list[Any], AfterValidator(as_small)]
FiniteNumber: TypeAlias = Annotated[
    float, PlainValidator(as_finite), WithJsonSchema({"type": "number"})
]
