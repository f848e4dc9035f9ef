"""The sections of the models `isolation_forest` and `isolation_forest_multivariate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.values.fields import as_number, one_of, texts


def _contamination(value: object) -> str | float:
    if value == "auto":
        return "auto"
    share = as_number(value)
    if not 0 < share <= 0.5:
        raise ValueError("expected auto, or a number above 0 and up to 0.5")
    return share


CyclicFeatures = Annotated[tuple[str, ...], texts(one_of("minute", "hod", "dow", "month"))]


class IsolationForestSection(ModelSection):
    """Isolation forest of scikit-learn; gives a score and no expected range."""

    outputs = ("anomaly_score", "y")
    takes_args = True

    class_name: str = Field("isolation_forest", alias="class")
    contamination: Annotated[str | float, PlainValidator(_contamination)] = "auto"
    seasonal_features: CyclicFeatures = ()


class IsolationForestMultivariateSection(IsolationForestSection):
    """One forest over all series of a group."""

    multivariate = True

    class_name: str = Field("isolation_forest_multivariate", alias="class")
