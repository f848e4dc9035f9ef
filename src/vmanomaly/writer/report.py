"""What happens to data that a writer cannot deliver."""

from __future__ import annotations

import logging

from vmanomaly.episodes import Episodes, counted
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


class EmptyWrites:
    """Logs when predictions begin to hold no finite value, and when they hold some again.

    Parameters
    ----------
    logger
        Where to log.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._episodes = Episodes(logger)

    def note(self, origin: Origin, is_empty: bool) -> None:
        """Note whether predictions of an origin held no finite value."""
        where = (
            f"metric {origin.query_key} of model '{origin.model_alias}' under scheduler "
            f"'{origin.scheduler_alias}'"
        )
        if is_empty:
            self._episodes.begin(origin, f"No valid datapoints to save for {where}")
        elif (episode := self._episodes.end(origin)) is not None:
            self._logger.info(
                "Saving datapoints for %s again after %.0f s and %s",
                where,
                episode.seconds,
                counted(episode.n, "run"),
            )
