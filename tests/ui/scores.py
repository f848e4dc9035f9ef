"""Scores as a service writes them: an incident of two series, and one that lasts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from tests.integration.servers import Samples
from tests.ui.site import STEP_MS

N_POINTS = 360
HOSTS = ("web-1", "web-2", "db-1")
# The service itself scores other series meanwhile.
OURS = "since=6h&label=env%3Dscored"
_OUTPUTS = ("anomaly_score", "incident_score", "y", "yhat", "yhat_lower", "yhat_upper")


def scores(end: int) -> Iterator[tuple[Mapping[str, str], Samples]]:
    """Yield all outputs of all series, up to the end."""
    times = [end - (N_POINTS - 1 - index) * STEP_MS for index in range(N_POINTS)]
    for host in HOSTS:
        labels = {
            "for": "requests",
            "model_alias": "m",
            "scheduler_alias": "daily",
            "preset": "default",
            "host": host,
            "env": "scored",
        }
        for name in _OUTPUTS:
            values = [_value(name, host, index) for index in range(N_POINTS)]
            yield {"__name__": name, **labels}, list(zip(times, values, strict=True))


def _value(name: str, host: str, index: int) -> float:
    before = host.startswith("web") and 100 <= index < 120
    now = host == "db-1" and index >= N_POINTS - 10
    if name in ("anomaly_score", "incident_score"):
        return (6.0 if host == "web-1" else 2.0) if before or now else 0.25
    if name == "y":
        return 100.0 + 5.0 * math.sin(index / 2) + (80.0 if before or now else 0.0)
    return {"yhat": 100.0, "yhat_lower": 90.0, "yhat_upper": 110.0}[name]
