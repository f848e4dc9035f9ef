"""Messages about a datasource, in the terms of whoever has named it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from vmanomaly.errors import DatasourceError

Name: TypeAlias = Callable[[str, str | None], str | None]
"""Takes a key of the section `reader`, and a value that a message gives it or None; returns what
sets it, as a message shows it, or None if nothing does."""

InTerms: TypeAlias = Callable[[str], str]
"""Takes a message that names keys of the section `reader`."""

_KEY = re.compile(r"`(?:reader\.(\w+)|(max_points_per_query))(?:: (\w+))?`")


def in_terms_of(message: str, name: Name, about_others: Callable[[Sequence[str]], str]) -> str:
    """Return a message with other names for the keys of the section `reader` in it.

    Parameters
    ----------
    message
        For those who have written a section `reader`.
    name
        Gives the other names.
    about_others
        Takes the keys that nothing sets, as a message shows them, and returns a sentence about
        them.

    Examples
    --------
    >>> def name(key, value):
    ...     return {"datasource_url": "`url`"}.get(key)
    >>> def about_others(keys):
    ...     return f"Nothing sets {keys[0]}."
    >>> in_terms_of("Is `reader.datasource_url` right?", name, about_others)
    'Is `url` right?'
    >>> in_terms_of("A larger `reader.timeout` allows for slow answers", name, about_others)
    'A larger `reader.timeout` allows for slow answers. Nothing sets `reader.timeout`.'
    """
    others: dict[str, None] = {}

    def replacement(found: re.Match[str]) -> str:
        key = found[1] or found[2]
        other_name = name(key, found[3])
        if other_name is None:
            others[f"`reader.{key}`"] = None
            return found[0]
        return other_name

    result = _KEY.sub(replacement, message)
    if not others:
        return result
    return f"{result}{' ' if result.endswith(('.', '?')) else '. '}{about_others([*others])}"


@contextmanager
def told_in_terms(in_terms: InTerms) -> Iterator[None]:
    """Have every `DatasourceError` say what it says in other terms.

    Parameters
    ----------
    in_terms
        Rewrites the message.
    """
    try:
        yield
    except DatasourceError as error:
        error.args = (in_terms(str(error)), *error.args[1:])
        raise
