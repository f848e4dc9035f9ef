"""Synthetic telemetry of a small web shop, two weeks at one point per minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vmanomaly.demo.incidents import PLANTED, Incident
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

START = 1_780_272_000_000
"""Monday 2026-06-01T00:00:00Z, Unix milliseconds."""
STEP = 60_000
"""Milliseconds between points."""
DAY = 1440
"""Points per day."""
POINTS = 14 * DAY
SEED = 20260601

Rng: TypeAlias = np.random.Generator

_MINUTE: IntArray = np.arange(POINTS)
_HOUR: FloatArray = _MINUTE % DAY / 60


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What the demo knows about its world.

    Attributes
    ----------
    batch : SeriesBatch
        The series with the labels `metric`, `service` and `instance`, NaN where a scrape failed.
    incidents : tuple of Incident
        The truth, in order of time.
    """

    batch: SeriesBatch
    incidents: tuple[Incident, ...]


def generate(seed: int = SEED) -> Telemetry:
    """Make the telemetry of two weeks with its incidents in the second.

    Each series draws from a random stream of its own, so that changing one leaves the others.

    Parameters
    ----------
    seed
        The same seed gives the same telemetry, bit for bit.

    Returns
    -------
    Telemetry
        About 20 series of 20,160 points.

    Examples
    --------
    >>> telemetry = generate()
    >>> telemetry.batch.values.shape
    (20, 20160)
    >>> telemetry.incidents[0].name
    'Traffic drop'
    """
    series = {
        Labels({"metric": metric, "service": service, "instance": instance}): make
        for metric, service, instance, make in _SERIES
    }
    streams = np.random.default_rng(seed).spawn(len(series))
    values = np.empty((len(series), POINTS))
    for row, (labels, make) in enumerate(series.items()):
        rng = streams[row]
        values[row] = make(rng)
        for incident, effect in PLANTED:
            if incident.series == labels:
                effect(values[row], _column(incident.start), _column(incident.end), rng)
        values[row] = np.round(values[row], 3)
        values[row, _failed_scrapes(rng)] = np.nan
    timestamps = START + STEP * _MINUTE.astype(np.int64)
    return Telemetry(
        SeriesBatch(tuple(series), timestamps, values), tuple(incident for incident, _ in PLANTED)
    )


def _column(timestamp: int) -> int:
    return (timestamp - START) // STEP


def _failed_scrapes(rng: Rng) -> BoolArray:
    """Return where samples are missing: one scrape in a thousand, and two short outages."""
    missing = rng.random(POINTS) < 0.001
    for first in rng.integers(0, POINTS, 2):
        missing[first : first + rng.integers(4, 15)] = True
    return missing


