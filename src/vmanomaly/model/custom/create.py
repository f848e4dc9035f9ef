"""From the section of a custom model to the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from vmanomaly.closest import closest
from vmanomaly.config.model import CustomSection
from vmanomaly.errors import ConfigError
from vmanomaly.model import base
from vmanomaly.model.custom import interface
from vmanomaly.model.custom.loading import load_class, user_error, without_pandas
from vmanomaly.model.scoring import Policy, needed_outputs

if TYPE_CHECKING:
    from vmanomaly.config.model import ModelSection
    from vmanomaly.config.reader import Query

_DOTTED_NAME = "model.custom.CustomModel"
_ONLINE_KEYS = ("decay", "min_n_samples_seen")

_Made = TypeVar("_Made")


def is_multivariate(section: CustomSection) -> bool:
    """Tell whether the class of a custom model scores all series of its queries jointly.

    Raises
    ------
    ConfigError
        There is no such class, or it is no class of a model.
    """
    user_class = _load(section)
    if issubclass(user_class, interface.Model):
        return user_class.is_multivariate
    return issubclass(user_class, base.MultivariateModel)


def resolved_section(section: ModelSection) -> ModelSection:
    """Return the section of a model, completed by what its class says if that is a user's own.

    Raises
    ------
    ConfigError
        There is no such class, or it is no class of a model.
    """
    if isinstance(section, CustomSection) and is_multivariate(section):
        return section.as_multivariate()
    return section


def create_custom(section: CustomSection, queries: Sequence[Query]) -> base.AnyModel:
    """Build the custom model that a section describes, for the series of some queries.

    Raises
    ------
    ConfigError
        There is no such class, it is no class of a model, it cannot be made with the keys of the
        section, or it needs pandas, which is not installed.
    """
    user_class = _load(section)
    if section.groupby and not is_multivariate(section):
        raise ConfigError([f"groupby: {_name(section)} is not multivariate"])
    if issubclass(user_class, interface.Model):
        return _pandas_model(user_class, section, queries)
    return _batch_model(user_class, section, queries)


def _load(section: CustomSection) -> type:
    user_class = load_class(_name(section), section.class_folder)
    if not issubclass(user_class, interface.Model | base.Model | base.MultivariateModel):
        raise ConfigError(
            [
                (
                    f"{_name(section)} is not a model; derive it from Model, OnlineModel or "
                    "MultivariateModel of model.model, or from Model or MultivariateModel of "
                    "vmanomaly.model"
                )
            ]
        )
    return user_class


def _name(section: CustomSection) -> str:
    return _DOTTED_NAME if section.class_name == "custom" else section.class_name


def _pandas_model(
    user_class: type[interface.Model], section: CustomSection, queries: Sequence[Query]
) -> base.AnyModel:
    try:
        adapter = import_module("vmanomaly.model.custom.adapter")
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise ConfigError([without_pandas(_name(section))]) from None
    policy = _shared_policy(section, queries)
    wanted = section.provide_series and needed_outputs(section.provide_series)
    arguments = {
        "args": section.args,
        "provide_series": list(wanted or ()),
        **{name: getattr(policy, name) for name in Policy.__slots__},
        **section.own_keys,
    }
    if user_class.is_multivariate:
        arguments["groupby"] = section.groupby
    for key in _ONLINE_KEYS:
        if issubclass(user_class, interface.OnlineModel) or key in _changed(section):
            arguments[key] = getattr(section, key)
    instances = _made(
        section,
        lambda: adapter.Instances(
            user_class,
            arguments,
            None if user_class.is_multivariate else policy,
            wanted,
            section.min_n_samples_seen,
        ),
    )
    kinds = {
        (False, False): adapter.PandasModel,
        (True, False): adapter.OnlinePandasModel,
        (False, True): adapter.PandasMultivariateModel,
        (True, True): adapter.OnlinePandasMultivariateModel,
    }
    model: base.AnyModel = kinds[user_class.is_online, user_class.is_multivariate](instances)
    return model


def _shared_policy(section: CustomSection, queries: Sequence[Query]) -> Policy:
    """Return the policy of the queries; settings in which they differ are left out."""
    policies = [Policy.of(section, query) for query in queries]
    neutral = Policy()
    differing = {
        name: getattr(neutral, name)
        for name in Policy.__slots__
        if len({getattr(policy, name) for policy in policies}) > 1
    }
    return replace(policies[0], **differing)


def _batch_model(
    user_class: type, section: CustomSection, queries: Sequence[Query]
) -> base.AnyModel:
    """Make a model from its parameters, which are keys of the section, or `step` and `tz`."""
    parameters = inspect.signature(user_class).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for key in [*section.own_keys, *_changed(section)]:
        if key not in parameters and not takes_any:
            close = closest(key, parameters)
            hint = "" if close is None else f"; did you mean {close}?"
            raise ConfigError([f"{user_class.__name__} does not take the key {key}{hint}"])
    shared = {
        name: getattr(source, name)
        for name in parameters
        for source in (queries[0], section)
        if name in type(source).model_fields
    }
    model: base.AnyModel = _made(section, lambda: user_class(**shared | section.own_keys))
    wanted = needed_outputs(section.provide_series or ())
    unknown = [name for name in wanted if name not in model.outputs]
    if unknown:
        raise ConfigError(
            [
                (
                    f"provide_series: this model does not produce {', '.join(unknown)}; "
                    f"it produces {', '.join(model.outputs)}"
                )
            ]
        )
    return model


def _changed(section: CustomSection) -> list[str]:
    """Return the keys that not every class takes and that differ from their defaults."""
    neutral = type(section)()
    keys = ("args", *_ONLINE_KEYS)
    return [key for key in keys if getattr(section, key) != getattr(neutral, key)]


def _made(section: CustomSection, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        problem = user_error(error, _name(section), section.class_folder)
        raise ConfigError([f"{_name(section)} cannot be made: {problem}"]) from None
