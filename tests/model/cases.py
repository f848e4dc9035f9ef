"""The models that conform: every available one of single series, in several forms.

A case is named by the alias of its class, and after a space by what is special about it. A class
that becomes available is one case without further work, on the examples that its section gives for
parameters without default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.config_helpers import required
from vmanomaly.config.model import ModelSection
from vmanomaly.config.registry import MODELS

_FORMS: dict[str, dict[str, Any]] = {
    "quantile_online seasonal": {"seasonal_interval": "6m", "min_subseason": "2m"},
    "quantile_online daily": {
        "seasonal_interval": "1d",
        "min_subseason": "6h",
        "global_smoothing": 0.3,
        "iqr_threshold": 1.5,
        "use_transform": True,
    },
    "rolling_quantile wide": {"quantile": 0.75, "window_steps": 1, "iqr_threshold": 2},
    # Without one it is a day, which is longer than the series of most tests.
    "std": {"period": 24},
    "std odd": {"period": 3},
    "std even": {"period": 4},
    "temporal_envelope calendar": {
        "seasonalities": ["hod_spiky", "dow_plateau", "weekpart_plateau", "month_smooth"],
        "holidays": {"countries": ["DE"], "special_events": ["03-29"]},
        "forecast_at": ["2m", "1h"],
        "quantiles": [0.05, 0.95],
        "iqr_threshold": 0.5,
        "changepoint_window": 4,
    },
    # Three trees: what is grown is not what is tested.
    "isolation_forest": {"args": {"n_estimators": 3}, "contamination": 0.1},
    "isolation_forest calendar": {
        "args": {"n_estimators": 3, "max_samples": 50},
        "seasonal_features": ["minute", "hod", "dow", "month"],
    },
    "temporal_envelope flat": {"seasonalities": [], "alpha": 0.5, "changepoint_window": 1},
    "holtwinters": {"args": {"seasonal_periods": 4, "initialization_method": "heuristic"}},
}

_CUSTOM: dict[str, dict[str, Any]] = {
    case: {
        "class": f"tests.model.custom_models.{name}",
        "class_folder": Path(),
        "provide_series": ["anomaly_score", "yhat", "yhat_lower", "yhat_upper"],
    }
    for case, name in {
        "custom": "PandasBand",
        "custom online": "PandasOnlineBand",
        "custom batch": "BatchBand",
        "custom batch online": "BatchOnlineLast",
    }.items()
}

CASES: dict[str, dict[str, Any]] = {
    **{
        alias: required(MODELS[alias].section)
        for alias in MODELS.aliases
        if not (MODELS[alias].section.multivariate or alias == "auto")
    },
    **_FORMS,
    **_CUSTOM,
}
"""The parameters of every case."""

BUILT_IN = [case for case in CASES if case not in _CUSTOM]
"""The cases whose numbers are ours."""

UNDECLARED = ["custom", "custom online", "prophet"]
"""The cases whose outputs only a run can tell."""

SEVERAL_PASSES = [case for case in CASES if case.startswith("temporal_envelope")]
"""The cases whose fit learns more than learning the same samples one by one would."""

LIBRARY = ["holtwinters", "prophet"]
"""The cases whose library fits one series at a time, slowly."""

FORESTS = [case for case in CASES if case.startswith("isolation_forest")]
"""The cases of isolation forests, small enough for many examples."""

OFFLINE = ["custom", "custom batch", *LIBRARY, *FORESTS]
"""The cases that learn at fit only."""


def name_of(case: str) -> str:
    """Return the alias of a case."""
    return case.partition(" ")[0]


def section_of(case: str) -> type[ModelSection]:
    """Return the section of a case's class."""
    return MODELS[name_of(case)].section


WITH_YHAT = [case for case in BUILT_IN if section_of(case).gives_yhat]
"""The cases of ours that say what is expected."""
