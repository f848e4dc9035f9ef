"""The section of the model `custom`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.values.fields import FreeMapping, Text

_FOLDER_VARIABLE = "VMANOMALY_CUSTOM_MODELS_DIR"
_IMAGE_FOLDERS = (Path("/vmanomaly/src"), Path("/vmanomaly"))
"""Where guides for the image of the reference mount the files of custom models."""


def class_folder(class_name: object, environ: Mapping[str, str]) -> Path:
    """Return the folder in which the file of a user's class is searched.

    That is `VMANOMALY_CUSTOM_MODELS_DIR`; if it is not set, the first of the working folder,
    `/vmanomaly/src` and `/vmanomaly` that holds the file, or else the working folder.

    Parameters
    ----------
    class_name
        `custom`, or the dotted name of the class.
    environ
        The environment variables.
    """
    if folder := environ.get(_FOLDER_VARIABLE):
        return Path(folder).absolute()
    here = Path.cwd()
    for candidate in (here, *_IMAGE_FOLDERS):
        if any(_is_file(candidate / name) for name in _files(str(class_name))):
            return candidate
    return here


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _files(class_name: str) -> list[str]:
    """Return the files that may hold a class, relative to the folder."""
    if class_name == "custom":
        return ["custom.py", "model/custom.py", "custom_model.py"]
    module = class_name.rpartition(".")[0].removeprefix("model.").replace(".", "/")
    return [f"{module}.py", f"model/{module}.py", f"{module}/__init__.py"]


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

    @classmethod
    def why_without_effect(cls, key: str) -> str | None:
        """Return None: every key may be one of the user's class."""
        return None

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
