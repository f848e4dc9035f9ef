"""Detectors of all models with what they have learned, whose stored states are to be forged."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.config_helpers import required
from vmanomaly.config.model import ModelSection, OnlineModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.detector import AnyDetector, InferResult, Learned, create_detector
from vmanomaly.model.registry import create_model, create_multivariate_model
from vmanomaly.series import Labels, SeriesBatch
from vmanomaly.state import Content, Members
from vmanomaly.state.content import to_arrays

STEP = 60_000
START = 1_750_000_020_000
N_SERIES, N_FIT, N_ONLINE, N_NEW = 4, 130, 30, 12

_FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "zscore_online": ("zscore_online", {"decay": 0.99}),
    "mad_online": ("mad_online", {"compression": 20}),
    "mad_online decayed": ("mad_online", {"compression": 10, "decay": 0.9}),
    "quantile_online": ("quantile_online", {"compression": 20, "iqr_threshold": 1.5}),
    "quantile_online seasonal": (
        "quantile_online",
        {
            "compression": 10,
            "decay": 0.97,
            "seasonal_interval": "6m",
            "min_subseason": "2m",
            "global_smoothing": 0.3,
            "use_transform": True,
        },
    ),
    "rolling_quantile": ("rolling_quantile", {"window_steps": 20, "iqr_threshold": 1.0}),
    "rolling_quantile decayed": (
        "rolling_quantile",
        {"window_steps": 300, "decay": 0.9, "quantile": 0.9},
    ),
    "std": ("std", {"period": 5}),
    "temporal_envelope": ("temporal_envelope", {"changepoint_window": 4}),
    "temporal_envelope forecasts": (
        "temporal_envelope",
        {"seasonalities": ["hod_spiky", "dow_plateau"], "forecast_at": ["2m", "1h"]},
    ),
    "temporal_envelope_multivariate": (
        "temporal_envelope_multivariate",
        {"dependency_rank": 2, "groupby": ["rack"], "changepoint_window": 4},
    ),
    "isolation_forest": (
        "isolation_forest",
        {"args": {"n_estimators": 4, "max_samples": 32}, "seasonal_features": ["minute", "dow"]},
    ),
    "isolation_forest_multivariate": (
        "isolation_forest_multivariate",
        {"args": {"n_estimators": 4}, "contamination": 0.05, "groupby": ["rack"]},
    ),
    "holtwinters": (
        "holtwinters",
        {"seasonality": "12m", "args": {"initialization_method": "heuristic"}},
    ),
    "prophet": ("prophet", {"forecast_at": ["10m"], "args": {"uncertainty_samples": 20}}),
    "custom": ("tests.model.custom_models.JsonLast", {"class_folder": Path()}),
    "custom batch": ("tests.model.custom_models.BatchBand", {"class_folder": Path()}),
}
NAMES = tuple(_FORMS)
_BOUNDS = ("anomaly_score", "yhat", "yhat_lower", "yhat_upper")


@dataclass(frozen=True)
class Subject:
    """A detector, and what it has learned.

    Attributes
    ----------
    name : str
    detector : Detector
    learned : Learned
    new : SeriesBatch
        Points that it has not seen.
    """

    name: str
    detector: AnyDetector
    learned: Learned
    new: SeriesBatch

    @cached_property
    def content(self) -> Content:
        """What is stored of it."""
        state = self.learned.state
        arrays = {name: array.copy() for name, array in state.arrays().items()}
        return Content(Members(state.labels, self.learned.grouping), arrays)

    @cached_property
    def member_arrays(self) -> dict[str, Any]:
        """The arrays of the file that says whose state it is."""
        return to_arrays(self.content.members)

    @cached_property
    def undamaged(self) -> InferResult:
        """What comes of the new points with the state as it was stored."""
        return self.scores(deepcopy(self.learned))

    def restored(self, content: Content) -> Learned:
        """Return what a start makes of what was stored.

        Raises
        ------
        ValueError
            It is refused.
        """
        members = content.members
        return self.detector.restore(members.labels, members.grouping, content.arrays)

    def scores(self, learned: Learned) -> InferResult:
        """Score the new points, in three micro-batches."""
        return self.detector.infer(learned, [self.new], np.array([0, 1, 6]))[1]


def subject(name: str) -> Subject:
    """Return the subject of a name: fitted, and then some points learned online."""
    class_name, parameters = _FORMS[name]
    entry = MODELS.get(class_name)
    section_class: type[ModelSection] = MODELS["custom" if entry is None else class_name].section
    required_keys = {} if entry is None else required(section_class)
    is_online = name != "custom batch" and (
        entry is None or issubclass(section_class, OnlineModelSection)
    )
    outputs = _BOUNDS if entry is None else section_class.outputs or _BOUNDS
    section = section_class.model_validate(
        {
            "class": class_name,
            **required_keys,
            **({"min_n_samples_seen": 3} if is_online else {}),
            "provide_series": [*outputs, "incident_score"],
            **parameters,
        }
    )
    query = Query.model_validate({"alias": "q", "expr": "q", "step": "1m"})
    make: Callable[..., Any] = (
        (lambda section, query: create_multivariate_model(section, [query]))
        if section.multivariate
        else create_model
    )
    detector = create_detector(make(section, query), section, [query])
    batch = _telemetry()
    parts = [batch.columns(0, N_FIT), batch.columns(N_FIT, N_FIT + N_ONLINE)]
    learned, _ = detector.fit([parts[0]])
    learned, _ = detector.infer(learned, [parts[1]], np.arange(0, N_ONLINE, 5))
    return Subject(name, detector, learned, batch.columns(N_FIT + N_ONLINE, len(batch.timestamps)))


def _telemetry() -> SeriesBatch:
    rng = np.random.default_rng(3)
    timestamps = START + STEP * np.arange(N_FIT + N_ONLINE + N_NEW)
    values = rng.normal(50.0, 1.0, (N_SERIES, len(timestamps))) + 3 * np.sin(timestamps / 360_000)
    values[0] = values[0].round()
    values[3, :N_FIT] = values[2, :N_FIT] + rng.normal(0, 0.1, N_FIT)
    values[:2, N_FIT + 3] = np.nan
    labels = tuple(Labels({"host": host, "rack": (host in "ab" and "1") or "2"}) for host in "abcd")
    return SeriesBatch(labels, timestamps, values)
