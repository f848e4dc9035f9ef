"""The section of the model `zscore_online`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.model.values import HistoryStrength, Positive


class ZscoreOnlineSection(OnlineModelSection):
    """Mean and standard deviation.

    Attributes
    ----------
    z_threshold
        Standard deviations from the mean at which the score is 1.
    history_strength
        How much more a point of the fit window weighs than a later one.
    """

    class_name: str = Field("zscore_online", alias="class")
    z_threshold: Positive = 2.5
    history_strength: HistoryStrength = 1.0
