"""The section of the model `std`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from vmanomaly.config.model.base import STANDARD_OUTPUTS, OnlineModelSection
from vmanomaly.config.model.values import Positive
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import whole

_DAY = 86_400_000
_MAX_PERIOD = 100_000


class StdSection(OnlineModelSection):
    """One-sided seasonal decomposition.

    Attributes
    ----------
    period
        Points in a season.
    z_threshold
        Standard deviations of the residuals from the prediction at which the score is 1.
    """

    outputs = (*STANDARD_OUTPUTS, "trend", "seasonal", "resid")

    class_name: str = Field("std", alias="class")
    period: Annotated[int, whole(2, _MAX_PERIOD)] | None = None
    z_threshold: Positive = 2.5

    def for_step(self, step: Duration) -> Self:
        """Return the section with a `period`: if none is set, a day, or a week for steps over 12h.

        It is at least 2 points, and at most 100,000.
        """
        if self.period is not None:
            return self
        season = _DAY if 2 * step <= _DAY else 7 * _DAY
        return self.model_copy(update={"period": min(max(2, season // step), _MAX_PERIOD)})
