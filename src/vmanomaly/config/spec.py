"""`Config` -> the YAML that gives it again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from vmanomaly.config.config import Config
from vmanomaly.config.problems import REDACTED
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.scalar import EnvironmentText, resolve

_CREDENTIALS = re.compile(r"^(https?://)[^/\s]*@")
_PLACEHOLDER = re.compile(r"%\{\w+\}")
_SECRET_OPTIONS = {"ssl_keyfile_password"}


def resolved_yaml(config: Config) -> str:
    """Write a config with every default filled in.

    Loading the text gives an equal config. Secrets are not in it: one that came from a single
    environment variable stands there as its `%{NAME}`; in the place of any other, and of
    credentials in a URL, stands `<redacted>`, which does not load before it is replaced.

    Parameters
    ----------
    config
        The config.
    """
    sections = {
        "preset": config.preset,
        "settings": _section(config.settings),
        "schedulers": {alias: _section(section) for alias, section in config.schedulers.items()},
        "models": {alias: _section(section) for alias, section in config.models.items()},
        "reader": _section(config.reader),
        "writer": _section(config.writer),
        "monitoring": _section(config.monitoring),
        "server": _section(config.server),
    }
    return yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _section(section: Section) -> dict[str, Any]:
    return {key: _value(value) for key, value in section.written().items()}


def _value(value: object) -> Any:
    result: Any = value
    match value:
        case Section():
            result = _section(value)
        case Mapping():
            result = {
                key: REDACTED if key in _SECRET_OPTIONS else _value(item)
                for key, item in value.items()
            }
        case list() | tuple():
            result = [_value(item) for item in value]
        case Duration() | Path():
            result = str(value)
        case SecretStr():
            result = _secret(value.get_secret_value())
        case float() if math.isinf(value):
            result = "inf" if value > 0 else "-inf"
        case str():
            result = _CREDENTIALS.sub(rf"\1{REDACTED}@", value)
    return result


def _secret(secret: str) -> str:
    if isinstance(secret, EnvironmentText) and _PLACEHOLDER.fullmatch(secret.placeholder):
        return secret.placeholder
    return REDACTED


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The dumper quotes what YAML 1.1 would not read as text; here some more is a number.
    is_text = isinstance(resolve(text), str)
    style = "|" if "\n" in text else None if is_text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    flat = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
