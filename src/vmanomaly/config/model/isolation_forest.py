"""The sections of the models `isolation_forest` and `isolation_forest_multivariate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.values.fields import as_number, choices


def _contamination(value: object) -> str | float:
    if value == "auto":
        return "auto"
    share = as_number(value)
    if not 0 < share <= 0.5:
        raise ValueError("expected auto, or a number above 0 and up to 0.5")
    return share


CyclicFeatures = Annotated[tuple[str, ...], choices("minute", "hod", "dow", "month")]


class IsolationForestSection(ModelSection):
    """Isolation forest of scikit-learn; gives a score and no expected range.

    Attributes
    ----------
    contamination
        Share of the points that are taken for anomalies, or auto.
    seasonal_features
        Parts of the calendar that the forest looks at, next to the values.
    """

    outputs = ("anomaly_score", "y")
    gives_yhat = False
    takes_args = True

    class_name: str = Field("isolation_forest", alias="class")
    contamination: Annotated[
        str | float,
        PlainValidator(
            _contamination,
            json_schema_input_type=Literal["auto"] | Annotated[float, Field(gt=0, le=0.5)],
        ),
    ] = "auto"
    seasonal_features: CyclicFeatures = ()


class IsolationForestMultivariateSection(IsolationForestSection):
    """One forest over all series of a group."""

    multivariate = True

    class_name: str = Field("isolation_forest_multivariate", alias="class")
