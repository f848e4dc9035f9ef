"""Reader `noop`: reads nothing."""

from __future__ import annotations

from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.series import SeriesBatch, TimeRange


class NoopReader:
    """Takes the place of a reader where no query is read."""

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        """Raise: its section has no queries, so that nobody may ask.

        Raises
        ------
        RuntimeError
            Always.
        """
        raise RuntimeError(f"the reader noop was asked for the query {query.alias}")

    def check_health(self) -> None:
        """Find nothing wrong."""

    def close(self) -> None:
        """Release nothing."""

    @staticmethod
    def warm_up() -> None:
        """Compile nothing."""
