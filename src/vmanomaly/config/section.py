"""What all sections share: strictness, and the way from a mapping to a section or its problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vmanomaly.config.problems import (
    Findings,
    InvalidItemsError,
    Path,
    expectation,
    not_a_mapping,
    suggest,
)


class Section(BaseModel):
    """A part of the config: immutable, and without a place for unknown keys.

    Attributes
    ----------
    derived
        Names of fields that the loader fills in and that are no keys of the YAML.
    takes_any_key
        Whether keys that are not known here are somebody else's.
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

    @classmethod
    def yaml_keys(cls) -> list[str]:
        """Return the keys that the YAML may hold, in order."""
        return [
            field.alias or name
            for name, field in cls.model_fields.items()
            if name not in cls.derived
        ]

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: object) -> object:
        """Take a key without a value for one that is left out."""
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None}


SectionT = TypeVar("SectionT", bound=Section)


def read_section(
    cls: type[SectionT],
    raw: object,
    path: Path,
    findings: Findings,
    derived: Mapping[str, object] | None = None,
) -> SectionT | None:
    """Make a section of a mapping.

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

    Returns
    -------
    Section or None
        None if there was a problem.
    """
    if not isinstance(raw, Mapping):
        findings.error(path, not_a_mapping(raw))
        return None
    known = cls.yaml_keys()
    given = {
        key: value
        for key, value in raw.items()
        if key in known or (cls.takes_any_key and key not in cls.derived)
    }
    unknown = [key for key in raw if key not in given]
    for key in unknown:
        findings.error((*path, key), f"unknown key; {suggest(key, known)}")
    try:
        section = cls.model_validate(given | dict(derived or {}), by_alias=True, by_name=False)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _report(cls, details, path, findings)
        return None
    return None if unknown else section


def _report(cls: type[Section], details: Any, path: Path, findings: Findings) -> None:
    place = (*path, *details["loc"])
    kind, value = details["type"], details["input"]
    if kind == "default_factory_not_called":
        return
    if kind == "missing":
        findings.error(place, "required, but not set")
    elif kind == "extra_forbidden":
        findings.error(place, f"unknown key; {suggest(place[-1], _keys_at(cls, details['loc']))}")
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
