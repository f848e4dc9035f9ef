"""From a model's section in the config to the model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmanomaly.config.registry import MODELS
from vmanomaly.model.base import Model, MultivariateModel
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
        This version has no model of that class.
    """
    model: Model = _create(section.class_name, section, [query])
    return model


def create_multivariate_model(section: ModelSection, queries: Sequence[Query]) -> MultivariateModel:
    """Build the model that scores the series of some queries jointly.

    Its parameters are those that `create_model` gives, with the first query; `policies` are those
    of the model and each query, by the query's alias, and a `channel_model` is the
    `temporal_envelope` of the same section.

    Raises
    ------
    ConfigError
        This version has no model of that class.
    """
    model: MultivariateModel = _create(section.class_name, section, queries)
    return model


def check_with_library(section: ModelSection, queries: Sequence[Query]) -> None:
    """Check what only the library of a model knows, such as `args`; other models have none.

    Parameters
    ----------
    section
        Of the model.
    queries
        Those of one instance of it.

    Raises
    ------
    ConfigError
        With every problem there is, or the library is not installed.
    """
    if section.takes_args:
        _create(section.class_name, section, queries)


def _create(class_name: str, section: ModelSection, queries: Sequence[Query]) -> Any:
    made = MODELS.implementation(class_name)
    section = section.for_step(queries[0].step)
    names = inspect.signature(made).parameters
    return made(**{name: _parameter(name, section, queries) for name in names})


def _parameter(name: str, section: ModelSection, queries: Sequence[Query]) -> Any:
    match name:
        case "section":
            return section
        case "queries":
            return queries
        case "policies":
            return {query.alias: Policy.of(section, query) for query in queries}
        case "channel_model":
            return _create("temporal_envelope", section, queries)
        case _:
            return getattr(section if hasattr(section, name) else queries[0], name)
