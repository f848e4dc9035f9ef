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


def create_model(section: ModelSection) -> Model:
    """Build the model that a section of the config describes.

    The parameters of the model's class are the section's attributes of the same names. Its code
    is imported only now.

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
    model: Model = model_class(
        **{field.name: getattr(section, field.name) for field in fields(model_class)}
    )
    return model
