"""The section of the model `holtwinters`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.values import Positive
from vmanomaly.config.values.fields import PositiveDuration

_OF_PANDAS = re.compile(r"(\d+(?:\.\d+)?)?(W|D|H|h|min|T|S|s|ms|L)")
_UNITS = {"W": "w", "D": "d", "H": "h", "min": "m", "T": "m", "S": "s", "L": "ms"}


def _from_pandas(value: object) -> object:
    """Return a duration as it is written here, if pandas would write it otherwise.

    Examples
    --------
    >>> _from_pandas("5min"), _from_pandas("D"), _from_pandas("1d")
    ('5m', '1d', '1d')
    """
    found = _OF_PANDAS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    count, unit = found.groups()
    return f"{count or 1}{_UNITS.get(unit, unit)}"


AnyDuration = Annotated[PositiveDuration, BeforeValidator(_from_pandas)]


class HoltWintersSection(ModelSection):
    """Holt-Winters exponential smoothing of statsmodels.

    Attributes
    ----------
    frequency
        Distance of the points; by default the median gap of the data of the fit.
    seasonality
        Length of the season.
    z_threshold
        Standard deviations of the residuals from the prediction at which the score is 1.
    """

    takes_args = True

    class_name: str = Field("holtwinters", alias="class")
    frequency: AnyDuration | None = None
    seasonality: AnyDuration | None = None
    z_threshold: Positive = 2.5
