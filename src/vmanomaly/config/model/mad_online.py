"""The section of the model `mad_online`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.model.values import Compression, HistoryStrength, Positive


class MadOnlineSection(OnlineModelSection):
    """Median and median absolute deviation.

    Attributes
    ----------
    threshold
        Median absolute deviations from the median at which the score is 1.
    compression
        Size of the digest of the values: larger is more accurate, and takes more memory.
    history_strength
        How much more a point of the fit window weighs than a later one.
    """

    class_name: str = Field("mad_online", alias="class")
    threshold: Positive = 2.5
    compression: Compression = 100
    history_strength: HistoryStrength = 1.0
