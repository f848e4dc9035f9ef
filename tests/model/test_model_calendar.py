from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from vmanomaly.model.temporal_envelope.calendar import ALL_HOLIDAYS, DAY, HOUR, PATTERNS, places_of
from vmanomaly.model.temporal_envelope.special_days import GROUP, special_days
from vmanomaly.series import IntArray


def at(text: str, tz: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


@pytest.mark.parametrize("name", PATTERNS)
def test_bins_follow_the_clock_on_the_wall(name: str) -> None:
    """Against the fields of `datetime`, over a year with both changes of the clock."""
    pattern = PATTERNS[name]
    tz = "America/New_York"
    timestamps = at("2025-01-01") + 37 * 60_000 * np.arange(14_000, dtype=np.int64)
    places = places_of([pattern], timestamps, tz)
    shares = places.shares[:, 0]
    assert ((shares >= 0.0) & (shares < 1.0)).all()
    assert (shares == 0.0).all() or pattern.smooth
    for t in range(0, len(timestamps), 61):
        moment = datetime.fromtimestamp(timestamps[t] / 1000, UTC).astimezone(ZoneInfo(tz))
        day = (moment.hour + moment.minute / 60) / 24
        expected = {
            "hod": day,
            "dow": (moment.weekday() + day) / 7,
            "weekpart": 0.5 * (moment.weekday() >= 5),
            "month": (moment.month - 1) / 12,
        }[name.partition("_")[0]]
        first, second = places.bins[t, 0]
        assert second == (first + 1) % pattern.n_bins
        if name == "month_smooth":
            # Midway between two middles of months, more or less.
            assert (first - (moment.month - 1)) % 12 in {0, 11}
        elif pattern.smooth:
            middle = (first + 0.5 + shares[t]) / pattern.n_bins
            assert (middle - expected) % 1.0 == pytest.approx(0.0, abs=1e-9) or (
                (expected - middle) % 1.0 == pytest.approx(0.0, abs=1e-9)
            )
        else:
            assert first == int(expected * pattern.n_bins + 1e-9)


def test_patterns_have_bins_of_their_own() -> None:
    patterns = [PATTERNS["hod_plateau"], PATTERNS["dow_plateau"]]
    places = places_of(patterns, np.array([at("2026-01-05T23:30")]), "UTC")
    assert places.bins.tolist() == [[[23, 0], [24, 25]]]


def test_a_holiday_applies_on_its_civil_day_only() -> None:
    days = special_days(("US",), (), group=True)[GROUP]
    moments = np.array(
        [
            at("2026-07-02T23:59", "America/New_York"),
            at("2026-07-03T00:00", "America/New_York"),
            at("2026-07-03T23:59", "America/New_York"),
            at("2026-07-05T00:00", "America/New_York"),
        ]
    )
    places = places_of([ALL_HOLIDAYS], moments, "America/New_York", [days])
    assert (places.bins[:, 0, 0] >= 0).tolist() == [False, True, True, False]


def civil(days: IntArray) -> list[str]:
    return [str(day) for day in days.astype("datetime64[D]")]


def test_special_events() -> None:
    events = special_days((), ("12-24", "02-29", "2026-07-01"), group=False)
    assert set(events) == {"12-24", "02-29", "2026-07-01"}
    assert civil(events["2026-07-01"]) == ["2026-07-01"]
    assert civil(events["02-29"])[:2] == ["2000-02-29", "2004-02-29"]
    assert len(events["12-24"]) == 51
    assert special_days((), (), group=True) == {}


def test_holidays_of_several_countries_share_their_names() -> None:
    """A holiday that moves to a weekday keeps its name, and one of two countries is one."""
    events = special_days(("US", "DE"), (), group=False)
    assert {"Independence Day", "German Unity Day", "Christmas Day"} <= set(events)
    assert not any("observed" in name or ";" in name for name in events)
    assert {"2026-07-03", "2026-07-04"} <= set(civil(events["Independence Day"]))
    grouped = special_days(("US", "DE"), (), group=True)
    assert set(grouped) == {GROUP}
    together = sorted({day for days in events.values() for day in days.tolist()})
    assert grouped[GROUP].tolist() == together


def test_the_hours_of_a_day_have_two_middles_around_them() -> None:
    places = places_of([PATTERNS["hod_smooth"]], np.arange(0, DAY, HOUR // 4), "UTC")
    assert set(places.shares[:, 0].tolist()) == {0.0, 0.5}
    assert np.bincount(places.bins[:, 0, 0]).tolist() == [2] * 48
