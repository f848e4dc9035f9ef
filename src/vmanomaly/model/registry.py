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
from vmanomaly.model.scoring import Policy

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

    Its parameters are those that `create_model` gives, with the first query; `policies` are those
    of the model and each query, by the query's alias, and a `channel_model` is the
    `temporal_envelope` of the same section.

    Raises
    ------
    ConfigError
        There is no model of that class.
    """
    model: MultivariateModel = _create(section, queries)
    return model


def _create(section: ModelSection, queries: Sequence[Query], alias: str | None = None) -> Any:
    if isinstance(section, CustomSection):
        return create_custom(section, queries)
    implementation = MODELS[alias or section.class_name].implementation
    if implementation is None:
        available = ", ".join(MODELS.available)
        raise ConfigError(
            [f"class '{section.class_name}' is not available, use one of: {available}"]
        )
    model_class = resolve_name(implementation)
    names = (field.name for field in fields(model_class))
    return model_class(**{name: _parameter(name, section, queries) for name in names})


def _parameter(name: str, section: ModelSection, queries: Sequence[Query]) -> Any:
    match name:
        case "channel_model":
            return _create(section, queries, alias="temporal_envelope")
        case "policies":
            return {query.alias: Policy.of(section, query) for query in queries}
        case _:
            return getattr(section if hasattr(section, name) else queries[0], name)
