"""From a model's section in the config to the model."""

from __future__ import annotations

from dataclasses import fields
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from vmanomaly.config.registry import MODELS
from vmanomaly.errors import ConfigError
from vmanomaly.model.base import Model

if TYPE_CHECKING:
    from vmanomaly.config.model import ModelSection
    from vmanomaly.config.reader import Query


def create_model(section: ModelSection, query: Query) -> Model:
    """Build the model that a section of the config describes, for the series of a query.

    The parameters of the model's class are the attributes of the same names of the section, or
    else of the query (its `step` and `tz`). Its code is imported only now.

    Raises
    ------
    ConfigError
        There is no model of that class.
    """
    implementation = MODELS[section.class_name].implementation
    if implementation is None:
        available = ", ".join(MODELS.available)
        raise ConfigError(
            [f"models: class '{section.class_name}' is not available, use one of: {available}"]
        )
    model_class = resolve_name(implementation)
    parameters = {
        field.name: getattr(section if hasattr(section, field.name) else query, field.name)
        for field in fields(model_class)
    }
    model: Model = model_class(**parameters)
    return model
