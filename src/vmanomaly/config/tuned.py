"""From a section of `auto` to the section of the class that it tunes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.registry import MODELS
from vmanomaly.config.values.mappings import merged

NOT_TUNED = ("auto", "custom")
"""The classes that cannot be tuned."""

NOT_FROZEN = ("class", "class_name", "queries", "schedulers")
"""Keys that say which model it is, or what it runs on: no parameters of it."""

_STARTS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"holtwinters": {"seasonality": "1d"}})


def starting_values(class_name: str) -> dict[str, Any]:
    """Return values for the keys of a class that it cannot be made without.

    Those are where the tuning starts, together with the defaults of all other keys.

    Examples
    --------
    >>> starting_values("rolling_quantile")
    {'quantile': 0.9, 'window_steps': 60}
    >>> starting_values("zscore_online")
    {}
    """
    entry = MODELS[class_name]
    required = {
        field.alias or name: field.examples[0]
        for name, field in entry.section.model_fields.items()
        if field.is_required() and field.examples
    }
    return required | dict(_STARTS.get(entry.alias, {}))


def parameters_of(
    class_name: str, chosen: Mapping[str, Any], frozen: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keys of a class: where tuning starts, what was chosen, what is frozen."""
    return merged(starting_values(class_name), chosen, frozen)


def tuned_section(section: AutoSection, chosen: Mapping[str, Any] | None = None) -> ModelSection:
    """Return the section of the class that `auto` tunes.

    Parameters
    ----------
    section
        Of `auto`; what it says about outputs, policies and groups is that of the class too.
    chosen
        Keys of the class, and the values that the tuning found; None for its defaults.

    Raises
    ------
    ValueError
        A value is wrong, which pydantic says in its own words.

    Examples
    --------
    >>> auto = AutoSection.model_validate({
    ...     "class": "auto", "tuned_class_name": "mad_online", "detection_direction": "both",
    ...     "optimization_params": {"anomaly_percentage": 0.01, "frozen_params": {"decay": 0.99}},
    ... })
    >>> tuned = tuned_section(auto, {"threshold": 4.0})
    >>> tuned.class_name, tuned.threshold, tuned.decay, tuned.detection_direction
    ('mad_online', 4.0, 0.99, 'both')
    """
    entry = MODELS[section.tuned_class_name]
    parameters = parameters_of(entry.alias, chosen or {}, section.frozen)
    made = entry.section.model_validate({**parameters, "class": entry.alias})
    shared = {
        name: getattr(section, name)
        for name, field in ModelSection.model_fields.items()
        if name != "class_name"
        and name in section.model_fields_set
        and (field.alias or name) not in parameters
    }
    if "args" in section.model_fields_set and "args" in parameters:
        shared["args"] = merged(section.args, parameters["args"])
    return made.model_copy(update=shared)
