"""What the docstring of a section says about its keys: documentation that is written once."""

from __future__ import annotations

import inspect
import re

_HEADING = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
_MARKUP = re.compile(r"`{1,2}([^`]+)`{1,2}")


def described_attributes(cls: type) -> dict[str, str]:
    """Return the description of each attribute that a class, or a base of it, documents.

    Parameters
    ----------
    cls
        Has docstrings in the format of numpydoc, with a section `Attributes`.

    Returns
    -------
    dict of str to str
        Each on one line. What a derived class says replaces what its bases say.

    Examples
    --------
    >>> class Limits:
    ...     '''Limits.
    ...
    ...     Attributes
    ...     ----------
    ...     low, high
    ...         Of the `range`; both
    ...         belong to it.
    ...     '''
    >>> described_attributes(Limits)
    {'low': 'Of the range; both belong to it.', 'high': 'Of the range; both belong to it.'}
    """
    described: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        described |= _attributes(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
    return described


def summary(cls: type) -> str:
    """Return the first line of the docstring of a class."""
    return _MARKUP.sub(r"\1", (cls.__doc__ or "").strip().partition("\n")[0])


def _attributes(docstring: str) -> dict[str, str]:
    parts = _HEADING.split(docstring)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    described: dict[str, str] = {}
    names: list[str] = []
    for line in sections.get("Attributes", "").splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(":")[0].split(",")]
            described |= dict.fromkeys(names, "")
        elif line.strip():
            text = _MARKUP.sub(r"\1", line.strip())
            described |= {name: f"{described[name]} {text}".strip() for name in names}
    return described
