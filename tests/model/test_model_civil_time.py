from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.model.civil_time import civil_time

HOUR = 3_600_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]


def wall_clock(timestamp: int, tz: str) -> int:
    """The same from the fields of a date."""
    moment = datetime.fromtimestamp(timestamp / 1000, UTC).astimezone(ZoneInfo(tz))
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


@given(
    st.sampled_from(ZONES),
    st.integers(0, 2_000_000_000).map(lambda seconds: seconds * 1000),
    st.sampled_from([60_000, 900_000, HOUR, 24 * HOUR]),
)
def test_it_is_what_the_clock_shows(tz: str, start: int, step: int) -> None:
    timestamps = start + step * np.arange(40, dtype=np.int64)
    expected = [wall_clock(int(timestamp), tz) for timestamp in timestamps]
    assert civil_time(timestamps, tz).tolist() == expected


@pytest.mark.parametrize("tz", ZONES)
def test_a_year_of_half_hours(tz: str) -> None:
    start = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
    timestamps = start + HOUR // 2 * np.arange(365 * 48, dtype=np.int64)
    expected = [wall_clock(int(timestamp), tz) for timestamp in timestamps]
    assert civil_time(timestamps, tz).tolist() == expected


def test_no_timestamps() -> None:
    assert civil_time(np.empty(0, np.int64), "Europe/Berlin").tolist() == []
