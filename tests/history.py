"""A stretch of history with all that telemetry has, and a service's parts that walk through it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.config_helpers import required
from tests.fakes import FakeWriter
from vmanomaly.config import Config, load_config
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.config.tuned import NOT_TUNED
from vmanomaly.series import Labels, SeriesBatch, TimeRange

STEP = 60_000
N_POINTS = 640
START = 1_750_000_020_000
END = START + N_POINTS * STEP
FROM = START + 160 * STEP
ONLINE = [
    alias
    for alias in MODELS.aliases
    if alias not in NOT_TUNED and MODELS.implementation(alias).online
]
Point = tuple[Labels, str, str, int]


def telemetry(n_points: int = N_POINTS) -> SeriesBatch:
    """Seasons and noise at several scales; gaps, infinities, series that come and that go."""
    rng = np.random.default_rng(7)
    timestamps = START + STEP * np.arange(1, n_points + 1)
    season = np.sin(2 * np.pi * timestamps / 3_600_000)
    scale = np.array([[0.01], [1], [5], [1000], [3], [1]])
    values = scale * (season + rng.normal(0, 0.3, (6, n_points))) + 10 * scale
    values[rng.random(values.shape) < 0.05] = np.nan
    values[rng.random(values.shape) < 0.005] = np.inf
    values[1, 300:] = np.nan
    values[2, :333] = np.nan
    values[3, 200:400] = np.nan
    values[4] = 42.0
    labels = tuple(Labels({"host": name}) for name in "abcdef")
    return SeriesBatch(labels, timestamps, values)


DATA = telemetry()
STEADY = [row for row, values in enumerate(DATA.values) if np.isnan(values).mean() < 0.1]
"""The series that are there throughout: what vanishes takes its group with it."""


def answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """Return what a server would: only series that have a sample in the range.

    The expression `steady` gives only those that are there throughout, but for gaps.
    """
    window = TimeRange(time_range.start + int(query.offset), time_range.end + int(query.offset))
    columns = (window.start < DATA.timestamps) & (window.end >= DATA.timestamps)
    values = DATA.values[:, columns]
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    if query.expr == "steady":
        rows = rows[np.isin(rows, STEADY)]
    labels = tuple(DATA.labels[row] for row in rows)
    return SeriesBatch(labels, DATA.timestamps[columns], np.ascontiguousarray(values[rows]))


def n_scorable(model: str, start: int) -> int:
    """Return how many scores a model has to give after a time, at most."""
    present = np.isfinite(DATA.values[:, DATA.timestamps > start])
    if MODELS[model].section.multivariate:
        return int(present[STEADY].all(axis=0).sum())
    return int(present.sum())


# Keys of which one must be there.
_ONE_OF_SEVERAL = {
    "holtwinters": {"args": {"seasonal_periods": 4, "initialization_method": "heuristic"}}
}


def config(
    folder: Path,
    model: str,
    scheduler: dict[str, Any],
    offset: str = "0s",
    settings: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration of a model on the history under a scheduler."""
    path = folder / "config.yaml"
    outputs = [*(MODELS[model].section.outputs or ()), "incident_score"]
    sections = {
        "reader": {
            "datasource_url": "http://localhost:8428",
            "sampling_period": "1m",
            "eval_delay": "0s",
            "offset": offset,
            "queries": {
                "load": {
                    "expr": "steady" if MODELS[model].section.multivariate else "load",
                    "data_range": [-1e9, 1e9],
                    "min_dev_from_expected": 0.01,
                }
            },
        },
        "models": {
            "m": {
                "class": model,
                "queries": "all",
                "schedulers": "all",
                "provide_series": outputs,
                **required(MODELS[model].section),
                **_ONE_OF_SEVERAL.get(model, {}),
            }
        },
        "schedulers": {"s": scheduler},
        "writer": {"datasource_url": "http://localhost:8428"},
        "settings": dict(settings or {}),
    }
    path.write_text(yaml.safe_dump(sections))
    return load_config([path], environ or {})


def points_of(writer: FakeWriter, *, repeated: bool = False) -> dict[Point, float]:
    """Return what was written, each point once; `repeated` ones must have had the same value."""
    written: dict[Point, float] = {}
    for predictions, origin in writer.written:
        for output, values in predictions.outputs.items():
            for row, column in np.argwhere(~np.isnan(values)):
                timestamp = int(predictions.timestamps[column])
                point = (predictions.labels[row], output, origin.query_key, timestamp)
                value = float(values[row, column])
                assert point not in written or (repeated and written[point] == value)
                written[point] = value
    return written
