"""From a model's section in the config to the model."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING

from vmanomaly.errors import ConfigError
from vmanomaly.model.base import Model

if TYPE_CHECKING:
    from vmanomaly.config.model import ModelSection

MODEL_CLASSES = {
    "mad_online": "vmanomaly.model.mad_online.OnlineMADModel",
    "zscore_online": "vmanomaly.model.zscore_online.OnlineZscoreModel",
}
"""Alias to class, imported when it is used."""


def create_model(section: ModelSection) -> Model:
    """Build the model that a section of the config describes.

    The parameters of the model's class are the section's attributes of the same names.

    Raises
    ------
    ConfigError
        There is no model of that class.
    """
    dotted_name = MODEL_CLASSES.get(section.class_name)
    if dotted_name is None:
        available = ", ".join(sorted(MODEL_CLASSES))
        raise ConfigError(
            [f"models: class '{section.class_name}' is not available, use one of: {available}"]
        )
    module, _, class_name = dotted_name.rpartition(".")
    model_class = getattr(import_module(module), class_name)
    model: Model = model_class(
        **{field.name: getattr(section, field.name) for field in fields(model_class)}
    )
    return model
