"""The section of the model `custom`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.values.fields import FreeMapping, Text


class CustomSection(OnlineModelSection):
    """A model of the user's own; `class` is `custom` or the dotted name of a class.

    Attributes
    ----------
    class_folder
        The folder in which its file is searched.
    own_keys
        The keys that only its class knows.
    """

    derived = frozenset({"class_folder", "own_keys"})
    takes_any_key = True
    outputs = None

    class_name: Text = Field("custom", alias="class")
    class_folder: Annotated[Path, RESTARTS] = Path()
    own_keys: FreeMapping = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_own_keys(cls, values: Mapping[str, object]) -> dict[str, object]:
        known = {*cls.yaml_keys(), *cls.model_fields}
        own = {
            key: value for key, value in values.items() if key not in known and value is not None
        }
        shared = {key: value for key, value in values.items() if key in known}
        return {"own_keys": own} | shared

    def written(self) -> dict[str, Any]:
        """Return what a YAML file with this section would hold, by key; the class's own last."""
        return super().written() | self.own_keys

    def as_multivariate(self) -> CustomMultivariateSection:
        """Return the same section, of a class that scores all series of its queries jointly."""
        return CustomMultivariateSection.model_construct(self.model_fields_set, **self.__dict__)


class CustomMultivariateSection(CustomSection):
    """The same, for a class that turned out to score all series of its queries jointly."""

    multivariate = True
