"""Presets: configs that come with the package, over which the user's files are merged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from vmanomaly.config.loading.document import parse_document
from vmanomaly.config.loading.merge import merge
from vmanomaly.config.problems import Findings, show_value
from vmanomaly.config.section import is_left_out

DEFAULT = "default"

# The file of a preset that holds its sections.
_CONTENT = "preset.yaml"
# The folder of files that belong to every preset.
_COMMON = "common"
_VERSION = re.compile(r"v[\w.]+")
_BY_ALIAS = {"models", "schedulers", "queries"}
_PULL = ("monitoring", "pull")


@cache
def preset_names() -> tuple[str, ...]:
    """Return the names of all presets.

    Examples
    --------
    >>> preset_names()
    ('default', 'node-exporter', 'ui')
    """
    return tuple(sorted(each.name for each in _folder().iterdir() if (each / _CONTENT).is_file()))


def preset_files(name: str) -> list[Traversable]:
    """Return the files that a preset has in addition to its sections, and those of all presets.

    They are dashboards and rules. The package, and so each of them, may be in an archive.
    """
    folders = [folder for part in (_COMMON, name) if (folder := _folder() / part).is_dir()]
    files = {file.name: file for folder in folders for file in folder.iterdir() if file.is_file()}
    return [file for name, file in sorted(files.items()) if name != _CONTENT]


def read_preset(name: str) -> dict[str, Any]:
    """Return the sections of a preset."""
    text = (_folder() / name / _CONTENT).read_text(encoding="utf-8")
    return dict(parse_document(text, f"preset {name}", {}).sections)


def preset_name(written: object, findings: Findings) -> str | None:
    """Return the name of the preset that a value of the key `preset` means.

    Parameters
    ----------
    written
        `NAME`, or `NAME:vX.Y`; nothing, or an empty text, is `default`.
    findings
        Takes a problem if there is no such preset.

    Examples
    --------
    >>> preset_name("node-exporter:v1.2", Findings())
    'node-exporter'
    """
    if is_left_out(written):
        return DEFAULT
    known = preset_names()
    if isinstance(written, str):
        name, colon, version = written.partition(":")
        if name in known and (not colon or _VERSION.fullmatch(version)):
            return known[known.index(name)]
        if name in known:
            findings.error(
                ("preset",),
                f"expected a version such as v1.2 after the colon, "
                f"{show_value(('preset',), written)}; remove it, there is one version",
            )
            return None
    findings.error(
        ("preset",), f"expected one of {', '.join(known)}, {show_value(('preset',), written)}"
    )
    return None


def expanded(name: str, sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a preset with the user's merged over them.

    A query, model or scheduler of the preset for which the user writes `null` is removed.

    Parameters
    ----------
    name
        The name of the preset.
    sections
        The user's.

    Examples
    --------
    >>> user = {"models": {"placeholder": None}, "settings": {"n_workers": 1}}
    >>> sections = expanded("ui", user)
    >>> sections["models"], sections["settings"], sections["reader"]
    ({}, {'n_workers': 1}, {'class': 'noop'})
    """
    brought = read_preset(name)
    result = merge(brought, sections)
    for section, own in ((result, brought), (result.get("reader"), brought.get("reader", {}))):
        if isinstance(section, dict):
            _remove_emptied(section, own)
    return result


def _remove_emptied(section: dict[str, Any], brought: Mapping[str, Any]) -> None:
    """Remove the aliases of a preset for which a user wrote `null`."""
    for key in _BY_ALIAS & brought.keys():
        items = section[key]
        if isinstance(items, Mapping):
            section[key] = {
                alias: item
                for alias, item in items.items()
                if item is not None or alias not in brought[key]
            }


def without_rest(name: str, sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections that, merged over those of a preset, give themselves.

    What only the preset has is written as `null`.

    Parameters
    ----------
    name
        The name of the preset.
    sections
        All sections of a config with that preset.

    Examples
    --------
    >>> without_rest("ui", {"reader": {"class": "noop"}, "models": {}})["models"]
    {'placeholder': None}
    """
    return _without_rest(read_preset(name), sections, ())


def _without_rest(
    brought: Mapping[str, Any], sections: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    result = dict(sections)
    for key, value in brought.items():
        if key not in result:
            # Of a listener, nothing at all means the default one.
            result[key] = {"enabled": False} if (*path, key) == _PULL else None
        elif isinstance(value, Mapping) and isinstance(result[key], Mapping):
            result[key] = _without_rest(value, result[key], (*path, key))
    return result


def _folder() -> Traversable:
    return files("vmanomaly") / "presets"
