"""From a model's section in the config to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from vmanomaly.config.model import CustomSection
from vmanomaly.config.registry import MODELS
from vmanomaly.errors import ConfigError
from vmanomaly.model.base import Model, MultivariateModel
from vmanomaly.model.custom.create import create_custom

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
    model: Model = _create(section, [query])
    return model


def create_multivariate_model(section: ModelSection, queries: Sequence[Query]) -> MultivariateModel:
    """Build the model that looks at the series of some queries together.

    Its parameters are those that `create_model` gives, with the first query.

    Raises
    ------
    ConfigError
        There is no model of that class.
    """
    model: MultivariateModel = _create(section, queries)
    return model


def _create(section: ModelSection, queries: Sequence[Query]) -> Any:
    if isinstance(section, CustomSection):
        return create_custom(section, queries)
    implementation = MODELS[section.class_name].implementation
    if implementation is None:
        available = ", ".join(MODELS.available)
        raise ConfigError(
            [f"class '{section.class_name}' is not available, use one of: {available}"]
        )
    model_class = resolve_name(implementation)
    parameters = {
        field.name: getattr(section if hasattr(section, field.name) else queries[0], field.name)
        for field in fields(model_class)
    }
    return model_class(**parameters)
