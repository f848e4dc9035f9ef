"""The key `args` of a model of a library: what the library's constructor takes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping

from vmanomaly.closest import closest
from vmanomaly.errors import ConfigError


def check_arguments(
    args: Mapping[str, object],
    constructor: type,
    also: Collection[str] = (),
    refused: Mapping[str, str] | None = None,
) -> None:
    """Check that a library's constructor takes the arguments, before any data is read.

    Parameters
    ----------
    args
        Of the model's section.
    constructor
        The class of the library.
    also
        Names that are taken in addition.
    refused
        Arguments of the constructor that are not the user's, each with the remedy.

    Raises
    ------
    ConfigError
        With every argument that it does not take.

    Examples
    --------
    >>> check_arguments({"reals": 1.0}, complex, also=["real", "imag"])
    Traceback (most recent call last):
    ...
    vmanomaly.errors.ConfigError: args.reals: complex does not take it; did you mean real?
    """
    refused = refused or {}
    known = [*_parameters(constructor), *also]
    offered = [name for name in known if name not in refused]
    problems = []
    for name in args:
        if name in refused:
            problems.append(f"args.{name}: {refused[name]}")
        elif name not in known:
            close = closest(str(name), offered)
            hint = f"it takes {', '.join(offered)}" if close is None else f"did you mean {close}?"
            problems.append(f"args.{name}: {constructor.__name__} does not take it; {hint}")
    if problems:
        raise ConfigError(problems)


def _parameters(constructor: type) -> list[str]:
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except ValueError:
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters if each.kind in named]
