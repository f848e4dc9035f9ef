"""Series made up with known incidents, and some in which nothing happens.

Every series is a base (flat, seasonal, weekly, trending) with a kind of noise (normal,
heavy-tailed, autocorrelated, proportional to the level, counts). Incidents are sized in standard
deviations of the noise where they happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from benchmarks.quality.families import special_families
from benchmarks.quality.labelled import START, LabelledSeries, Window, probation
from vmanomaly.series import FloatArray, IntArray

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Rng: TypeAlias = np.random.Generator

BASES = ("flat", "seasonal", "weekly", "trending")
NOISES = ("normal", "heavy-tailed", "autocorrelated", "proportional", "counts")
LEVEL = 40.0
"""Of every series before scaling, in standard deviations of its noise."""


def generate(seed: int = 0) -> list[LabelledSeries]:
    """Make all series; the same seed gives the same ones.

    Four weeks at five minutes of every base with every noise: with incidents in the second half,
    after a fit window of two weeks and after one of NAB's length, and the same without incidents.
    Then other steps: ten seconds, a minute, an hour, a day. Then the special families.
    """
    return [*_generate(np.random.default_rng(seed)), *special_families(seed)]


def _generate(rng: Rng) -> Iterator[LabelledSeries]:
    month, half = 8064, 4032
    for base in BASES:
        for noise in NOISES:
            for history, n_fit in (("long", half), ("short", probation(month))):
                name = f"{noise}-{history}"
                yield _series(base, name, base, noise, month, 5 * MINUTE, n_fit, rng, 4)
                yield _series("quiet", f"{base}-{name}", base, noise, month, 5 * MINUTE, n_fit, rng)
    for label, step, n_points in (
        ("10s", 10 * SECOND, 5 * DAY // (10 * SECOND)),
        ("1m", MINUTE, 14 * DAY // MINUTE),
        ("1h", HOUR, 16 * 7 * DAY // HOUR),
        ("1d", DAY, 3 * 365),
    ):
        for base, noise in (
            ("flat", "heavy-tailed"),
            ("seasonal", "normal"),
            ("weekly", "proportional"),
            ("trending", "autocorrelated"),
        ):
            name = f"{label}-{base}-{noise}"
            n_fit = n_points // 2
            yield _series("steps", name, base, noise, n_points, step, n_fit, rng, 3)
            yield _series("quiet", name, base, noise, n_points, step, n_fit, rng)


def _series(
    family: str,
    name: str,
    base: str,
    noise: str,
    n_points: int,
    step: int,
    n_fit: int,
    rng: Rng,
    n_incidents: int = 0,
) -> LabelledSeries:
    timestamps = START + step * np.arange(n_points, dtype=np.int64)
    expected = LEVEL + _BASES[base](timestamps, rng)
    values, sigma = _noisy(expected, noise, rng)
    windows = []
    for first, length in _places(n_points, n_fit, n_incidents, rng):
        kinds = [kind for kind in _INCIDENTS if kind != "changed_shape" or base != "flat"]
        kind = kinds[rng.integers(len(kinds))]
        last = _INCIDENTS[kind](values, expected, sigma, first, length, rng)
        windows.append(Window(int(timestamps[first]), int(timestamps[last]), kind))
    scale = 10.0 ** rng.uniform(-2, 4)
    if noise == "counts":
        values, scale = np.maximum(np.round(values), 0.0), 1.0
    return LabelledSeries(
        "generated", family, name, timestamps, values * scale, tuple(windows), n_fit
    )


def _places(n_points: int, n_fit: int, count: int, rng: Rng) -> Iterator[tuple[int, int]]:
    """Yield the first point of every incident, and the points that it may take."""
    if not count:
        return
    room = (n_points - n_fit) // count
    for number in range(count):
        yield n_fit + number * room + int(rng.integers(room // 10, room // 4)), room // 2


def _hour(timestamps: IntArray) -> FloatArray:
    return timestamps % DAY / HOUR


def _flat(timestamps: IntArray, _: Rng) -> FloatArray:
    return np.zeros(len(timestamps))


def _seasonal(timestamps: IntArray, rng: Rng) -> FloatArray:
    """Return a day of one of three shapes, 10 high: waves, a peak, office hours."""
    hour = (_hour(timestamps) - rng.uniform(0, 24)) % 24
    shape = rng.integers(3)
    if shape == 0:
        angle = 2 * np.pi * hour / 24
        waves = np.sin(angle) + rng.uniform(0, 0.6) * np.sin(2 * angle + rng.uniform(0, 6))
        return 5.0 * waves
    if shape == 1:
        return 10.0 * np.exp(-0.5 * ((hour - 12) / rng.uniform(1, 4)) ** 2)
    edge = rng.uniform(0.2, 1.0)
    return 10.0 / (1 + np.exp((np.abs(hour - 12) - rng.uniform(3, 6)) / edge))


def _weekly(timestamps: IntArray, rng: Rng) -> FloatArray:
    day = (timestamps - START) // DAY % 7
    return _seasonal(timestamps, rng) * np.where(day >= 5, rng.uniform(0.1, 0.6), 1.0)


def _trending(timestamps: IntArray, rng: Rng) -> FloatArray:
    """Return a rise or fall with a slow wander, and half of the time a day's shape."""
    share = np.linspace(0, 1, len(timestamps))
    slope = rng.choice([-1.0, 1.0]) * rng.uniform(8, 25)
    wander = 3.0 * np.sin(2 * np.pi * (share * rng.uniform(1, 3) + rng.uniform()))
    season = _seasonal(timestamps, rng) * rng.integers(2)
    return np.asarray(slope * share + wander + season)


