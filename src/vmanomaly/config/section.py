"""What all sections share: strictness, and the way from a mapping to a section or its problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vmanomaly.config.effect import Effect
from vmanomaly.config.problems import (
    Findings,
    InvalidItemsError,
    Path,
    expectation,
    not_a_mapping,
    suggest,
)


class Section(BaseModel):
    """A part of the config: immutable, and strict about unknown keys.

    Attributes
    ----------
    derived
        Names of fields that the loader fills in and that are not keys of the YAML.
    takes_any_key
        Whether keys that are not known here are somebody else's.
    meaningful_when_empty
        Keys whose empty text means something; everywhere else it counts as left out.
    without_effect
        Keys of the reference that are accepted and change nothing, and why.
    default_effect
        The effect of the fields that are declared here, or in a class derived from this one,
        without an effect of their own; None where each must have one.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )

    derived: ClassVar[frozenset[str]] = frozenset()
    takes_any_key: ClassVar[bool] = False
    meaningful_when_empty: ClassVar[frozenset[str]] = frozenset()
    without_effect: ClassVar[Mapping[str, str]] = MappingProxyType({})
    default_effect: ClassVar[Effect | None] = None

    @classmethod
    def yaml_keys(cls) -> list[str]:
        """Return the keys that the YAML may hold, in order."""
        return [
            field.alias or name
            for name, field in cls.model_fields.items()
            if name not in cls.derived
        ]

    @classmethod
    def why_without_effect(cls, key: str) -> str | None:
        """Return why a key is accepted and changes nothing; None for every other key."""
        return cls.without_effect.get(key)

    @classmethod
    def effect_of(cls, name: str) -> Effect:
        """Return what the field `name` decides.

        Raises
        ------
        TypeError
            Neither the field nor the class that declares it says so.
        """
        sections = [base for base in cls.__mro__ if issubclass(base, Section)]
        for section in sections:
            if name in section.model_fields:
                for mark in section.model_fields[name].metadata:
                    if isinstance(mark, Effect):
                        return mark
        declaring = next(base for base in sections if name in base.__annotations__)
        if declaring.default_effect is None:
            raise TypeError(
                f"{declaring.__name__}.{name} does not say what it decides; annotate it with one "
                f"of {', '.join(Effect.__members__)}"
            )
        return declaring.default_effect

    def deciding(self, *effects: Effect) -> dict[str, Any]:
        """Return the values of the fields with one of these effects, by their keys in the YAML."""
        cls = type(self)
        return {
            field.alias or name: getattr(self, name)
            for name, field in cls.model_fields.items()
            if cls.effect_of(name) in effects
        }

    def written(self) -> dict[str, Any]:
        """Return what a YAML file with this section would hold, by key."""
        return {
            field.alias or name: value
            for name, field in type(self).model_fields.items()
            if name not in self.derived and (value := getattr(self, name)) is not None
        }

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: object) -> object:
        """Treat a key without a value, or with an empty text, as one that is left out."""
        if not isinstance(values, Mapping):
            return values
        known = {*cls.yaml_keys()} - cls.meaningful_when_empty
        return {
            key: value
            for key, value in values.items()
            if value is not None and not (key in known and is_left_out(value))
        }


def is_left_out(value: object) -> bool:
    """Tell whether a key with this value counts as left out: it is null or an empty text."""
    return value is None or (isinstance(value, str) and not value)


SectionT = TypeVar("SectionT", bound=Section)


def read_section(
    cls: type[SectionT],
    raw: object,
    path: Path,
    findings: Findings,
    derived: Mapping[str, object] | None = None,
    known_elsewhere: Callable[[str], str | None] = lambda key: None,
) -> SectionT | None:
    """Make a section from a mapping.

    Parameters
    ----------
    cls
        The section's class.
    raw
        What the YAML holds.
    path
        Its place in the YAML.
    findings
        Takes every problem.
    derived
        Fields that do not come from the YAML.
    known_elsewhere
        Explains why somebody may have written a key that is unknown here; None if it cannot.

    Returns
    -------
    Section or None
        None if there was a problem.
    """
    if not isinstance(raw, Mapping):
        findings.error(path, not_a_mapping(raw))
        return None
    raw = _without_ineffective_keys(cls, raw, path, findings)
    known = cls.yaml_keys()
    given = {
        key: value
        for key, value in raw.items()
        if key in known or (cls.takes_any_key and key not in cls.derived)
    }
    unknown = [key for key in raw if key not in given]
    for key in unknown:
        findings.error((*path, key), partial(_unknown, key, known, known_elsewhere))
    try:
        section = cls.model_validate(given | dict(derived or {}), by_alias=True, by_name=False)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            details["loc"] = _as_given(raw, details["loc"])
            _report(cls, details, path, findings)
        return None
    return None if unknown else section


def _without_ineffective_keys(
    cls: type[Section], raw: Mapping[Any, Any], path: Path, findings: Findings
) -> dict[Any, Any]:
    """Return what has an effect, in the sections inside too; warn of each key that has none."""
    inner = {
        field.alias or name: section
        for name, field in cls.model_fields.items()
        if (section := _section_in(field.annotation)) is not None
    }
    kept = {}
    for key, value in raw.items():
        reason = cls.why_without_effect(key)
        if reason is None:
            if key in inner and isinstance(value, Mapping):
                value = _without_ineffective_keys(inner[key], value, (*path, key), findings)  # noqa: PLW2901
            kept[key] = value
        elif not is_left_out(value):
            findings.warn((*path, key), f"has no effect: {reason}")
    return kept


def _unknown(key: str, known: list[str], known_elsewhere: Callable[[str], str | None]) -> str:
    return known_elsewhere(key) or f"unknown key; {suggest(key, known)}"


def _report(cls: type[Section], details: Any, path: Path, findings: Findings) -> None:
    place = (*path, *details["loc"])
    kind, value = details["type"], details["input"]
    if kind == "default_factory_not_called":
        return
    if kind == "missing":
        findings.error(place, "required, but not set")
    elif kind == "extra_forbidden":
        findings.error(
            place, lambda: f"unknown key; {suggest(str(place[-1]), _keys_at(cls, details['loc']))}"
        )
    elif kind == "value_error":
        error = details["ctx"]["error"]
        if isinstance(error, InvalidItemsError):
            for key, item, message in error.items:
                _report_value((*place, key), item, message, findings)
        else:
            _report_value(place, value, str(error), findings)
    elif kind == "model_type":
        findings.error(place, not_a_mapping(value))
    elif kind == "tuple_type":
        _report_value(place, value, "expected a list", findings)
    else:
        raise AssertionError(f"a key without a message of its own: {details}")


def _report_value(place: Path, value: object, message: str, findings: Findings) -> None:
    if message.startswith("expected"):
        message = expectation(message, place, value)
    findings.error(place, message)


def _as_given(raw: object, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return a place with the keys as they are in `raw`, which know of environment variables."""
    given: list[str | int] = []
    for part in loc:
        if isinstance(raw, Mapping) and part in raw:
            given.append(next(key for key in raw if key == part))
            raw = raw[part]
        else:
            given.append(part)
            raw = raw[part] if isinstance(raw, list | tuple) and isinstance(part, int) else None
    return tuple(given)


def _keys_at(cls: type[Section], loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys of the section that holds the last part of `loc`."""
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        field = next(f for name, f in cls.model_fields.items() if (f.alias or name) == part)
        cls = _section_in(field.annotation) or cls
    return cls.yaml_keys()


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg))), None)
