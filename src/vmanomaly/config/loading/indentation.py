"""What stands at the wrong level, because its lines are indented too little."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vmanomaly.config.model import ModelSection
from vmanomaly.config.problems import Findings, Path, show_path
from vmanomaly.config.reader import ReaderSection
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS, Registry
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.config.secrets import shown_name
from vmanomaly.config.section import Section


def find_keys_among_aliases(
    raw: Mapping[str, Any], kind: str, path: Path, findings: Findings
) -> bool:
    """Tell whether keys stand where only aliases may, and report them with the remedy.

    Parameters
    ----------
    raw
        What the YAML holds: aliases, and below each the keys of its `kind`.
    kind
        `model`, `scheduler` or `query`.
    path
        Its place in the YAML.
    findings
        Takes the problem.
    """
    known = _KEYS[kind]
    keys = [key for key in raw if key in known]
    # An alias may have the name of a key.
    if not any(not isinstance(raw[key], Mapping) for key in keys):
        return False
    others = [key for key in raw if key not in known]
    # What nothing stands below is most likely what the keys belong to.
    aliases = [key for key in others if raw[key] is None] or [
        key for key in others if isinstance(raw[key], Mapping)
    ]
    where = (
        f"their alias, such as {shown_name(aliases[-1])}"
        if aliases
        else f"an alias of your choice, such as my_{kind}"
    )
    findings.error(
        path,
        f"expected aliases, got keys of a {kind} ({', '.join(keys)}); indent them by one more "
        f"level, below {where}",
    )
    return True


def explain_section(key: str, value: object) -> str | None:
    """Return where an unknown section belongs, if it looks like a part of a known one.

    Parameters
    ----------
    key
        Its name.
    value
        What it holds.

    Examples
    --------
    >>> explain_section("cpu", {"expr": "avg(cpu)"})
    'looks like a query; indent it by one more level, below reader.queries'
    >>> explain_section("datasource_url", "http://vm:8428")
    'a key of reader or writer; indent it by one more level, below that'
    """
    if isinstance(value, Mapping):
        for kind, place in _PLACES.items():
            if value and _is_made_of(value, kind):
                return f"looks like a {kind}; indent it by one more level, below {show_path(place)}"
    sections = [section for section, keys in _KEYS_OF_SECTIONS.items() if key in keys]
    if not sections:
        return None
    return f"a key of {' or '.join(sections)}; indent it by one more level, below that"


def _is_made_of(value: Mapping[str, Any], kind: str) -> bool:
    """Tell whether all keys are those of a kind, or its class is."""
    name = value.get("class")
    registry = _REGISTRIES.get(kind)
    if registry is not None and isinstance(name, str):
        return registry.get(name) is not None
    return name is None and kind != "model" and all(key in _KEYS[kind] for key in value)


def _keys(sections: Iterable[type[Section]]) -> Collection[str]:
    return frozenset(key for section in sections for key in section.yaml_keys())


_REGISTRIES: dict[str, Registry[ModelSection] | Registry[SchedulerSection]] = {
    "model": MODELS,
    "scheduler": SCHEDULERS,
}
_PLACES: dict[str, Path] = {
    "model": ("models",),
    "scheduler": ("schedulers",),
    "query": ("reader", "queries"),
}
_READER_SECTIONS: list[type[ReaderSection]] = [entry.section for entry in READERS]
_KEYS = {
    "model": _keys(entry.section for entry in MODELS),
    "scheduler": _keys(entry.section for entry in SCHEDULERS),
    "query": _keys(section.query for section in _READER_SECTIONS),
}
_KEYS_OF_SECTIONS = {
    "reader": _keys(_READER_SECTIONS),
    "writer": _keys(entry.section for entry in WRITERS),
}
