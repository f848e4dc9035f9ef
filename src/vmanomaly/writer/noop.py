"""Writer `noop`: discards what it is given."""

from __future__ import annotations

from vmanomaly.series import Origin, Predictions
from vmanomaly.writer.base import Writer


class NoopWriter(Writer):
    """Takes the place of a writer where scores are computed and not kept."""

    last_error = None
    n_dropped = 0

    def write(self, predictions: Predictions, origin: Origin) -> None:
        """Discard the predictions."""

    def check_health(self) -> None:
        """Find nothing wrong."""
