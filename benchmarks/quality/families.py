"""Series of special kinds, with incidents of their own, and some in which nothing happens.

What `generate` makes is a wave with noise. Much of what is monitored is not: counts that are mostly
0, bursts, counters, integers, values with gaps, percentages at their limits. For each such family
there is a normal course, and what can go wrong with it. `shapes` has the incidents in which no
single point is unusual: a frozen value, noise that grows or vanishes, a day of another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from benchmarks.quality.labelled import START, LabelledSeries, Window, probation
from vmanomaly.series import BoolArray, FloatArray, IntArray

STEP = 300_000
DAY = 288
"""Points of a day."""
N_POINTS = 28 * DAY
N_INCIDENTS = 4
N_SERIES = 6
"""Series of each family with incidents, and as many without: half with a fit window of two weeks,
half with one of the length that NAB has."""

Rng: TypeAlias = np.random.Generator
Course: TypeAlias = Callable[[Rng], FloatArray]
"""Return `N_POINTS` values in which nothing is wrong; NaN where there is no sample."""
Incident: TypeAlias = Callable[[FloatArray, int, Rng], int]
"""Change the values from a point on, and return the last point of the incident."""


def special_families(seed: int = 0) -> list[LabelledSeries]:
    """Make all series; the same seed gives the same ones."""
    rng = np.random.default_rng([seed, 1])
    return [series for family in FAMILIES for series in _family(family, rng)]


def _family(family: str, rng: Rng) -> Iterator[LabelledSeries]:
    course, incidents = FAMILIES[family]
    timestamps = START + STEP * np.arange(N_POINTS, dtype=np.int64)
    for number in range(N_SERIES):
        n_fit = (N_POINTS // 2, probation(N_POINTS))[number % 2]
        name = f"{number}-{('long', 'short')[number % 2]}"
        values = course(rng)
        windows = tuple(_disturb(values, timestamps, n_fit, incidents, rng))
        yield LabelledSeries("generated", family, name, timestamps, values, windows, n_fit)
        yield LabelledSeries(
            "generated", "quiet", f"{family}-{name}", timestamps, course(rng), (), n_fit
        )


def _disturb(
    values: FloatArray,
    timestamps: IntArray,
    n_fit: int,
    incidents: Mapping[str, Incident],
    rng: Rng,
) -> Iterator[Window]:
    room = (N_POINTS - n_fit) // N_INCIDENTS
    kinds = rng.permutation(list(incidents))
    for number in range(N_INCIDENTS):
        first = n_fit + number * room + int(rng.integers(room // 10, room // 3))
        kind = str(kinds[number % len(kinds)])
        last = incidents[kind](values, first, rng)
        yield Window(int(timestamps[first]), int(timestamps[last]), kind)


def _daily(rng: Rng) -> FloatArray:
    """Return a wave over the day between 0 and 1, lower at weekends half of the time."""
    points = np.arange(N_POINTS)
    angle = 2.0 * np.pi * (points / DAY - rng.uniform())
    wave = 0.5 + 0.4 * np.sin(angle) + 0.1 * np.sin(2.0 * angle + rng.uniform(0.0, 6.0))
    weekend = points // DAY % 7 >= 5
    return wave * np.where(weekend, rng.choice([1.0, 0.5]), 1.0)


def _wave(rng: Rng) -> FloatArray:
    """Return a wave of ten standard deviations of its noise, half of the time with memory."""
    noise = rng.normal(size=N_POINTS)
    keep = rng.choice([0.0, 0.7])
    for t in range(1, N_POINTS):
        noise[t] = keep * noise[t - 1] + np.sqrt(1.0 - keep**2) * noise[t]
    return 40.0 + 10.0 * _daily(rng) + noise


def _low_counts(rng: Rng) -> FloatArray:
    return rng.poisson(rng.uniform(0.5, 3.0) * _daily(rng)).astype(np.float64)


def _bursts(rng: Rng) -> FloatArray:
    """Return zeros, and about ten times a day a burst of one to eight points."""
    values = np.zeros(N_POINTS)
    for first in np.flatnonzero(rng.random(N_POINTS) < 10.0 / DAY):
        stop = first + int(rng.integers(1, 9))
        values[first:stop] = rng.lognormal(3.0, 0.4)
    return values


def _counter(rng: Rng) -> FloatArray:
    """Return a counter that a restart sets to 0, about once a day."""
    growth = rng.poisson(20.0 + 80.0 * _daily(rng)).astype(np.float64)
    return _counted(growth, rng.random(N_POINTS) < 1.0 / DAY)


def _counted(growth: FloatArray, resets: BoolArray) -> FloatArray:
    total = np.cumsum(growth)
    at_reset = np.maximum.accumulate(np.where(resets, total, 0.0))
    return total - at_reset


def _quantised(rng: Rng) -> FloatArray:
    """Return a wave in units of one to three standard deviations of its noise."""
    unit = rng.uniform(1.0, 3.0)
    return np.round(_wave(rng) / unit) * 10.0


def _sparse(rng: Rng) -> FloatArray:
    """Return a wave of which one in four to twelve samples is there."""
    values = _wave(rng)
    values[rng.random(N_POINTS) > 1.0 / rng.uniform(4.0, 12.0)] = np.nan
    return values


def _busy(rng: Rng) -> FloatArray:
    """Return the use of a processor: between 10 and 90 percent, in bursts."""
    load = np.zeros(N_POINTS)
    t = 0
    while t < N_POINTS:
        length = int(rng.integers(1, 7))
        load[t : t + length] = rng.beta(0.7, 0.9)
        t += length
    return np.clip(10.0 + 80.0 * load + rng.normal(0.0, 2.0, N_POINTS), 0.0, 100.0)


def _availability(rng: Rng) -> FloatArray:
    """Return the share of requests that succeed: mostly 100 percent, at times a little less."""
    failed = rng.poisson(0.3, N_POINTS) / rng.uniform(200.0, 400.0)
    return 100.0 * (1.0 - failed)


def _saturated(rng: Rng) -> FloatArray:
    """Return a wave that is at 100 percent for some hours of every day."""
    peak = rng.uniform(105.0, 115.0)
    return np.clip(peak * _daily(rng) / 0.9 + rng.normal(0.0, 3.0, N_POINTS), 0.0, 100.0)


def _more_often(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(12, 72))
    values[first:stop] += rng.poisson(rng.uniform(5.0, 12.0), stop - first)
    return stop - 1


def _one_high_count(values: FloatArray, first: int, rng: Rng) -> int:
    values[first : first + 2] += rng.integers(25, 60)
    return first + 1


def _long_burst(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(36, 108))
    values[first:stop] = rng.lognormal(3.0, 0.4)
    return stop - 1


def _high_burst(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(2, 9))
    values[first:stop] = rng.uniform(8.0, 20.0) * 20.0
    return stop - 1


def _no_bursts(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(DAY, 3 * DAY // 2))
    values[first:stop] = 0.0
    return stop - 1


def _stuck(values: FloatArray, first: int, rng: Rng) -> int:
    """Stop a counter, or any value, where it is."""
    stop = first + int(rng.integers(48, 120))
    values[first:stop] = values[first - 1]
    return stop - 1


def _races(values: FloatArray, first: int, rng: Rng) -> int:
    """Let a counter grow many times as fast."""
    stop = first + int(rng.integers(24, 72))
    growth = np.maximum(np.diff(values[first - 1 : stop]), 0.0)
    raced = np.cumsum(growth * (rng.uniform(8.0, 20.0) - 1.0))
    values[first:stop] += raced
    rest = values[stop:]
    resets = np.flatnonzero(np.diff(rest) < 0.0)
    until = resets[0] + 1 if resets.size else len(rest)
    rest[:until] += raced[-1]
    return stop - 1


def _spike(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(1, 4))
    values[first:stop] += rng.uniform(6.0, 15.0) * _noise_of(values, first)
    return stop - 1


def _seen_spike(values: FloatArray, first: int, rng: Rng) -> int:
    """Let a spike have a sample where most points have none."""
    values[first] = np.nanmedian(values[first - DAY : first]) + rng.uniform(20.0, 40.0)
    return first


def _dip(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(24, 96))
    values[first:stop] -= rng.uniform(10.0, 20.0) * (_noise_of(values, first) or 1.0)
    return stop - 1


def _shift(values: FloatArray, first: int, rng: Rng) -> int:
    """Shift for good; the change is what is wrong, so its first points are labelled."""
    values[first:] += rng.choice([-1.0, 1.0]) * rng.uniform(8.0, 12.0) * _noise_of(values, first)
    return first + int(np.flatnonzero(np.isfinite(values[first:]))[47])


def _noise_of(values: FloatArray, first: int) -> float:
    changes = np.abs(np.diff(values[first - 2 * DAY : first]))
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else 1.0


def _pinned(values: FloatArray, first: int, rng: Rng) -> int:
    """Stay at 100 percent for hours, at a time when it is not usual."""
    stop = first + int(rng.integers(24, 72))
    values[first:stop] = 100.0
    return stop - 1


def _pinned_all_day(values: FloatArray, first: int, rng: Rng) -> int:
    values[first : first + DAY] = 100.0
    return first + DAY - 1


def _fails(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(12, 60))
    values[first:stop] = np.maximum(values[first:stop] - rng.uniform(2.0, 10.0), 0.0)
    return stop - 1


def _idles(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(36, 120))
    values[first:stop] = 0.0
    return stop - 1


def _noisier(values: FloatArray, first: int, rng: Rng) -> int:
    stop = first + int(rng.integers(48, 144))
    values[first:stop] += rng.uniform(2.5, 5.0) * rng.normal(size=stop - first)
    return stop - 1


def _calmer(values: FloatArray, first: int, rng: Rng) -> int:
    """Let nine tenths of the noise vanish, around a mean over two hours."""
    stop = first + int(rng.integers(72, 144))
    padded = values[first - 12 : stop + 12]
    mean = np.convolve(padded, np.full(25, 1.0 / 25.0), "valid")
    values[first:stop] = mean + 0.1 * (values[first:stop] - mean)
    return stop - 1


def _flattened(values: FloatArray, first: int, rng: Rng) -> int:
    """Let the wave of most of a day stay away, and only the noise continue."""
    stop = first + int(rng.integers(DAY // 2, DAY))
    values[first:stop] = values[first] + rng.normal(size=stop - first)
    return stop - 1


def _mirrored(values: FloatArray, first: int, rng: Rng) -> int:
    """Turn the wave of a day upside down."""
    stop = first + int(rng.integers(DAY // 2, DAY))
    values[first:stop] = 2.0 * 45.0 - values[first:stop]
    return stop - 1


def _delayed(values: FloatArray, first: int, rng: Rng) -> int:
    """Let a day be some hours late."""
    stop, late = first + DAY, int(rng.integers(DAY // 6, DAY // 3))
    values[first:stop] = values[first - late : stop - late].copy()
    return stop - 1


FAMILIES: dict[str, tuple[Course, Mapping[str, Incident]]] = {
    "low_counts": (_low_counts, {"more_often": _more_often, "one_high_count": _one_high_count}),
    "bursts": (
        _bursts,
        {"long_burst": _long_burst, "high_burst": _high_burst, "no_bursts": _no_bursts},
    ),
    "counter": (_counter, {"stuck": _stuck, "races": _races}),
    "quantised": (_quantised, {"spike": _spike, "dip": _dip, "shift": _shift, "frozen": _stuck}),
    "sparse": (_sparse, {"seen_spike": _seen_spike, "shift": _shift, "dip": _dip}),
    "busy": (_busy, {"pinned": _pinned, "idle": _idles}),
    "availability": (_availability, {"fails": _fails}),
    "saturated": (_saturated, {"idle": _idles, "pinned_all_day": _pinned_all_day}),
    "shapes": (
        _wave,
        {
            "frozen": _stuck,
            "noisier": _noisier,
            "calmer": _calmer,
            "flattened": _flattened,
            "mirrored": _mirrored,
            "delayed": _delayed,
        },
    ),
}
"""What is normal in each family, and what can go wrong."""
