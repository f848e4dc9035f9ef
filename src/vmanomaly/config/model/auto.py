"""The section of the model `auto`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.values import Positive
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import (
    Flag,
    FreeMapping,
    Text,
    as_number,
    choice,
    choices,
    number,
    whole,
)
from vmanomaly.config.values.mappings import merged

BUSINESS_PARAMS = ("detection_direction", "min_dev_from_expected", "min_rel_dev_from_expected")
"""The policies that may be tuned."""


def _n_jobs(value: object) -> int:
    result = as_number(value)
    if not (result.is_integer() and (result >= 1 or result == -1)):
        raise ValueError("expected a whole number of 1 or more, or -1 for one per CPU")
    return int(result)


class OptimizationParams(Section):
    """How the model inside `auto` is tuned; `timeout` in seconds per series or group."""

    without_effect = MappingProxyType(
        dict.fromkeys(
            ("beta", "show_progress_bar", "gc_after_trial"),
            "the tuning has no use for it; remove it",
        )
    )

    anomaly_percentage: Annotated[
        float, number("a number of 0 or more and below 0.5", ge=0, lt=0.5)
    ]
    seed: Annotated[int, whole(0, 2**32 - 1)] = 42
    n_splits: Annotated[int, whole(1)] = 3
    validation_scheme: Annotated[str, choice("regular", "leaky")] = "regular"
    train_val_ratio: Positive = 3.0
    n_trials: Annotated[int, whole(1)] = 128
    timeout: Positive | None = None
    n_jobs: Annotated[int, PlainValidator(_n_jobs, json_schema_input_type=int)] = 1
    exact: Flag = False
    optimize_complexity: Flag = True
    optimized_business_params: Annotated[tuple[str, ...], choices(*BUSINESS_PARAMS)] = ()
    frozen_params: FreeMapping = Field(default_factory=dict)


class AutoSection(ModelSection):
    """Another model, tuned on every fit.

    Attributes
    ----------
    tuned_class_name
        The class that is tuned.
    optimization_params
        How it is tuned.
    frozen_params
        Keys of the class that are not tuned, and their values; `optimization_params` may hold
        them too, and wins.
    """

    outputs = None
    takes_args = True

    class_name: str = Field("auto", alias="class")
    tuned_class_name: Text = Field(examples=["zscore_online"])
    optimization_params: OptimizationParams = Field(examples=[{"anomaly_percentage": 0.01}])
    frozen_params: FreeMapping = Field(default_factory=dict)

    @property
    def frozen(self) -> dict[str, Any]:
        """The keys of the class that are not tuned, from both places."""
        return merged(self.frozen_params, self.optimization_params.frozen_params)

    @property
    def frozen_path(self) -> tuple[str, ...]:
        """The place of the keys that are not tuned, within the section."""
        if {*self.frozen} - {*self.frozen_params}:
            return ("optimization_params", "frozen_params")
        return ("frozen_params",)

    def as_multivariate(self) -> AutoMultivariateSection:
        """Return the same section, of a class that scores all series of its queries jointly."""
        return AutoMultivariateSection.model_construct(self.model_fields_set, **self.__dict__)


class AutoMultivariateSection(AutoSection):
    """The same, for a class that scores all series of its queries jointly."""

    multivariate = True
