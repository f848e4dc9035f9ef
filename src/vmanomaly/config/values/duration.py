"""Durations as they are written in a config: `30s`, `1h30m`, `PT1H`."""

from __future__ import annotations

import re
from decimal import Decimal

from pydantic_core import CoreSchema, core_schema

_NUMBER = r"(\d{1,15}(?:\.\d{1,9})?)"
_PLAIN = re.compile(
    rf"(?:{_NUMBER}[wW])?(?:{_NUMBER}[dD])?(?:{_NUMBER}[hH])?"
    rf"(?:{_NUMBER}m(?!s))?(?:{_NUMBER}[sS])?(?:{_NUMBER}ms)?"
)
_ISO = re.compile(
    rf"P(?P<early>T?)(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?P<late>T?)"
    rf"(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?"
)
_UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_LONGEST_MS = 2**53

EXPECTED = "expected a duration such as 30s, 5m, 1h30m or 14d"


class Duration(int):
    """A length of time, in milliseconds.

    Arithmetic gives plain integers; `Duration(...)` makes them durations again.

    Examples
    --------
    >>> Duration.parse("1h30m")
    Duration('1h30m')
    >>> int(Duration.parse("-15s"))
    -15000
    >>> Duration.parse("PT12H").seconds
    43200.0
    >>> str(Duration.parse("90s"))
    '1m30s'
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read a duration.

        Parameters
        ----------
        text
            Numbers with the units `w`, `d`, `h`, `m`, `s`, `ms` in this order, each at most once,
            or the ISO 8601 form, in which a left out or misplaced `T` is forgiven where the
            meaning is clear (`P1H`, `PT1D`). A sign may stand in front.

        Raises
        ------
        ValueError
            If `text` is no duration; the message says what would be one.
        """
        unsigned = text.strip()
        negative = unsigned.startswith("-")
        unsigned = unsigned.removeprefix("-" if negative else "+")
        units = list(_UNITS_MS.values())
        if iso := _ISO.fullmatch(unsigned):
            early, weeks, days, late, hours, minutes, seconds = iso.groups()
            if minutes is not None and not early and not late:
                raise ValueError(
                    f"{EXPECTED}; in ISO 8601 {text} counts months: "
                    f"write PT{minutes}M or {minutes}m for minutes"
                )
            numbers = [weeks, days, hours, minutes, seconds]
            well_formed = not (early and late)
        elif plain := _PLAIN.fullmatch(unsigned):
            numbers = list(plain.groups())
            well_formed = True
        else:
            raise ValueError(EXPECTED + _hint(unsigned))
        given = [
            Decimal(number) * unit
            for number, unit in zip(numbers, units, strict=False)
            if number is not None
        ]
        if not given or not well_formed:
            raise ValueError(EXPECTED)
        total = sum(given, Decimal())
        if total != int(total):
            raise ValueError(f"{EXPECTED}; the finest is 1ms")
        if total > _LONGEST_MS:
            raise ValueError(f"{EXPECTED}; the longest is {_LONGEST_MS // _UNITS_MS['d']}d")
        return cls(-int(total) if negative else int(total))

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return int(self) / 1000

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """Have JSON Schemas show a default as it is written."""
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    def __str__(self) -> str:
        if self == 0:
            return "0s"
        rest = abs(int(self))
        if rest % _UNITS_MS["w"] == 0:
            parts = [f"{rest // _UNITS_MS['w']}w"]
        else:
            parts = []
            for unit in ("d", "h", "m", "s", "ms"):
                count, rest = divmod(rest, _UNITS_MS[unit])
                if count:
                    parts.append(f"{count}{unit}")
        return ("-" if self < 0 else "") + "".join(parts)

    def __repr__(self) -> str:
        return f"Duration('{self}')"


def _hint(text: str) -> str:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return f"; a bare number has no unit, write {text}s for seconds"
    if re.fullmatch(r"\d+M", text):
        return f"; write {text[:-1]}m for minutes"
    return ""
