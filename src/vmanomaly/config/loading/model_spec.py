"""A model on its own, as requests name it: a class and its keys, without queries or schedulers."""

from __future__ import annotations

from collections.abc import Mapping

from vmanomaly.config.loading.build import read_model
from vmanomaly.config.model import ModelSection
from vmanomaly.config.problems import Findings, Path, not_a_mapping
from vmanomaly.config.registry import MODELS
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.spec import model_spec

ATTACHMENTS = ("queries", "schedulers")


def read_model_spec(raw: object, path: Path = ()) -> ModelSection:
    """Read a model spec.

    Parameters
    ----------
    raw
        A mapping with the key `class`, by any name of it; `class_name` is accepted for it too.
        The policies of a query may stand in it.
    path
        Where it stands, for messages.

    Raises
    ------
    ConfigError
        With every problem there is. Custom classes are refused: a spec comes from a stranger, and
        importing one would run code.

    Examples
    --------
    >>> read_model_spec({"class": "mad", "threshold": 3}).class_name
    'mad_online'
    >>> read_model_spec({"class": "mad_online", "treshold": 3})
    Traceback (most recent call last):
    ...
    vmanomaly.errors.ConfigError: treshold: unknown key; did you mean threshold?
    """
    findings = Findings()
    section = _read(raw, path, findings)
    if section is None or findings.problems:
        raise findings.as_error()
    return section


def written_model_spec(section: ModelSection) -> dict[str, object]:
    """Return the spec that gives a section again, with all defaults: values of JSON only.

    Examples
    --------
    >>> written_model_spec(read_model_spec({"class": "zscore"}))["z_threshold"]
    2.5
    """
    return {key: value for key, value in model_spec(section).items() if key not in ATTACHMENTS}


def _read(raw: object, path: Path, findings: Findings) -> ModelSection | None:
    if not isinstance(raw, Mapping):
        findings.error(path, not_a_mapping(raw))
        return None
    spec = {key: value for key, value in raw.items() if key != "class_name" or "class" in raw}
    if "class" in raw:
        spec.pop("class_name", None)
    elif "class_name" in raw:
        spec["class"] = raw["class_name"]
    for key in ATTACHMENTS:
        if spec.pop(key, None) is not None:
            findings.error((*path, key), "a model spec is not attached to anything; remove it")
    entry = MODELS.find(spec.get("class"), (*path, "class"), Findings())
    if entry is not None and entry.alias == "custom":
        findings.error((*path, "class"), "custom classes run in a configuration only")
        return None
    return read_model(spec, path, [], [], SettingsSection(), {}, findings)
