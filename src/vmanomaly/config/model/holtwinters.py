"""The section of the model `holtwinters`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.values import Positive
from vmanomaly.config.values.fields import PositiveDuration


class HoltWintersSection(ModelSection):
    """Holt-Winters exponential smoothing of statsmodels.

    Attributes
    ----------
    frequency
        Distance of the points; by default the step of the query.
    seasonality
        Length of the season.
    z_threshold
        Standard deviations of the residuals from the prediction at which the score is 1.
    """

    takes_args = True

    class_name: str = Field("holtwinters", alias="class")
    frequency: PositiveDuration | None = None
    seasonality: PositiveDuration | None = None
    z_threshold: Positive = 2.5
