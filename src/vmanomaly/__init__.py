"""Anomaly detection for time series in VictoriaMetrics and Prometheus.

For notebooks and programs, `detect`, `Detector`, `tune` and `read` are here; see `vmanomaly.api`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = ["Detection", "Detector", "Tuning", "__version__", "detect", "read", "tune"]


def __getattr__(name: str) -> Any:
    # The service needs none of it, and importing arrays takes longer than the rest.
    if name in __all__:
        return getattr(import_module("vmanomaly.api"), name)
    raise AttributeError(f"module 'vmanomaly' has no attribute {name!r}")


def __dir__() -> list[str]:
    # What a notebook completes.
    return [*__all__, "errors"]
