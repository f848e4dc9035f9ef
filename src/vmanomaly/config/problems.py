"""What is wrong in a config, in words for the person who wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from vmanomaly.closest import closest
from vmanomaly.config.secrets import (
    REDACTED,
    SECRET_KEYS,
    environment_names,
    shown_name,
    shown_text,
)
from vmanomaly.errors import ConfigError

Path: TypeAlias = "tuple[str | int, ...]"

_BARE_KEY = re.compile(r"[^\s.\[\]\"':]+")
_PLACEHOLDER = re.compile(r"%\{(\w+)\}")
_UNSET = " is not set"
MOST_TOLD = 100
_MOST_NAMES_SHOWN = 12
_LONGEST_KEY = 100


class InvalidItemsError(ValueError):
    """Some items of a list or mapping are wrong.

    Parameters
    ----------
    items
        Key or position, value, and message of each.
    """

    def __init__(self, items: list[tuple[str | int, object, str]]) -> None:
        super().__init__("; ".join(message for _, _, message in items))
        self.items = items


@dataclass
class Findings:
    """Collects every problem and every warning of one config.

    Attributes
    ----------
    problems
        Each makes the config invalid. One line per problem; the last says how many more there are.
    warnings
        Each is worth mentioning, but the config runs. The last says how many more there are.
    details
        The path and the message of each problem, as far as they are listed.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    details: list[tuple[Path, str]] = field(default_factory=list)
    _n_more: dict[int, int] = field(default_factory=dict, repr=False)

    @property
    def n_problems(self) -> int:
        """How many problems there are, listed or not."""
        n_more = self._n_more.get(id(self.problems), 0)
        return len(self.problems) if not n_more else len(self.problems) - 1 + n_more

    def error(self, path: Path, message: str | Callable[[], str]) -> None:
        """Add a problem at `path`; a function as message is called only if it is kept."""
        self._add(self.problems, path, message)

    def errors_of(self, path: Path, error: ConfigError) -> None:
        """Add the problems of something that stands at `path`, each at its own place there."""
        for place, message in error.details or (((), problem) for problem in error.problems):
            self.error((*path, *place), message)

    def as_error(self) -> ConfigError:
        """Return the error with every problem, each at its place."""
        return ConfigError(self.problems, self.n_problems, self.details)

    def warn(self, path: Path, message: str) -> None:
        """Add a warning about `path`."""
        self._add(self.warnings, path, message)

    def _add(self, lines: list[str], path: Path, message: str | Callable[[], str]) -> None:
        if len(lines) < MOST_TOLD:
            text = message if isinstance(message, str) else message()
            lines.append(f"{show_path(path)}: {text}" if path else text)
            if lines is self.problems:
                self.details.append((tuple(map(_shown_part, path)), text))
            return
        n_more = self._n_more[id(lines)] = self._n_more.get(id(lines), 0) + 1
        lines[MOST_TOLD:] = [f"and {n_more} more"]


def wrong_value(path: Path, message: str) -> ConfigError:
    """Return the error of a single problem.

    Examples
    --------
    >>> raise wrong_value(("args", "growth"), "expected text")
    Traceback (most recent call last):
    ...
    vmanomaly.errors.ConfigError: args.growth: expected text
    """
    findings = Findings()
    findings.error(path, message)
    return findings.as_error()


def _shown_part(part: str | int) -> str | int:
    return part if isinstance(part, int) else _shown_key(part)


def _shown_key(key: str) -> str:
    shown = shown_name(key)
    return shown if len(shown) <= _LONGEST_KEY else f"{shown[:_LONGEST_KEY]}..."


def show_path(path: Path) -> str:
    """Write the place of a value in the YAML.

    Examples
    --------
    >>> show_path(("reader", "queries", "cpu", "data_range", 0))
    'reader.queries.cpu.data_range[0]'
    >>> show_path(("models", "eu.west", "class"))
    'models."eu.west".class'
    """
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
            continue
        key = _shown_key(part)
        if not _BARE_KEY.fullmatch(key) or "\\" in key:
            key = f'"{key}"'
        shown += f".{key}" if shown else key
    return shown


def show_value(path: Path, value: object) -> str:
    """Write a bad value for a message, never a secret.

    Secrets are recognised by their keys; the content of an environment variable is left out too,
    and of a URL all but scheme and host.

    Examples
    --------
    >>> show_value(("server", "port"), "abc")
    "got 'abc'"
    >>> show_value(("reader", "password"), ["hunter2"])
    'got a list'
    >>> show_value(("reader", "datasource_url"), "ftp://me:hunter2@host")
    "got 'ftp://host'"
    >>> show_value(("reader", "datasource_url"), "me:hunter2@host")
    'got text that may hold a secret'
    """
    shown = _shown(path, value)
    unset = _PLACEHOLDER.search(value) if isinstance(value, str) else None
    if unset and environment_names(value) is None and not SECRET_KEYS & set(path):
        return f"got {shown}: the environment variable {unset[1]}{_UNSET}"
    return f"got {shown}"


def _shown(path: Path, value: object) -> str:
    kinds = {dict: "a mapping", list: "a list", tuple: "a list", type(None): "nothing"}
    if type(value) in kinds:
        return kinds[type(value)]
    if names := environment_names(value):
        return names
    if SECRET_KEYS & set(path):
        return REDACTED
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    return shown_text(value, key) or "text that may hold a secret"


def expectation(message: str, path: Path, value: object) -> str:
    """Put a bad value into a message, before its remedy.

    Examples
    --------
    >>> expectation("expected a duration; write 60s", ("reader", "timeout"), 60)
    'expected a duration, got 60; write 60s'
    """
    if isinstance(value, str) and message.startswith("expected a mapping"):
        return not_a_mapping(value)
    expected, semicolon, remedy = message.partition("; ")
    shown = show_value(path, value)
    # Setting the variable is the remedy.
    return f"{expected}, {shown}" + ("" if shown.endswith(_UNSET) else f"{semicolon}{remedy}")


def not_a_mapping(value: object) -> str:
    """Say that a mapping was expected; text is not shown, as `password:secret` is text.

    Examples
    --------
    >>> not_a_mapping("user:me")
    'expected a mapping, got text; is a space missing after a colon?'
    """
    if isinstance(value, str):
        return "expected a mapping, got text; is a space missing after a colon?"
    return f"expected a mapping, {show_value((), value)}"


def suggest(name: str, known: Collection[str]) -> str:
    """Name the known name closest to `name`, or the known names.

    Examples
    --------
    >>> suggest("steps", ["expr", "step"])
    'did you mean step?'
    >>> suggest("colour", ["expr", "step"])
    'known here: expr, step'
    """
    close = closest(name, known)
    if close is not None:
        return f"did you mean {shown_name(close)}?"
    if not known:
        return "none is defined"
    names = [shown_name(name) for name in islice(known, _MOST_NAMES_SHOWN + 1)]
    more = ", ..." if len(names) > _MOST_NAMES_SHOWN else ""
    return f"known here: {', '.join(names[:_MOST_NAMES_SHOWN])}{more}"
