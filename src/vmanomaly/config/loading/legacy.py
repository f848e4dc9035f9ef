"""Old forms of a config -> the current form, each with a deprecation warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmanomaly.config.problems import Findings, Path
from vmanomaly.config.secrets import shown_name

_RENAMED: tuple[tuple[Path, str, str], ...] = (
    (("reader",), "username", "user"),
    (("writer",), "username", "user"),
    (("monitoring", "push"), "username", "user"),
    (("monitoring", "pull"), "enable", "enabled"),
)
"""Where a key has had another name: its section, that name, and the present one."""


def modernise(sections: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Rewrite `model`, `scheduler`, renamed keys, and queries that are a bare expression.

    Parameters
    ----------
    sections
        The merged mapping of all files.
    findings
        Takes the warnings.

    Examples
    --------
    >>> modernise({"model": {"class": "zscore_online"}}, Findings())
    {'models': {'default_model': {'class': 'zscore_online'}}}
    """
    result = dict(sections)
    for old, new, alias in (
        ("model", "models", "default_model"),
        ("scheduler", "schedulers", "default_scheduler"),
    ):
        if old not in result:
            continue
        section = result.pop(old)
        if new in result:
            findings.warn((old,), f"deprecated, and ignored because {new} is there too")
        elif _is_mapping_of_mappings(section):
            findings.warn((old,), f"deprecated; call the section {new}")
            result[new] = section
        else:
            findings.warn((old,), f"deprecated; runs as {new}.{alias}")
            result[new] = {alias: section}
    for path, old, new in _RENAMED:
        result = _renamed(result, path, old, new, findings)
    reader = result.get("reader")
    if isinstance(reader, Mapping) and isinstance(reader.get("queries"), Mapping):
        bare = [alias for alias, query in reader["queries"].items() if isinstance(query, str)]
        if None in reader["queries"].values():
            # What follows is indented too little: keys, not expressions.
            bare = []
        if bare:
            findings.warn(
                ("reader", "queries"),
                "an expression in place of a mapping is deprecated "
                f"({', '.join(map(shown_name, bare))}); put it under expr",
            )
        queries = {
            alias: {"expr": query} if alias in bare else query
            for alias, query in reader["queries"].items()
        }
        result["reader"] = {**reader, "queries": queries}
    return result


def _renamed(
    section: Any, path: Path, old: str, new: str, findings: Findings, place: Path = ()
) -> Any:
    """Return a section in which a key that lies at `path` has its present name."""
    if not isinstance(section, Mapping):
        return section
    if path:
        first, *rest = path
        if first not in section:
            return section
        inner = _renamed(section[first], tuple(rest), old, new, findings, (*place, first))
        return {**section, first: inner}
    if old not in section:
        return section
    others = {key: value for key, value in section.items() if key != old}
    if new in others:
        findings.warn((*place, old), f"deprecated, and ignored because {new} is there too")
        return others
    findings.warn((*place, old), f"deprecated; write {new}")
    return {**others, new: section[old]}


def _is_mapping_of_mappings(section: object) -> bool:
    return (
        isinstance(section, Mapping)
        and bool(section)
        and all(isinstance(value, Mapping) for value in section.values())
    )
