"""One YAML text -> plain values, with environment variables substituted.

The text is read event by event and never as Python objects: tags that name classes, a second
document, recursion and alias bombs are errors. Environment variables are substituted in finished
scalars, so that their content is never read as YAML structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from vmanomaly.config.problems import Path
from vmanomaly.config.values.scalar import EnvironmentText, Value, resolve
from vmanomaly.errors import ConfigError

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_BYTES = 8 * 1024 * 1024
MAX_VALUES = 1_000_000
MAX_DEPTH = 50

# `%` cannot start a plain scalar, and `{` has a meaning of its own: `url: %{NAME}` is not YAML.
# Characters of the private use area, of equal length to keep the columns, replace both.
_WRITTEN = re.compile(r"%\{([A-Za-z_][A-Za-z0-9_]*)\}")
_STOOD_IN = re.compile("\ue000\ue000([A-Za-z_][A-Za-z0-9_]*)\ue001")

# Characters that YAML does not allow in a file.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# What the parser's messages quote from the file, except names of its own tokens (`<block end>`).
_QUOTED_CONTENT = re.compile(r" '[^'<].+?'")

_CORE_TAG = "tag:yaml.org,2002:"
_STRUCTURE_TAGS = {None, "!", _CORE_TAG + "map", _CORE_TAG + "seq"}
# Neither tags nor aliases are shown: an unquoted secret may begin with ! or *.
_TAG = "a tag (!) is not allowed; put text that starts with ! in quotes"
_SCALAR_TAGS = {_CORE_TAG + name for name in ("null", "bool", "int", "float")}


@dataclass(frozen=True)
class Document:
    """The content of one file.

    Attributes
    ----------
    sections
        The mapping at the top.
    unset
        Place and name of every environment variable that is referenced but not set.
    repeated
        Place and line of every key that already occurs in its mapping: the last one counts.
    """

    sections: dict[str, Value]
    unset: list[tuple[Path, str]]
    repeated: list[tuple[Path, int]] = field(default_factory=list)


def parse_document(
    text: str, name: str, environ: Mapping[str, str], max_values: int = MAX_VALUES
) -> Document:
    """Read a YAML text whose top is a mapping.

    Parameters
    ----------
    text
        The content of a file.
    name
        What to call the file in errors.
    environ
        The environment variables for `%{NAME}`.
    max_values
        How many values the text may hold.

    Raises
    ------
    ConfigError
        If the text is not such YAML; names the line and column.

    Examples
    --------
    >>> parse_document("server: {port: %{PORT}}", "config.yaml", {"PORT": "8490"}).sections
    {'server': {'port': 8490}}
    """
    reader = _Reader(name, environ, max_values)
    if forbidden := _FORBIDDEN.search(text):
        line = text.count("\n", 0, forbidden.start()) + 1
        code = f"U+{ord(forbidden[0]):04X}"
        raise ConfigError([f"{name}:{line}: not YAML: the character {code} is not allowed"])
    try:
        sections = reader.read(stand_ins(text))
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark)
        raise ConfigError([f"{name}{place}: not YAML: {_cause(error, text)}"]) from None
    return Document(sections, reader.unset, reader.repeated)


def stand_ins(text: str) -> str:
    """Return a text with characters in place of `%{` and `}` that YAML allows anywhere."""
    return _WRITTEN.sub("\ue000\ue000\\1\ue001", text)


def placeholders(text: str) -> str:
    """Return a text with `%{NAME}` in place of what stands in for it."""
    return _STOOD_IN.sub(r"%{\1}", text)


@dataclass
class _Reader:
    name: str
    environ: Mapping[str, str]
    max_values: int
    unset: list[tuple[Path, str]] = field(default_factory=list)
    repeated: list[tuple[Path, int]] = field(default_factory=list)
    anchors: dict[str, tuple[Value, int]] = field(default_factory=dict)
    n_values: int = 0

    def read(self, text: str) -> dict[str, Value]:
        events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        first = _next(events, yaml.StreamStartEvent, yaml.DocumentStartEvent)
        if isinstance(first, yaml.StreamEndEvent):
            raise ConfigError([f"{self.name}: the file is empty; expected a YAML config"])
        top = self.value(first, events, ())

        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise self.error(event, "a second YAML document starts here, expected one per file")
        if top is None:
            raise ConfigError([f"{self.name}: the file is empty; expected a YAML config"])
        if not isinstance(top, dict):
            kind = "a list" if isinstance(top, list) else "a single value"
            raise self.error(
                first, f"expected a mapping of sections (reader, writer, models, ...), got {kind}"
            )
        return top

    def value(self, event: Any, events: Iterator[Any], path: Path) -> Value:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.error(
                    event,
                    "an alias (*) without an anchor (&) before it, or in its own value; "
                    "put text that starts with * in quotes",
                )
            value, size = self.anchors[event.anchor]
            self.count(event, size)
            return value
        before = self.n_values
        self.count(event, 1)
        if len(path) > MAX_DEPTH:
            raise self.error(event, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event, path)
        else:
            if event.tag not in _STRUCTURE_TAGS:
                raise self.error(event, _TAG)
            if isinstance(event, yaml.SequenceStartEvent):
                value = self.sequence(events, path)
            else:
                value = self.mapping(events, path)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.n_values - before)
        return value

    def sequence(self, events: Iterator[Any], path: Path) -> list[Value]:
        items: list[Value] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.value(event, events, (*path, len(items))))
        return items

    def mapping(self, events: Iterator[Any], path: Path) -> dict[str, Value]:
        own: dict[str, Value] = {}
        inherited: dict[str, Value] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error(event, "a key must be a name, not a list, mapping or alias")
            if event.value == "<<" and event.implicit[0]:
                inherited |= self.merged(self.value(next(events), events, path), event)
                continue
            key = self.substitute(event.value, path)
            if key in own:
                mark: Any = event.start_mark
                self.repeated.append(((*path, key), mark.line + 1))
            own[key] = self.value(next(events), events, (*path, key))
        return inherited | own

    def merged(self, value: Value, event: Any) -> dict[str, Value]:
        mappings = value if isinstance(value, list) else [value]
        result: dict[str, Value] = {}
        for mapping in reversed(mappings):
            if not isinstance(mapping, dict):
                raise self.error(event, "<< takes a mapping or a list of mappings")
            result |= mapping
        return result

    def scalar(self, event: Any, path: Path) -> Value:
        text = self.substitute(event.value, path)
        is_plain, _ = event.implicit
        if event.tag in _SCALAR_TAGS or (is_plain and event.tag is None):
            value = resolve(text)
            return text if isinstance(value, str) else value
        if event.tag in (None, "!", _CORE_TAG + "str"):
            return text
        raise self.error(event, _TAG)

    def substitute(self, text: str, path: Path) -> str:
        if not _STOOD_IN.search(text):
            return text
        names = dict.fromkeys(_STOOD_IN.findall(text))
        self.unset += [(path, name) for name in names if name not in self.environ]
        written = placeholders(text)
        if not any(name in self.environ for name in names):
            return written
        replaced = _STOOD_IN.sub(lambda match: self.environ.get(match[1], f"%{{{match[1]}}}"), text)
        return EnvironmentText(replaced, written)

    def count(self, event: Any, n: int) -> None:
        self.n_values += n
        if self.n_values > self.max_values:
            raise self.error(
                event, f"more than {self.max_values} values, aliases counted as copies"
            )

    def error(self, event: Any, message: str) -> ConfigError:
        return ConfigError([f"{self.name}{_place(event.start_mark)}: {message}"])


def _next(events: Iterator[Any], *skipped: type) -> Any:
    event = next(events)
    while isinstance(event, skipped):
        event = next(events)
    return event


def _place(mark: Any) -> str:
    return "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"


def _cause(error: yaml.MarkedYAMLError, text: str) -> str:
    cause = _QUOTED_CONTENT.sub("", placeholders(error.problem or ""))
    if error.problem_mark is None:
        return cause
    if error.context_mark and error.context_mark.line != error.problem_mark.line:
        cause += f", {error.context} that starts in line {error.context_mark.line + 1}"
    lines = text.splitlines()[error.problem_mark.line :]
    rest = lines[0][error.problem_mark.column :] if lines else ""
    if rest.startswith("\t"):
        return f"{cause}; indent with spaces, not with tabs"
    if rest.startswith(("@", "`", "%")):
        return f"{cause}; put the value in quotes"
    first = (error.context_mark or error.problem_mark).line
    if any(
        line.strip() == "..." for line in text.splitlines()[first : error.problem_mark.line + 1]
    ):
        return f"{cause}; a line of ... cannot stand for what is left out: remove it"
    if "mapping values" in cause:
        return f"{cause}; is the indentation right, or does a text with a colon need quotes?"
    return cause
