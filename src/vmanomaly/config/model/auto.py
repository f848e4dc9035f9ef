"""The section of the model `auto`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.values import Positive
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import Flag, FreeMapping, Text, choice, number, texts, whole


class OptimizationParams(Section):
    """How the model inside `auto` is tuned; `timeout` in seconds."""

    without_effect = MappingProxyType(
        dict.fromkeys(
            ("beta", "show_progress_bar", "gc_after_trial"),
            "the tuning has no use for it; remove it",
        )
    )

    anomaly_percentage: Annotated[
        float, number("a number of 0 or more and below 0.5", ge=0, lt=0.5)
    ]
    seed: Annotated[int, whole(0)] | None = None
    n_splits: Annotated[int, whole(1)] = 3
    validation_scheme: Annotated[str, choice("regular", "leaky")] = "regular"
    train_val_ratio: Positive = 3.0
    n_trials: Annotated[int, whole(1)] = 128
    timeout: Positive | None = None
    n_jobs: Annotated[int, whole(-1)] = 1
    exact: Flag = False
    optimize_complexity: Flag = True
    optimized_business_params: Annotated[tuple[str, ...], texts()] = ()
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
        Keys of the class that are not tuned, and their values.
    """

    outputs = None
    takes_args = True

    class_name: str = Field("auto", alias="class")
    tuned_class_name: Text = Field(examples=["zscore_online"])
    optimization_params: OptimizationParams = Field(examples=[{"anomaly_percentage": 0.01}])
    frozen_params: FreeMapping = Field(default_factory=dict)
