"""What a state was made with: whatever is made with the same may use it again.

A signature is flat: the path of a key in the YAML, and a digest of its value. So two signatures
can be compared key by key, and none holds a secret. It holds the fields that are marked as
`LEARNED_FROM`. What decides only how scores are made, written or read does not belong to it:
changing a policy, an output, a timeout or a password requires no refit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from pydantic import SecretStr

from vmanomaly.config import Config
from vmanomaly.config.effect import LEARNED_FROM
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.series import UnitKey

_DIGEST_BYTES = 8


def unit_keys(config: Config) -> list[UnitKey]:
    """Return the units of a configuration that keep a state: those of schedulers without end."""
    return [
        UnitKey(scheduler, model, queries)
        for scheduler, model, queries in config.units
        if config.schedulers[scheduler].runs and not config.schedulers[scheduler].ends_by_itself
    ]


def signature_of(config: Config, key: UnitKey) -> dict[str, str]:
    """Return what a unit is made with.

    Parameters
    ----------
    config
        The configuration.
    key
        A unit of it.

    Returns
    -------
    dict of str to str
        Digests by path, such as `models.robust.threshold`.
    """
    model = config.models[key.model_alias]
    parts: dict[str, Section] = {
        f"schedulers.{key.scheduler_alias}": config.schedulers[key.scheduler_alias],
        f"models.{key.model_alias}": model,
        "reader": config.reader,
    }
    parts |= {f"reader.queries.{query}": config.reader.queries[query] for query in key.queries}
    return {
        f"{path}.{key}": _digest(value)
        for path, section in parts.items()
        for key, value in section.deciding(LEARNED_FROM).items()
    }


def differences(stored: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return the paths at which two signatures differ, in order.

    Examples
    --------
    >>> differences({"reader.class": "a", "reader.path": "b"}, {"reader.class": "a"})
    ['reader.path']
    """
    return sorted(
        path for path in stored.keys() | wanted.keys() if stored.get(path) != wanted.get(path)
    )


def _values(section: Section) -> Iterator[tuple[str, Any]]:
    for name, field in type(section).model_fields.items():
        yield field.alias or name, getattr(section, name)


def _digest(value: object) -> str:
    text = orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def _plain(value: object) -> Any:
    """Return what JSON can hold; the same for values that mean the same."""
    result: Any = value
    match value:
        case Section():
            result = {name: _plain(item) for name, item in _values(value)}
        case Mapping():
            result = {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            result = [_plain(item) for item in value]
        case Duration():
            result = int(value)
        case SecretStr():
            result = None
        case float():
            result = repr(value)
        case str() | Path():
            result = _without_login(str(value))
    return result


def _without_login(text: str) -> str:
    """Return a URL without user and password; any other text as it is.

    Examples
    --------
    >>> _without_login("http://user:secret@localhost:8428/prefix")
    'http://localhost:8428/prefix'
    """
    if not text.startswith(("http://", "https://")):
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
