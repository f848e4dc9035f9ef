"""`Config` -> YAML that loads as an equal config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from vmanomaly.config.config import Config, Share
from vmanomaly.config.loading.document import placeholders, stand_ins
from vmanomaly.config.members import MEMBERS_COUNT
from vmanomaly.config.presets import without_rest
from vmanomaly.config.secrets import names_secret, written_secret, written_text
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.scalar import EnvironmentText, WrittenFloat, WrittenInt, resolve
from vmanomaly.printable import on_one_line

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
    text = dump_yaml(resolved_mapping(config))
    return text if config.share is None else _head(config, config.share) + text


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Write a mapping as the YAML of a configuration, its keys in order."""
    return _dumped(content, _Dumper)


def _dumped(content: Mapping[str, Any], dumper: type[yaml.SafeDumper]) -> str:
    return yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)


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
    written = {key: section for key, section in sections.items() if section is not None}
    return without_rest(config.preset, written)


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


def written_yaml(sections: Mapping[str, Any]) -> str:
    """Write sections of files as they were written, secrets included.

    Text that came from environment variables is `%{NAME}` again.

    Parameters
    ----------
    sections
        The merged content of files.
    """
    text = _dumped(sections, _VerbatimDumper)
    return placeholders(text)


def _head(config: Config, share: Share) -> str:
    """Return a comment: which part of a config this is."""
    member = config.member
    which = f"member {member.number} of {member.count}, split by {member.split_by}"
    lines = [f"The part of {which}; to be loaded without {MEMBERS_COUNT}."]
    if set(replace(config, share=None).units) != share.units:
        lines.append("Loaded on its own, it runs more than these, which share models:")
        lines += [f"  {on_one_line(name)}" for name in share.names]
    return "".join(f"# {line}\n" for line in lines)


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


class _VerbatimDumper(_Dumper):
    pass


def _represent_environment_text(dumper: yaml.SafeDumper, text: EnvironmentText) -> yaml.ScalarNode:
    # Without quotes, a variable that holds a number would not be read as text.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text.placeholder, "'")


def _represent_number(
    dumper: yaml.SafeDumper, number: WrittenInt | WrittenFloat
) -> yaml.ScalarNode:
    text = number.text
    if isinstance(text, EnvironmentText):
        text = stand_ins(text.placeholder)
    tag = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, text)


_VerbatimDumper.add_representer(EnvironmentText, _represent_environment_text)
_VerbatimDumper.add_representer(WrittenInt, _represent_number)
_VerbatimDumper.add_representer(WrittenFloat, _represent_number)
