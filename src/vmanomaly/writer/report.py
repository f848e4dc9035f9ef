"""What becomes of data that a writer cannot deliver."""

from __future__ import annotations

import logging

from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.writer.format import Destination


def report_dropped(
    logger: logging.Logger,
    metrics: Metrics,
    n_points: int,
    destination: Destination,
    error: DatasourceError,
) -> None:
    """Log and count points that are lost, with the reason in the server's own words."""
    logger.error("Cannot write %d points for %s: %s", n_points, destination.query_key, error)
    metrics.writer_dropped_datapoints.labels(reason=error.code).inc(n_points)


def report_empty(logger: logging.Logger, destination: Destination) -> None:
    """Log that predictions hold no finite value."""
    logger.warning(
        "No valid datapoints to save for metric %s of model '%s' under scheduler '%s'",
        destination.query_key,
        destination.model_alias,
        destination.scheduler_alias,
    )
