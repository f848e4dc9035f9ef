"""The JSON Schema of a model spec, from the section of the model."""

from __future__ import annotations

from typing import Any

from vmanomaly.config.docstring import described_attributes, summary
from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.section import Section
from vmanomaly.config.spec import written_value

_ATTACHMENTS = frozenset({"queries", "schedulers"})
_ADVANCED = frozenset(
    {
        "anomaly_score_outside_data_range",
        "args",
        "compression",
        "history_strength",
        "loss_reactivity",
        "max_channels",
        "random_state",
        "recommended_max_channels",
        "season_starts_from",
        "use_transform",
    }
)


def model_schema(cls: type[ModelSection]) -> dict[str, Any]:
    """Return the JSON Schema, 2020-12, of the specs of a class of models.

    It is closed. Every key has its type or types, its description, its default and examples.
    Beyond the standard, `x-online`, `x-multivariate` and `x-forecasts` tell about the class;
    `x-group` tells of a key whether all models have it, `x-advanced` whether few users need it.

    Parameters
    ----------
    cls
        The section of the class.

    Examples
    --------
    >>> from vmanomaly.config.registry import MODELS
    >>> schema = model_schema(MODELS["zscore_online"].section)
    >>> threshold = schema["properties"]["z_threshold"]
    >>> threshold["type"], threshold["exclusiveMinimum"], threshold["default"]
    ('number', 0, 2.5)
    """
    schema = cls.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    properties = _described(cls, schema["properties"], definitions)
    for key in _ATTACHMENTS | cls.derived:
        properties.pop(key, None)
    alias = cls.model_fields["class_name"].default
    properties["class"] = {
        "type": "string",
        "const": alias,
        "default": alias,
        "description": "The class of the model.",
        "x-group": "common",
    }
    for key, each in properties.items():
        each.setdefault("x-group", "common" if key in ModelSection.model_fields else "model")
        if key in _ADVANCED:
            each["x-advanced"] = True
    required = [key for key in schema.get("required", []) if key in properties]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": alias,
        "description": summary(cls),
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": ["class", *required],
        "x-online": issubclass(cls, OnlineModelSection),
        "x-multivariate": cls.multivariate,
        "x-forecasts": "forecast_at" in cls.model_fields,
    }


def _described(
    cls: type[Section], properties: dict[str, Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """Return the properties of a section, with descriptions, defaults and without references."""
    texts = described_attributes(cls)
    result = {}
    for name, field in cls.model_fields.items():
        key = field.alias or name
        if key not in properties:
            continue
        each = _resolved(properties[key], definitions)
        nested = _nested(field.annotation)
        if nested is not None and "properties" in each:
            each["properties"] = _described(nested, each["properties"], definitions)
            each.pop("title", None)
        each.pop("title", None)
        if texts.get(name):
            each["description"] = texts[name]
        if not field.is_required():
            each["default"] = written_value(field.get_default(call_default_factory=True))
        if "examples" not in each:
            given = field.examples or [each.get("default")]
            examples = [example for example in given if example not in (None, [], {})]
            if examples:
                each["examples"] = examples
        result[key] = each
    return result


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the definitions that it refers to in it."""
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions) | rest
    resolved: dict[str, Any] = {}
    for key, value in schema.items():
        if isinstance(value, dict):
            resolved[key] = _resolved(value, definitions)
        elif isinstance(value, list):
            resolved[key] = [
                _resolved(each, definitions) if isinstance(each, dict) else each for each in value
            ]
        else:
            resolved[key] = value
    return resolved


def _nested(annotation: object) -> type[Section] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation if is_section else None  # type: ignore[return-value]
