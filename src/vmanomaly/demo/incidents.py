"""The incidents that the demo plants, and what each does to its series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np

from vmanomaly.series import FloatArray, Labels

Effect: TypeAlias = Callable[[FloatArray, int, int, np.random.Generator], None]
"""Change a series in place, between two column indices: `effect(values, first, stop, rng)`."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is known to have gone wrong.

    Attributes
    ----------
    name : str
        Short name for tables and plots.
    kind : str
        What the series does: `drop`, `spike`, `shift`, `burst`, `ramp`, `leak`, `flat`, ...
    story : str
        One sentence: what happened.
    series : Labels
        The series it happened to.
    start, end : int
        First and last moment, Unix milliseconds, UTC.
    """

    name: str
    kind: str
    story: str
    series: Labels
    start: int
    end: int


def multiply(factor: float) -> Effect:
    """Return an effect that multiplies the values by `factor`.

    Examples
    --------
    >>> values = np.ones(4)
    >>> multiply(3.0)(values, 1, 3, np.random.default_rng(0))
    >>> values
    array([1., 3., 3., 1.])
    """

    def effect(values: FloatArray, first: int, stop: int, _: np.random.Generator) -> None:
        values[first:stop] *= factor

    return effect


def swell(factor: float) -> Effect:
    """Return an effect that grows to `factor` in the first third and falls in the last.

    Examples
    --------
    >>> values = np.ones(9)
    >>> swell(4.0)(values, 0, 9, np.random.default_rng(0))
    >>> values
    array([1., 2., 3., 4., 4., 4., 3., 2., 1.])
    """

    def effect(values: FloatArray, first: int, stop: int, _: np.random.Generator) -> None:
        progress = np.linspace(0.0, 1.0, stop - first)
        values[first:stop] *= 1 + (factor - 1) * np.interp(
            progress, [0, 3 / 8, 5 / 8, 1], [0, 1, 1, 0]
        )

    return effect


def shift_for_good(factor: float) -> Effect:
    """Return an effect that multiplies every value from the start on, also after the end.

    Examples
    --------
    >>> values = np.ones(4)
    >>> shift_for_good(2.0)(values, 1, 3, np.random.default_rng(0))
    >>> values
    array([1., 2., 2., 2.])
    """

    def effect(values: FloatArray, first: int, _: int, __: np.random.Generator) -> None:
        values[first:] *= factor

    return effect


def add(amount: float) -> Effect:
    """Return an effect that adds `amount`.

    Examples
    --------
    >>> values = np.ones(4)
    >>> add(2.0)(values, 1, 3, np.random.default_rng(0))
    >>> values
    array([1., 3., 3., 1.])
    """

    def effect(values: FloatArray, first: int, stop: int, _: np.random.Generator) -> None:
        values[first:stop] += amount

    return effect


def ramp(amount: float, recovery: int = 0) -> Effect:
    """Return an effect that grows evenly to `amount`, then falls to nothing.

    Parameters
    ----------
    amount
        Added to the last value of the incident.
    recovery
        Minutes after the end in which the growth is worked off; 0 drops it at once.

    Examples
    --------
    >>> values = np.zeros(8)
    >>> ramp(3.0, recovery=2)(values, 1, 4, np.random.default_rng(0))
    >>> values
    array([0., 1., 2., 3., 2., 1., 0., 0.])
    """

    def effect(values: FloatArray, first: int, stop: int, _: np.random.Generator) -> None:
        values[first:stop] += amount * np.arange(1, stop - first + 1) / (stop - first)
        after = values[stop : stop + recovery]
        after += amount * (1 - np.arange(1, recovery + 1) / (recovery + 1))[: len(after)]

    return effect


def heat_up(amount: float) -> Effect:
    """Return an effect that approaches `amount` exponentially, as a room without cooling does.

    Examples
    --------
    >>> values = np.zeros(100)
    >>> heat_up(6.0)(values, 10, 100, np.random.default_rng(0))
    >>> bool(values[9] == 0 and 5.5 < values[99] < 6)
    True
    """

    def effect(values: FloatArray, first: int, stop: int, _: np.random.Generator) -> None:
        progress = np.arange(1, stop - first + 1) / (stop - first)
        values[first:stop] += amount * (1 - np.exp(-4 * progress))

    return effect


def roughen(spread: float) -> Effect:
    """Return an effect that multiplies each value by lognormal noise of that spread.

    Examples
    --------
    >>> values = np.ones(1000)
    >>> roughen(0.5)(values, 0, 1000, np.random.default_rng(0))
    >>> bool(0.45 < np.std(np.log(values)) < 0.55)
    True
    """

    def effect(values: FloatArray, first: int, stop: int, rng: np.random.Generator) -> None:
        values[first:stop] *= np.exp(rng.normal(0.0, spread, stop - first))

    return effect


def freeze() -> Effect:
    """Return an effect that repeats the last value before the incident.

    Examples
    --------
    >>> values = np.arange(5.0)
    >>> freeze()(values, 2, 4, np.random.default_rng(0))
    >>> values
    array([0., 1., 1., 1., 4.])
    """

    def effect(values: FloatArray, first: int, stop: int, _: np.random.Generator) -> None:
        values[first:stop] = values[first - 1]

    return effect


def _at(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def _series(metric: str, service: str, instance: str) -> Labels:
    return Labels({"metric": metric, "service": service, "instance": instance})


PLANTED: tuple[tuple[Incident, Effect], ...] = (
    (
        Incident(
            "Traffic drop",
            "drop",
            "A wrong rule in the load balancer turns one checkout in three away.",
            _series("http_requests_per_second", "checkout", "all"),
            _at("2026-06-08T14:10:00Z"),
            _at("2026-06-08T14:55:00Z"),
        ),
        multiply(0.67),
    ),
    (
        Incident(
            "Deploy",
            "shift",
            "A release on purpose: search is a third slower from now on, with better results.",
            _series("http_latency_p99_milliseconds", "catalog", "all"),
            _at("2026-06-09T10:00:00Z"),
            _at("2026-06-10T10:00:00Z"),
        ),
        shift_for_good(1.33),
    ),
    (
        Incident(
            "Latency spike",
            "spike",
            "The card processor answers slowly for half an hour.",
            _series("http_latency_p99_milliseconds", "payments", "all"),
            _at("2026-06-10T09:30:00Z"),
            _at("2026-06-10T10:00:00Z"),
        ),
        swell(2.2),
    ),
    (
        Incident(
            "Error burst",
            "burst",
            "An expired credential fails more and more checkouts until it is renewed.",
            _series("http_errors_per_second", "checkout", "all"),
            _at("2026-06-10T18:05:00Z"),
            _at("2026-06-10T18:25:00Z"),
        ),
        swell(8.0),
    ),
    (
        Incident(
            "Stuck queue",
            "ramp",
            "A consumer stops acknowledging orders; they pile up until it is restarted.",
            _series("queue_messages", "orders", "all"),
            _at("2026-06-11T03:00:00Z"),
            _at("2026-06-11T04:30:00Z"),
        ),
        ramp(900.0, recovery=25),
    ),
    (
        Incident(
            "Memory leak",
            "leak",
            "Unclosed sessions fill the heap of payments-1 until it is restarted at night.",
            _series("memory_used_megabytes", "payments", "payments-1"),
            _at("2026-06-11T12:00:00Z"),
            _at("2026-06-12T00:00:00Z"),
        ),
        ramp(900.0),
    ),
    (
        Incident(
            "CPU hog",
            "shift",
            "A forgotten report job burns CPU on catalog-1 in the quiet of the night.",
            _series("cpu_usage_percent", "catalog", "catalog-1"),
            _at("2026-06-12T01:00:00Z"),
            _at("2026-06-12T02:10:00Z"),
        ),
        add(30.0),
    ),
    (
        Incident(
            "Noisy disk",
            "noise",
            "A failing disk under db-1 makes single writes slow; the average hardly moves.",
            _series("disk_write_latency_milliseconds", "database", "db-1"),
            _at("2026-06-12T16:00:00Z"),
            _at("2026-06-12T18:00:00Z"),
        ),
        roughen(0.7),
    ),
    (
        Incident(
            "Frozen exporter",
            "flat",
            "The exporter on db-2 hangs and repeats its last temperature for hours.",
            _series("temperature_celsius", "database", "db-2"),
            _at("2026-06-13T05:00:00Z"),
            _at("2026-06-13T11:00:00Z"),
        ),
        freeze(),
    ),
    (
        Incident(
            "Cold cache",
            "sag",
            "A half-warm cache slows the front page by a twentieth for most of a Saturday.",
            _series("http_latency_p99_milliseconds", "frontend", "all"),
            _at("2026-06-13T08:00:00Z"),
            _at("2026-06-13T18:00:00Z"),
        ),
        multiply(1.05),
    ),
    (
        Incident(
            "Runaway log",
            "ramp",
            "Debug logging left on fills the disk of db-1 until somebody cleans up.",
            _series("disk_used_percent", "database", "db-1"),
            _at("2026-06-14T02:00:00Z"),
            _at("2026-06-14T05:00:00Z"),
        ),
        ramp(9.0),
    ),
    (
        Incident(
            "Fan failure",
            "shift",
            "A fan on db-1 stops; the inlet warms by six degrees until it is replaced.",
            _series("temperature_celsius", "database", "db-1"),
            _at("2026-06-14T15:00:00Z"),
            _at("2026-06-14T19:00:00Z"),
        ),
        heat_up(6.0),
    ),
)
"""Every incident with its effect, in order of time."""
