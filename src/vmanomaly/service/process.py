"""What the metrics say of the process itself."""

from __future__ import annotations

import time

import vmanomaly
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.resources import available_cpus, available_memory


def describe_process(metrics: Metrics) -> None:
    """Set what is known of a process when it starts: version, limits, and that its config is good.

    Parameters
    ----------
    metrics
        The service's own metrics.
    """
    now = time.time()
    metrics.start_time_seconds.set(now)
    # The UI has no version of its own.
    for version_info in (metrics.version_info, metrics.ui_version_info):
        version_info.labels(version=vmanomaly.__version__).set(1)
    metrics.available_memory_bytes.set(available_memory())
    metrics.cpu_cores_available.set(available_cpus())
    metrics.config_last_reload_successful.set(1)
    metrics.config_last_reload_success_timestamp_seconds.set(now)
    for status in ("success", "failure"):
        metrics.config_reloads.labels(status=status)
