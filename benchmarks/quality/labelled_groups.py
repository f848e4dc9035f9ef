"""Groups of series whose incidents are known: those of SKAB, and groups made up."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.quality.generate import DAY, MINUTE
from benchmarks.quality.labelled import START
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

Rng: TypeAlias = np.random.Generator

N_FIT = 400
"""The first rows of each run, which SKAB gives detectors to learn from."""


@dataclass(frozen=True, slots=True)
class LabelledGroup:
    """Series that belong together, with the truth about them.

    Attributes
    ----------
    family, name : str
        Where it belongs, and the group itself.
    channels : tuple of str
        A name for each series.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, ascending.
    values : ndarray of float64, shape (C, T)
    anomalous : ndarray of bool, shape (T,)
        Where something is wrong.
    n_fit : int
        The first points, which models are fitted on and which are not scored.
    step : int
        Milliseconds between points.
    """

    family: str
    name: str
    channels: tuple[str, ...]
    timestamps: IntArray
    values: FloatArray
    anomalous: BoolArray
    n_fit: int
    step: int

    def batch(self, first: int, stop: int) -> SeriesBatch:
        """Return the points from column `first` to before `stop`."""
        labels = tuple(Labels({"channel": name}) for name in self.channels)
        values = np.ascontiguousarray(self.values[:, first:stop])
        return SeriesBatch(labels, self.timestamps[first:stop], values)


def read_skab(folder: Path) -> list[LabelledGroup]:
    """Read the runs of valve 1 of the Skoltech Anomaly Benchmark, in the order of their numbers."""
    paths = sorted((folder / "valve1").glob("*.csv"), key=lambda path: int(path.stem))
    return [_read(path) for path in paths]


def _read(path: Path) -> LabelledGroup:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    channels = tuple(name for name in rows[0] if name not in ("datetime", "anomaly", "changepoint"))
    times = (datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC) for row in rows)
    return LabelledGroup(
        "skab",
        path.stem,
        channels,
        np.array([int(time.timestamp()) * 1000 for time in times], np.int64),
        np.array([[float(row[name]) for row in rows] for name in channels]),
        np.array([float(row["anomaly"]) > 0.0 for row in rows]),
        N_FIT,
        1000,
    )


def generate_groups(seed: int = 0) -> list[LabelledGroup]:
    """Make groups of six channels at five minutes; the same seed gives the same ones.

    Each base comes quiet, and with each incident. Channels share two loads; some drift, wander,
    burst or spike alone besides, which is normal for them.
    """
    return list(_generate(np.random.default_rng(seed)))


_N_CHANNELS = 6
_N_QUIET = 2


def _generate(rng: Rng) -> Iterator[LabelledGroup]:
    for base in _BASES:
        for n_fit, n_points in ((400, 2_500), (4_032, 8_064)):
            for number in range(_N_QUIET):
                yield _group("quiet", f"{base}-{n_fit}-{number}", base, None, n_fit, n_points, rng)
            for incident in _INCIDENTS:
                name = f"{base}-{n_fit}"
                yield _group(incident, name, base, incident, n_fit, n_points, rng)


def _group(
    family: str, name: str, base: str, incident: str | None, n_fit: int, n_points: int, rng: Rng
) -> LabelledGroup:
    timestamps = START + 5 * MINUTE * np.arange(n_points, dtype=np.int64)
    loadings = rng.normal(size=(_N_CHANNELS, 2))
    loads = _autocorrelated(rng, 0.9, (2, n_points))
    values = 0.5 * loadings @ loads + rng.normal(size=(_N_CHANNELS, n_points))
    values = _BASES[base](values, loadings, timestamps, rng)
    anomalous = np.zeros(n_points, np.bool_)
    if incident is not None:
        first = int(rng.integers(n_fit + 300, n_points - 600))
        place = slice(first, first + int(rng.integers(100, 300)))
        _INCIDENTS[incident](values, loadings, place, rng)
        anomalous[place] = True
    scales = 10.0 ** rng.uniform(-2, 3, (_N_CHANNELS, 1))
    channels = tuple(f"c{c}" for c in range(_N_CHANNELS))
    return LabelledGroup(
        family, name, channels, timestamps, scales * values, anomalous, n_fit, 5 * MINUTE
    )


def _autocorrelated(rng: Rng, keep: float, shape: tuple[int, int]) -> FloatArray:
    """Return an autoregressive process of variance 1."""
    values = rng.normal(size=shape)
    for t in range(1, shape[1]):
        values[:, t] = keep * values[:, t - 1] + np.sqrt(1.0 - keep**2) * values[:, t]
    return values


Base: TypeAlias = Callable[[FloatArray, FloatArray, IntArray, Rng], FloatArray]
"""Given channels of noise and shared loads, the loadings and the timestamps: the channels."""

_ALONE = _N_CHANNELS // 2
"""So many channels do what is special of a base; incidents are in the others."""


def _plain(values: FloatArray, _: FloatArray, __: IntArray, ___: Rng) -> FloatArray:
    return values


def _heavy(values: FloatArray, _: FloatArray, __: IntArray, rng: Rng) -> FloatArray:
    return values + rng.standard_t(3, values.shape) / 2.0


def _daily(values: FloatArray, loadings: FloatArray, times: IntArray, rng: Rng) -> FloatArray:
    day = np.sin(2.0 * np.pi * times / DAY + rng.uniform(0, 6))
    return values + 3.0 * loadings[:, :1] * day


def _weekly(values: FloatArray, loadings: FloatArray, times: IntArray, rng: Rng) -> FloatArray:
    weekday = np.where((times - START) // DAY % 7 >= 5, 0.4, 1.0)
    return values + 3.0 * loadings[:, :1] * weekday * np.sin(2.0 * np.pi * times / DAY)


def _wandering(values: FloatArray, _: FloatArray, __: IntArray, rng: Rng) -> FloatArray:
    values[:_ALONE] += 0.1 * np.cumsum(rng.normal(size=(_ALONE, values.shape[1])), axis=1)
    return values


def _slow(values: FloatArray, _: FloatArray, __: IntArray, rng: Rng) -> FloatArray:
    values[:_ALONE] += 2.0 * _autocorrelated(rng, 0.99, (_ALONE, values.shape[1]))
    return values


def _drifting(values: FloatArray, _: FloatArray, __: IntArray, rng: Rng) -> FloatArray:
    share = np.linspace(0.0, 1.0, values.shape[1])
    values[:_ALONE] += rng.normal(0.0, 15.0, (_ALONE, 1)) * share
    return values


def _spiky(values: FloatArray, loadings: FloatArray, _: IntArray, rng: Rng) -> FloatArray:
    n_points = values.shape[1]
    spikes = np.where(rng.random(n_points) < 0.003, 1.0, 0.0)
    heights: FloatArray = 8.0 * np.abs(loadings[:, :1])
    return values + heights * np.convolve(spikes, np.array([1.0, 0.6, 0.3]))[:n_points]


def _rounded(values: FloatArray, _: FloatArray, __: IntArray, ___: Rng) -> FloatArray:
    return np.round(0.7 * values)


def _bursty(values: FloatArray, _: FloatArray, __: IntArray, rng: Rng) -> FloatArray:
    busy = np.cumsum(rng.random(values.shape[1]) < 0.02) % 2
    values[0] += 4.0 * busy
    values[1] += 2.0 * busy
    return values


_BASES: dict[str, Base] = {
    "plain": _plain,
    "heavy-tailed": _heavy,
    "daily": _daily,
    "weekly": _weekly,
    "wandering": _wandering,
    "slow": _slow,
    "drifting": _drifting,
    "spiky": _spiky,
    "rounded": _rounded,
    "bursty": _bursty,
}

Incident: TypeAlias = Callable[[FloatArray, FloatArray, slice, Rng], None]
"""Changes the channels in a range of points."""


def _one(values: FloatArray, place: slice, rng: Rng) -> tuple[int, float]:
    """Return a channel, and the standard deviation of its noise from point to point."""
    c = int(rng.integers(_ALONE, _N_CHANNELS))
    changes = np.diff(values[c, : place.start])
    return c, float(np.sqrt(np.mean(changes**2) / 2.0))


def _shift(values: FloatArray, _: FloatArray, place: slice, rng: Rng) -> None:
    c, sigma = _one(values, place, rng)
    values[c, place] += rng.choice([-1.0, 1.0]) * rng.uniform(3, 6) * sigma


def _mirror(values: FloatArray, _: FloatArray, place: slice, rng: Rng) -> None:
    """Break the relation of a channel to the others, inside its own range."""
    c, _sigma = _one(values, place, rng)
    values[c, place] = 2.0 * values[c, : place.start].mean() - values[c, place]


def _common(values: FloatArray, loadings: FloatArray, place: slice, rng: Rng) -> None:
    values[:, place] += rng.uniform(3, 6) * loadings[:, :1]


def _ramp(values: FloatArray, _: FloatArray, place: slice, rng: Rng) -> None:
    c, sigma = _one(values, place, rng)
    height = rng.choice([-1.0, 1.0]) * rng.uniform(6, 10) * sigma
    values[c, place] += np.linspace(0.0, height, place.stop - place.start)


def _frozen(values: FloatArray, _: FloatArray, place: slice, rng: Rng) -> None:
    c, _sigma = _one(values, place, rng)
    values[c, place] = values[c, place.start]


_INCIDENTS: dict[str, Incident] = {
    "shift": _shift,
    "mirror": _mirror,
    "common": _common,
    "ramp": _ramp,
    "frozen": _frozen,
}
