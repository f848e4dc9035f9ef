"""The models that are run: each class that there is, with its defaults and with many options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmanomaly.config.registry import MODELS

Section = dict[str, Any]

_OUTPUTS_OF_CUSTOM = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
_INCIDENT_SCORE = "incident_score"
REQUIRED: dict[str, Section] = {
    "rolling_quantile": {"quantile": 0.95, "window_steps": 96},
    "std": {"period": 288},
    "holtwinters": {"seasonality": "1d", "args": {"initialization_method": "heuristic"}},
    # Few trees, as their fits are slow.
    "isolation_forest": {"args": {"n_estimators": 10}},
    "isolation_forest_multivariate": {"args": {"n_estimators": 10}},
}
_OF_ALL = {"scale": [0.8, 1.25], "clip_predictions": True, "anomaly_score_outside_data_range": 2.5}
_ONLINE = {"decay": 0.999, "min_n_samples_seen": 50}
_ENVELOPE = {
    **_ONLINE,
    "quantiles": [0.1, 0.9],
    "iqr_threshold": 1.5,
    "alpha": 0.01,
    "loss_reactivity": 3,
    "changepoint_window": 8,
    "seasonalities": [
        "hod_smooth",
        "hod_spiky",
        "hod_plateau",
        "dow_smooth",
        "dow_spiky",
        "dow_plateau",
        "weekpart_plateau",
        "month_smooth",
        "month_plateau",
    ],
    "holidays": {"countries": ["DE"], "special_events": ["04-12", "2016-03-31"], "group": False},
}
_FOREST = {
    "contamination": 0.02,
    "seasonal_features": ["minute", "hod", "dow", "month"],
    "args": {"n_estimators": 15, "max_samples": 0.2, "random_state": 7},
}
OPTIONS: dict[str, Section] = {
    "zscore_online": {**_ONLINE, "z_threshold": 3, "history_strength": 4},
    "mad_online": {**_ONLINE, "threshold": 3, "history_strength": 4, "compression": 50},
    "quantile_online": {
        **_ONLINE,
        "quantiles": [0.05, 0.5, 0.95],
        "iqr_threshold": 1.5,
        "seasonal_interval": "1d",
        "min_subseason": "1h",
        "season_starts_from": "1970-01-01T00:30:00Z",
        "use_transform": True,
        "global_smoothing": 0.3,
        "history_strength": 4,
        "compression": 50,
    },
    "rolling_quantile": {
        **_ONLINE,
        "decay": 0.99,
        "quantile": 0.9,
        "window_steps": 288,
        "iqr_threshold": 1.5,
    },
    "std": {**_ONLINE, "period": 144, "z_threshold": 3},
    "holtwinters": {"seasonality": "1d", "z_threshold": 3, "args": {"seasonal": None}},
    "prophet": {
        "tz_aware": True,
        "tz_seasonalities": ["hod"],
        "forecast_at": ["1h"],
        "compression": {"window": "1h"},
        "args": {"interval_width": 0.98},
    },
    "temporal_envelope": {**_ENVELOPE, "forecast_at": ["1h", "1d"]},
    "temporal_envelope_multivariate": {
        **_ENVELOPE,
        "dependency_rank": 2,
        "score_aggregation": "mean",
        "random_state": 7,
        "groupby": ["kind"],
    },
    "isolation_forest": _FOREST,
    "isolation_forest_multivariate": {**_FOREST, "groupby": ["kind"]},
    "custom": {"share": 0.9},
}
# In addition to the registry, whose `custom` is a class of single series here.
_CUSTOM_MULTIVARIATE = "model.custom.Spread"


def sections(queries: Iterable[str], schedulers: Iterable[str], multivariate: bool) -> Section:
    """Return the section `models` of a configuration.

    Parameters
    ----------
    queries
        Those of the configuration: models with default parameters run on `plain`, models with
        options on the others.
    schedulers
        Those of the configuration: `plain`, `options`, and for one model more `live`.
    multivariate
        Whether the models are those that look at series together, or the others.
    """
    plain = {"queries": ["plain"], "schedulers": ["plain"]}
    many = {"queries": [each for each in queries if each != "plain"], "schedulers": ["options"]}
    models: Section = {}
    for alias in MODELS.aliases:
        # What `auto` runs is there with parameters of its own.
        if alias == "auto" or MODELS[alias].section.multivariate != multivariate:
            continue
        models[alias] = _section(alias, REQUIRED.get(alias, {}) | plain)
        options = REQUIRED.get(alias, {}) | _OF_ALL | OPTIONS.get(alias, {})
        models[f"{alias}_options"] = _section(alias, options | many)
    if multivariate:
        models["custom_multivariate"] = {
            "class": _CUSTOM_MULTIVARIATE,
            **plain,
            "provide_series": ["anomaly_score", _INCIDENT_SCORE],
        }
    if "live" in schedulers:
        models["temporal_envelope_live"] = _section(
            "temporal_envelope", {"forecast_at": ["15m"], **plain, "schedulers": ["live"]}
        )
    return models


def _section(alias: str, parameters: Section) -> Section:
    outputs = MODELS[alias].section.outputs or _OUTPUTS_OF_CUSTOM
    forecasts = [
        f"{output}_{ahead}"
        for ahead in parameters.get("forecast_at", ())
        for output in ("yhat", "yhat_lower", "yhat_upper")
    ]
    written = [*outputs, *forecasts, _INCIDENT_SCORE]
    return {"class": alias, **parameters, "provide_series": written}