_BASES: dict[str, Callable[[IntArray, Rng], FloatArray]] = {
    "flat": _flat,
    "seasonal": _seasonal,
    "weekly": _weekly,
    "trending": _trending,
}


def _noisy(expected: FloatArray, noise: str, rng: Rng) -> tuple[FloatArray, FloatArray]:
    """Return the values, and the standard deviation of the noise at every point."""
    n_points = len(expected)
    if noise == "counts":
        return rng.poisson(expected).astype(np.float64), np.sqrt(expected)
    if noise == "proportional":
        sigma = np.maximum(expected / LEVEL, 0.2)
        return expected + sigma * rng.normal(size=n_points), sigma
    sigma = np.ones(n_points)
    if noise == "normal":
        return expected + rng.normal(size=n_points), sigma
    if noise == "heavy-tailed":
        return expected + rng.standard_t(4, n_points) / np.sqrt(2.0), sigma
    keep = 0.8
    walk = rng.normal(size=n_points)
    for t in range(1, n_points):
        walk[t] = keep * walk[t - 1] + np.sqrt(1 - keep**2) * walk[t]
    return expected + walk, sigma


Incident: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray, int, int, Rng], int]
"""Change the values from `first` on, within `length` points, and return the last point of it."""


def _spike(
    values: FloatArray, _: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    stop = first + int(rng.integers(1, 4))
    values[first:stop] += rng.uniform(10, 40) * sigma[first:stop]
    return stop - 1


def _dip(
    values: FloatArray, _: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    stop = first + int(rng.integers(3, min(36, length)))
    values[first:stop] -= rng.uniform(6, 20) * sigma[first:stop]
    return stop - 1


def _level_shift(
    values: FloatArray, expected: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    """Shift for good; the change is what is wrong, so its first points are labelled."""
    shift = rng.choice([-1.0, 1.0]) * rng.uniform(5, 12) * sigma[first]
    values[first:] += shift
    expected[first:] += shift
    return first + min(48, length) - 1


def _trend_change(
    values: FloatArray, _: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    """Leak: drift away, then return at once, as after a restart."""
    stop = first + int(rng.integers(min(100, length - 1), min(250, length)))
    drift = rng.choice([-1.0, 1.0]) * rng.uniform(8, 20) * sigma[first]
    values[first:stop] += np.linspace(0, drift, stop - first)
    return stop - 1


def _changed_shape(
    values: FloatArray, expected: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    """Freeze the pattern: the noise continues around the level of the first moment."""
    stop = first + min(250, length)
    values[first:stop] += expected[first] - expected[first:stop]
    return stop - 1


def _silence(
    values: FloatArray, _: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    stop = first + int(rng.integers(12, min(80, length)))
    values[first:stop] = 0.0
    return stop - 1


def _noise_burst(
    values: FloatArray, _: FloatArray, sigma: FloatArray, first: int, length: int, rng: Rng
) -> int:
    stop = first + int(rng.integers(24, min(90, length)))
    values[first:stop] += rng.uniform(4, 8) * sigma[first:stop] * rng.normal(size=stop - first)
    return stop - 1


_INCIDENTS: dict[str, Incident] = {
    "spike": _spike,
    "dip": _dip,
    "level_shift": _level_shift,
    "trend_change": _trend_change,
    "changed_shape": _changed_shape,
    "silence": _silence,
    "noise_burst": _noise_burst,
}
