"""What series are like: trends, calendar patterns, level shifts, gaps, shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vmanomaly.context import RunContext
from vmanomaly.model.civil_time import civil_time
from vmanomaly.series import BoolArray, FloatArray, IntArray, SeriesBatch, of_usual_size

COVERAGE_THRESHOLD = 0.5
"""The share of the grid that a series needs samples on."""

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_EXPLAINED = 0.3
_MOST_MEDIANS = 50
_FEWEST_MEDIANS = 5
_TAU = 0.6
_ROUNDING = 1e-9
_SHIFT_STEPS = 16
_SHIFT_SIZE = 6.0
_SPIKE_SIZE = 6.0
_SPIKE_SHARE = 0.05
_MAD_TO_SIGMA = 1.4826
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_CYCLES = {"hod": 24, "dow": 7, "month": 12}
"""The calendar patterns looked for, and into how many parts each cycle is divided."""


@dataclass
class _Profile:
    """What one series is like; None where that could not be measured."""

    coverage: float
    longest_gap: int
    trend: int
    explained: dict[str, float | None]
    shapes: dict[str, str]
    is_flat: bool
    is_spiky: bool
    is_intermittent: bool
    is_shifted: bool


def characterize(
    batch: SeriesBatch,
    timezone: str,
    short_gap_steps: int,
    context: RunContext,
    verbose: bool = False,
    partly: bool = False,
) -> dict[str, Any]:
    """Return what the series of a batch are like, taken together.

    Parameters
    ----------
    batch
        S series on a grid.
    timezone
        IANA name; the calendar is that of its civil time.
    short_gap_steps
        Gaps up to so many steps are filled by interpolation.
    context
        May stop the work between two series.
    verbose
        Whether to add quantiles over the series.
    partly
        Whether to leave out the series that are left when the deadline of the context passes,
        instead of raising.

    Returns
    -------
    dict
        Numbers, flags and names; see `docs/api.md`.

    Raises
    ------
    StoppedError
        As the context says.

    Examples
    --------
    >>> from vmanomaly.series import Labels
    >>> hours = np.arange(0, 7 * 24 * 3_600_000, 3_600_000)
    >>> day = 10 + np.sin(hours / 86_400_000 * 2 * np.pi)
    >>> batch = SeriesBatch((Labels({}),), hours, day[None, :])
    >>> found = characterize(batch, "UTC", 2, RunContext())
    >>> found["has_daily"], found["has_trend"], found["seasonalities"]["recommended"]
    (True, False, ['hod_smooth'])
    """
    profiles = []
    n_series = eligible = 0
    calendar = _calendar(batch.timestamps, timezone)
    for row in batch.values:
        if partly and n_series and context.remaining_s == 0.0:
            break
        context.check()
        n_series += 1
        values = of_usual_size(row)
        filled, longest_gap = _fill(values, short_gap_steps)
        coverage = float(np.mean(~np.isnan(filled))) if len(filled) else 0.0
        if coverage >= COVERAGE_THRESHOLD:
            eligible += 1
            profiles.append(_profile(batch.timestamps, filled, values, longest_gap, calendar))
    return _together(n_series, profiles, eligible, verbose, short_gap_steps)


def _calendar(timestamps: IntArray, timezone: str) -> dict[str, tuple[IntArray, IntArray]]:
    """Return, for each calendar pattern, the number of the cycle and the part in it."""
    civil = civil_time(timestamps, timezone)
    day = civil // _DAY_MS
    month = civil.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    # 1970-01-01 was a Thursday; weeks begin on Mondays.
    return {
        "hod": (day, civil // _HOUR_MS % 24),
        "dow": ((day + 3) // 7, (day + 3) % 7),
        "month": (month // 12, month % 12),
    }


def _fill(values: FloatArray, short_gap_steps: int) -> tuple[FloatArray, int]:
    """Fill short gaps; return also the length of the longest gap between two samples."""
    there = np.flatnonzero(np.isfinite(values))
    if there.size == 0:
        return np.full_like(values, np.nan), 0
    filled = np.where(np.isfinite(values), values, np.nan)
    gaps = np.diff(there) - 1
    longest = int(gaps.max()) if gaps.size else 0
    for start, length in zip(there[:-1][gaps > 0], gaps[gaps > 0], strict=True):
        if length <= short_gap_steps:
            stop = start + length + 1
            filled[start : stop + 1] = np.linspace(values[start], values[stop], length + 2)
    return filled, longest


def _profile(
    timestamps: IntArray,
    filled: FloatArray,
    values: FloatArray,
    longest_gap: int,
    calendar: dict[str, tuple[IntArray, IntArray]],
) -> _Profile:
    there = ~np.isnan(filled)
    times, known = timestamps[there], filled[there]
    low, high = np.quantile(known, [0.05, 0.95])
    missing_or_zero = np.mean(~np.isfinite(values) | (values == 0))
    trend, line = _trend(times, known)
    rest = known - line
    explained: dict[str, float | None] = {}
    shapes: dict[str, str] = {}
    for name, (cycle, part) in calendar.items():
        share, profile = _explained(rest, cycle[there], part[there], _CYCLES[name])
        explained[name] = share
        if share is not None and share >= _EXPLAINED:
            shapes[name] = _shape(profile)
            rest = rest - profile[part[there]]
    rest = rest - np.median(rest)
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(rest)))
    spikes = float(np.mean(np.abs(rest) > _SPIKE_SIZE * noise / _MAD_TO_SIGMA)) if noise else 0.0
    return _Profile(
        coverage=float(np.mean(there)),
        longest_gap=longest_gap,
        trend=trend,
        explained=explained,
        shapes=shapes,
        is_flat=bool(low == high),
        is_spiky=0 < spikes < _SPIKE_SHARE,
        is_intermittent=bool(missing_or_zero >= 0.5),
        is_shifted=_is_shifted(rest, noise),
    )


def _trend(times: IntArray, values: FloatArray) -> tuple[int, FloatArray]:
    """Return the direction of the trend, 0 for none, and the line of it.

    Kendall's rank correlation and the slope of Theil and Sen, of medians of days, or of 50
    parts of a shorter range.
    """
    span = int(times[-1] - times[0])
    nothing = 0, np.full(len(values), float(np.median(values)))
    length = _DAY_MS if span >= _FEWEST_MEDIANS * _DAY_MS else max(1, -(-span // _MOST_MEDIANS))
    part = (times - times[0]) // length
    counts = np.bincount(part)
    # The last part may be cut, and its median be that of some hours only.
    numbers = np.flatnonzero(counts >= 0.75 * np.median(counts[counts > 0]))
    if len(numbers) < _FEWEST_MEDIANS:
        return nothing
    medians = np.array([np.median(values[part == number]) for number in numbers])
    first, second = np.triu_indices(len(numbers), 1)
    rises = medians[second] - medians[first]
    rises[np.abs(rises) <= _ROUNDING * np.abs(medians).max()] = 0.0
    slope = float(np.median(rises / (numbers[second] - numbers[first])))
    tau = float(np.mean(np.sign(rises)))
    residuals = medians - slope * numbers
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(residuals - np.median(residuals))))
    if abs(tau) < _TAU or abs(slope) * (span / length) <= 2 * noise or slope == 0:
        return nothing
    position = (times - times[0]) / length - 0.5
    return (1 if slope > 0 else -1), slope * position + float(np.median(residuals))


def _explained(
    rest: FloatArray, cycle: IntArray, part: IntArray, n_parts: int
) -> tuple[float | None, FloatArray]:
    """Return how much of the variance in odd cycles the profile of the even ones explains.

    Returns
    -------
    share : float or None
        None with fewer than two cycles.
    profile : ndarray of float64, shape (n_parts,)
        Of all cycles.
    """
    none = np.zeros(n_parts)
    n_cycles = len(np.unique(cycle))
    is_long_enough = n_cycles >= 2 and len(np.unique(part)) == n_parts
    if not is_long_enough or _length(cycle, part, n_parts) < 2 * n_parts:
        return None, none
    is_even = cycle % 2 == 0
    profile, seen = _means(rest[is_even], part[is_even], n_parts)
    judged = ~is_even & seen[part]
    if not judged.any():
        return None, none
    odd = rest[judged]
    variance = float(np.mean((odd - odd.mean()) ** 2))
    if variance == 0:
        return 0.0, none
    error = odd - profile[part[judged]]
    share = 1 - float(np.mean((error - error.mean()) ** 2)) / variance
    return max(0.0, share), _means(rest, part, n_parts)[0]


def _length(cycle: IntArray, part: IntArray, n_parts: int) -> int:
    """Return how many parts of cycles the data is long."""
    positions = cycle * n_parts + part
    return int(positions[-1] - positions[0]) + 1


def _means(values: FloatArray, part: IntArray, n_parts: int) -> tuple[FloatArray, BoolArray]:
    counts = np.bincount(part, minlength=n_parts)
    sums = np.bincount(part, weights=values, minlength=n_parts)
    return sums / np.maximum(counts, 1), counts > 0


def _shape(profile: FloatArray) -> str:
    """Return which form of a calendar pattern of `temporal_envelope` a profile has."""
    low, high = float(profile.min()), float(profile.max())
    height = (profile - low) / (high - low) if high > low else np.zeros_like(profile)
    tall = float(np.mean(height > 0.5))
    if tall <= 1 / 8 or tall >= 7 / 8:
        return "spiky"
    at_ends = float(np.mean((height < 0.15) | (height > 0.85)))
    return "plateau" if at_ends >= 0.8 else "smooth"


def _is_shifted(rest: FloatArray, noise: float) -> bool:
    """Tell whether the level moves and stays: medians of 16 points before and after a moment."""
    width = _SHIFT_STEPS
    if len(rest) < 4 * width:
        return False
    medians = np.median(np.lib.stride_tricks.sliding_window_view(rest, width), axis=1)
    jumps = np.abs(medians[width:] - medians[:-width])
    # A shift that is over again within the next points is an incident.
    stays = np.abs(medians[2 * width :] - medians[: -2 * width])
    size = _SHIFT_SIZE * max(noise, float(np.finfo(float).tiny))
    return bool(np.any((jumps[: len(stays)] > size) & (stays > size)))


def _together(
    n_series: int, profiles: list[_Profile], eligible: int, verbose: bool, short_gap_steps: int
) -> dict[str, Any]:
    def share(flags: list[bool]) -> float:
        return round(sum(flags) / eligible, 4) if eligible else 0.0

    directions = {each.trend for each in profiles if each.trend}
    modes = {frozenset(): "none", frozenset({1}): "up", frozenset({-1}): "down"}
    trend = share([each.trend != 0 for each in profiles])
    seasonalities: dict[str, Any] = {}
    recommended = []
    not_measured = []
    for name in _CYCLES:
        measured = [each.explained[name] for each in profiles]
        found = [value for value in measured if value is not None and value >= _EXPLAINED]
        if profiles and all(value is None for value in measured):
            not_measured.append(name)
        shapes = [each.shapes[name] for each in profiles if name in each.shapes]
        shape = max(sorted(set(shapes)), key=shapes.count) if shapes else None
        seasonalities[name] = {
            "share": share([value is not None and value >= _EXPLAINED for value in measured]),
            "strength": round(float(np.median(found)), 4) if found else 0.0,
            "shape": shape,
        }
        if seasonalities[name]["share"] >= 0.5:
            recommended.append(_recommended(name, shape or "smooth"))
    result: dict[str, Any] = {
        "series_count": n_series,
        "eligible_series_count": eligible,
        "eligible_series_share": round(eligible / n_series, 4) if n_series else 0.0,
        "coverage_threshold": COVERAGE_THRESHOLD,
        "has_trend": trend >= 0.5,
        "trend": {"share": trend, "direction_mode": modes.get(frozenset(directions), "mixed")},
        "has_daily": "hod" in _names(seasonalities),
        "has_weekly": "dow" in _names(seasonalities),
        "has_monthly": "month" in _names(seasonalities),
        "seasonalities": {**seasonalities, "recommended": recommended},
        "not_measured": not_measured,
        "shape": {
            "flat_share": share([each.is_flat for each in profiles]),
            "spiky_share": share([each.is_spiky for each in profiles]),
            "intermittent_share": share([each.is_intermittent for each in profiles]),
        },
        "changepoints": {"share": share([each.is_shifted for each in profiles])},
        "gaps": {
            "share": share([each.longest_gap > short_gap_steps for each in profiles]),
            "longest_steps": max((each.longest_gap for each in profiles), default=0),
        },
    }
    if verbose:
        result["quantiles"] = _quantiles(profiles)
    return result


def _names(seasonalities: dict[str, Any]) -> list[str]:
    return [name for name, found in seasonalities.items() if found["share"] >= 0.5]


def _recommended(name: str, shape: str) -> str:
    # There is no sharp peak among twelve months that a year or two could teach.
    return f"{name}_{'smooth' if (name, shape) == ('month', 'spiky') else shape}"


def _quantiles(profiles: list[_Profile]) -> dict[str, dict[str, float]]:
    columns: dict[str, list[float]] = {
        "coverage": [each.coverage for each in profiles],
        "longest_gap_steps": [float(each.longest_gap) for each in profiles],
    }
    for name in _CYCLES:
        columns[f"{name}_strength"] = [
            value for each in profiles if (value := each.explained[name]) is not None
        ]
    return {
        name: {
            f"q{round(100 * q):02d}": round(float(np.quantile(values, q)), 4) for q in _QUANTILES
        }
        for name, values in columns.items()
        if values
    }
