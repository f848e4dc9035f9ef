"""`Config` -> YAML that loads as an equal config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from vmanomaly.config.config import Config
from vmanomaly.config.secrets import names_secret, written_secret, written_text
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.scalar import resolve

_FOREIGN_KEYS = {"args", "uvicorn_config", "frozen_params"}
"""Keys whose values are mappings with keys of a library or of a user's class."""


def resolved_yaml(config: Config) -> str:
    """Write a config with every default filled in.

    Loading the text gives an equal config. It holds no secrets: text that came from environment
    variables stays as it was written, `%{NAME}`; any other secret, and the login and the arguments
    in a URL, are replaced by `<redacted>`, which does not load until it is replaced.

    Parameters
    ----------
    config
        The config.
    """
    return dump_yaml(resolved_mapping(config))


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Write a mapping as the YAML of a configuration, its keys in order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def resolved_mapping(config: Config) -> dict[str, Any]:
    """Return what `resolved_yaml` writes: values of JSON only."""
    sections = {
        "preset": config.preset,
        "settings": _section(config.settings),
        "schedulers": _by_alias(config.schedulers),
        "models": _by_alias(config.models),
        "reader": _section(config.reader),
        "writer": _section(config.writer),
        "monitoring": _section(config.monitoring),
        "server": None if config.server is None else _section(config.server),
    }
    return {key: section for key, section in sections.items() if section is not None}


def model_spec(section: Section) -> dict[str, Any]:
    """Return a section as a mapping of values that YAML and JSON know, secrets left out."""
    return _section(section)


def written_value(value: object) -> Any:
    """Return a value of a field as YAML and JSON know it.

    Examples
    --------
    >>> written_value((0.0, math.inf))
    [0.0, 'inf']
    """
    return _value(value, "")


def _by_alias(sections: Mapping[str, Section]) -> dict[str, Any]:
    return {written_text(alias, ""): _section(section) for alias, section in sections.items()}


def _section(section: Section) -> dict[str, Any]:
    own = type(section).yaml_keys()
    return {
        written_text(key, ""): _value(value, key) if key in own else _foreign(value, key)
        for key, value in section.written().items()
    }


def _value(value: object, key: str) -> Any:
    result: Any = value
    match value:
        case Section():
            result = _section(value)
        case Mapping():
            convert = _foreign if key in _FOREIGN_KEYS else _value
            result = {written_text(name, ""): convert(item, name) for name, item in value.items()}
        case list() | tuple():
            result = [_value(item, key) for item in value]
        case Duration() | Path():
            result = str(value)
        case SecretStr():
            result = written_secret(value.get_secret_value())
        case float() if math.isinf(value):
            result = "inf" if value > 0 else "-inf"
        case str():
            result = written_text(value, key)
    return result


def _foreign(value: object, key: str) -> Any:
    """Return the value of a foreign key, of which only the name tells whether it is a secret."""
    if isinstance(value, Mapping):
        return {written_text(name, ""): _foreign(item, name) for name, item in value.items()}
    if names_secret(key) and value is not None and not isinstance(value, bool):
        return written_secret(value if isinstance(value, str) else "")
    if isinstance(value, list | tuple):
        return [_foreign(item, key) for item in value]
    return _value(value, key)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The dumper quotes what YAML 1.1 would not read as text; here more forms are numbers.
    is_text = isinstance(resolve(text), str)
    style = "|" if "\n" in text else None if is_text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    flat = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
