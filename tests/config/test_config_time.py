from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.config.values.time import format_time, parse_clock, parse_iso, parse_time, parse_unix

APRIL = int(dt.datetime(2022, 4, 1, tzinfo=dt.UTC).timestamp()) * 1000
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-04-01T00:00:00Z", APRIL),
        ("2022-04-01T00:00:00+01:00", APRIL - HOUR),
        ("2022-04-01T00:00:00+0100", APRIL - HOUR),
        ("2022-04-01T00:00:00+01", APRIL - HOUR),
        ("2022-04-01T00:00:00-05:30", APRIL + 5 * HOUR + HOUR // 2),
        ("2022-04-01T00:00:00", APRIL),
        ("2022-04-01 00:00:00", APRIL),
        ("2022-04-01T00:00Z", APRIL),
        ("2022-04-01", APRIL),
        ("2022-04-01T00:00:00.250Z", APRIL + 250),
    ],
)
def test_iso(text: str, expected: int) -> None:
    assert parse_iso(text) == expected


def test_naive_time_is_in_the_time_zone_of_its_day() -> None:
    # Kyiv is at +02:00 in winter and +03:00 in summer.
    assert parse_iso("2022-01-01T02:00", "Europe/Kyiv") == parse_iso("2022-01-01T00:00Z")
    assert parse_iso("2022-07-01T03:00", "Europe/Kyiv") == parse_iso("2022-07-01T00:00Z")
    assert parse_iso("2022-07-01T00:00Z", "Europe/Kyiv") == parse_iso("2022-07-01T00:00Z")


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2022-13-01", "2022-04-01T25:00", "0001-01-01T00:00+23:00x"]
)
def test_iso_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        parse_iso(text)


def test_unix_seconds() -> None:
    assert parse_unix("1648771200") == APRIL
    assert parse_unix("1648771200.25") == APRIL + 250
    assert parse_time("1648771200") == parse_time("2022-04-01") == APRIL


@pytest.mark.parametrize("text", ["", "1e9", "now", "1648771200000"])
def test_unix_seconds_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a Unix time in seconds"):
        parse_unix(text)


def test_milliseconds_are_named() -> None:
    with pytest.raises(ValueError, match="milliseconds are not accepted"):
        parse_time("1648771200000")


def test_clock() -> None:
    assert parse_clock("01:00") == dt.time(1)
    assert parse_clock("7:05") == dt.time(7, 5)
    assert parse_clock("24:00") is None
    assert parse_clock("12:60") is None


@given(
    st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2200, 1, 1)).map(
        lambda moment: int(moment.replace(tzinfo=dt.UTC).timestamp() * 1000)
    )
)
def test_written_time_is_read_again(unix_ms: int) -> None:
    assert parse_iso(format_time(unix_ms)) == unix_ms