def _load(peak: float = 14.5, night: float = 0.3, weekend: float = 0.8) -> FloatArray:
    """Return how busy the shop is: 1 at the peak of a working day, `night` at its quietest."""
    day = np.exp(-0.5 * ((_HOUR - peak + 12) % 24 - 12) ** 2 / 4.2**2)
    evening = 0.55 * np.exp(-0.5 * ((_HOUR - peak - 6 + 12) % 24 - 12) ** 2 / 1.8**2)
    shape = np.maximum(day, evening) + 0.3 * np.minimum(day, evening)
    factor = np.where(_MINUTE // DAY % 7 >= 5, weekend, 1.0)
    half = 90
    smooth = np.convolve(np.pad(factor, half, mode="edge"), np.ones(2 * half + 1), "valid")
    load: FloatArray = (night + (1 - night) * shape / shape.max()) * smooth / (2 * half + 1)
    return load


def _wander(rng: Rng, spread: float, minutes: float) -> FloatArray:
    """Return a mean-reverting random walk: standard deviation `spread`, memory of `minutes`."""
    keep = np.exp(-1 / minutes)
    steps = rng.normal(0.0, spread * np.sqrt(1 - keep**2), POINTS)
    walk = np.empty(POINTS)
    level = rng.normal(0.0, spread)
    for index, step in enumerate(steps):
        level = keep * level + step
        walk[index] = level
    return walk


def _requests(peak_rate: float, weekend: float = 0.8) -> Callable[[Rng], FloatArray]:
    """Make requests per second: daily and weekly shape, slow wander, counting noise."""

    def make(rng: Rng) -> FloatArray:
        rate = peak_rate * _load(weekend=weekend) * np.exp(_wander(rng, 0.02, 20))
        return rng.poisson(rate * 60) / 60

    return make


def _errors(peak_rate: float, ratio: float) -> Callable[[Rng], FloatArray]:
    """Make failed requests per second: a small share of the traffic, counted."""

    def make(rng: Rng) -> FloatArray:
        rate = peak_rate * ratio * _load() * np.exp(_wander(rng, 0.15, 30))
        return rng.poisson(rate * 60) / 60

    return make


def _latency(
    base: float, spread: float, outage: slice | None = None
) -> Callable[[Rng], FloatArray]:
    """Make the 99th percentile of latency in milliseconds: load, noise, lone slow minutes."""

    def make(rng: Rng) -> FloatArray:
        values = base * (1 + 0.25 * _load()) * np.exp(rng.normal(0.0, spread, POINTS))
        values *= np.exp(_wander(rng, 0.04, 60))
        slow = rng.random(POINTS) < 0.002
        values[slow] *= rng.uniform(1.5, 3.0, np.count_nonzero(slow))
        if outage is not None:
            values[outage] *= 5.0
        return values

    return make


def _cpu(idle: float, busy: float) -> Callable[[Rng], FloatArray]:
    """Make CPU usage in percent: the load, with a short job now and then."""

    def make(rng: Rng) -> FloatArray:
        usage = idle + busy * _load() + _wander(rng, 1.5, 30) + rng.normal(0.0, 2.0, POINTS)
        for first in rng.integers(0, POINTS, 14):
            usage[first : first + rng.integers(2, 9)] += rng.uniform(5.0, 25.0)
        return np.clip(usage, 0.0, 100.0)

    return make


def _memory(
    base: float, garbage: float, period: float, growth: float
) -> Callable[[Rng], FloatArray]:
    """Make memory in megabytes: garbage piles up and is collected, and a slow trend below."""

    def make(rng: Rng) -> FloatArray:
        phase = np.cumsum(np.exp(rng.normal(0.0, 0.3, POINTS)) / period) + rng.random()
        values = base + garbage * (phase % 1.0) + growth * _MINUTE / DAY
        return values + _wander(rng, 6.0, 120) + rng.normal(0.0, 2.0, POINTS)

    return make


def _queue(busy: float, batches: int = 0) -> Callable[[Rng], FloatArray]:
    """Make messages waiting: skewed, longer under load; `batches` arrive at once and drain."""

    def make(rng: Rng) -> FloatArray:
        expected = busy * _load() * np.exp(_wander(rng, 0.25, 15))
        waiting = rng.poisson(rng.gamma(4.0, expected / 4.0)).astype(np.float64)
        for first in rng.integers(0, POINTS - 60, batches):
            waiting[first : first + 60] += np.round(600 * np.exp(-np.arange(60) / 10))
        return waiting

    return make


def _disk_used(base: float, growth: float) -> Callable[[Rng], FloatArray]:
    """Make disk usage in percent: a trend, with logs removed every night at 04:00."""

    def make(rng: Rng) -> FloatArray:
        logs = 1.2 * ((_MINUTE - 240) % DAY) / DAY
        return base + growth * _MINUTE / DAY + logs + rng.normal(0.0, 0.015, POINTS)

    return make


def _disk_latency(base: float) -> Callable[[Rng], FloatArray]:
    """Make the write latency of a disk in milliseconds: lognormal."""

    def make(rng: Rng) -> FloatArray:
        return base * np.exp(rng.normal(0.0, 0.15, POINTS) + _wander(rng, 0.06, 90))

    return make


def _temperature(base: float) -> Callable[[Rng], FloatArray]:
    """Make an inlet temperature in degrees Celsius: time of day, weather, a sensor's jitter."""

    def make(rng: Rng) -> FloatArray:
        day = 1.2 * np.sin(2 * np.pi * (_HOUR - 9) / 24)
        return base + day + _wander(rng, 0.35, 600) + rng.normal(0.0, 0.12, POINTS)

    return make


_OUTAGE_LAST_WEEK = slice(3 * DAY + 11 * 60, 3 * DAY + 13 * 60)

_SERIES: tuple[tuple[str, str, str, Callable[[Rng], FloatArray]], ...] = (
    ("http_requests_per_second", "frontend", "all", _requests(900.0)),
    ("http_requests_per_second", "catalog", "all", _requests(520.0)),
    ("http_requests_per_second", "checkout", "all", _requests(90.0, weekend=0.75)),
    ("http_requests_per_second", "payments", "all", _requests(60.0, weekend=0.75)),
    ("http_errors_per_second", "frontend", "all", _errors(900.0, 0.002)),
    ("http_errors_per_second", "checkout", "all", _errors(90.0, 0.004)),
    ("http_latency_p99_milliseconds", "frontend", "all", _latency(180.0, 0.06)),
    ("http_latency_p99_milliseconds", "catalog", "all", _latency(120.0, 0.05)),
    ("http_latency_p99_milliseconds", "payments", "all", _latency(310.0, 0.07, _OUTAGE_LAST_WEEK)),
    ("cpu_usage_percent", "frontend", "frontend-1", _cpu(6.0, 42.0)),
    ("cpu_usage_percent", "catalog", "catalog-1", _cpu(8.0, 50.0)),
    ("cpu_usage_percent", "payments", "payments-1", _cpu(5.0, 28.0)),
    ("memory_used_megabytes", "catalog", "catalog-1", _memory(2100.0, 600.0, 190.0, 4.0)),
    ("memory_used_megabytes", "payments", "payments-1", _memory(900.0, 350.0, 130.0, 2.0)),
    ("queue_messages", "orders", "all", _queue(30.0)),
    ("queue_messages", "emails", "all", _queue(60.0, batches=4)),
    ("disk_used_percent", "database", "db-1", _disk_used(58.0, 0.35)),
    ("disk_write_latency_milliseconds", "database", "db-1", _disk_latency(2.0)),
    ("temperature_celsius", "database", "db-1", _temperature(23.0)),
    ("temperature_celsius", "database", "db-2", _temperature(23.5)),
)
