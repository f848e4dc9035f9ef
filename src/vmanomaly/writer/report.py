"""What happens to data that a writer cannot deliver."""

from __future__ import annotations

import logging

from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Origin


def report_dropped(
    logger: logging.Logger,
    metrics: Metrics,
    n_points: int,
    origin: Origin,
    error: DatasourceError,
) -> None:
    """Log and count points that are lost, with the reason in the server's own words."""
    logger.error("Cannot write %d points for %s: %s", n_points, origin.query_key, error)
    metrics.writer_dropped_datapoints.labels(reason=error.code).inc(n_points)


def report_empty(logger: logging.Logger, origin: Origin) -> None:
    """Log that predictions hold no finite value."""
    logger.warning(
        "No valid datapoints to save for metric %s of model '%s' under scheduler '%s'",
        origin.query_key,
        origin.model_alias,
        origin.scheduler_alias,
    )
