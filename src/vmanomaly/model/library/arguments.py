"""The key `args` of a model of a library: what the library's constructor takes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import NamedTuple

from vmanomaly.closest import closest
from vmanomaly.config.problems import Findings, expectation

LEFT_TO_LIBRARY = (bool, str, float, type(None))
"""What else an argument that is a whole number may be, for the library to check."""


class Bounds(NamedTuple):
    """Which numbers an argument of a library may be.

    Attributes
    ----------
    low, high
        The least and the largest.
    whole
        Whether only whole numbers are allowed.
    others
        Types of values that are allowed in addition, for the library to check.

    Examples
    --------
    >>> bounds = Bounds(1, 1000)
    >>> str(bounds), bounds.hold(25), bounds.hold(25.5), bounds.hold(None), bounds.hold(True)
    ('a whole number from 1 to 1,000', True, False, False, False)
    """

    low: float
    high: float
    whole: bool = True
    others: tuple[type, ...] = ()

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:,} to {self.high:,}"

    def hold(self, value: object) -> bool:
        """Tell whether a value is one of these."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return isinstance(value, self.others)
        is_right_kind = isinstance(value, int) or not self.whole or float in self.others
        return is_right_kind and self.low <= value <= self.high


def check_arguments(
    args: Mapping[str, object],
    constructor: type,
    also: Collection[str] = (),
    refused: Mapping[str, str] | None = None,
    bounds: Mapping[str, Bounds] | None = None,
) -> None:
    """Check that a library's constructor takes the arguments, before any data is read.

    Libraries take numbers that no machine could compute with, and some take anything until the
    fit; a client of the API may send them.

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
    bounds
        Of the numbers that arguments may be.

    Raises
    ------
    ConfigError
        With every argument that it does not take, or that is out of bounds.

    Examples
    --------
    >>> check_arguments({"reals": 1.0}, complex, also=["real", "imag"])
    Traceback (most recent call last):
    ...
    vmanomaly.errors.ConfigError: args.reals: complex does not take it; did you mean real?
    """
    refused = refused or {}
    findings = Findings()
    known = [*_parameters(constructor), *also]
    offered = [name for name in known if name not in refused]
    for name in args:
        if name in refused:
            findings.error(("args", name), refused[name])
        elif name not in known:
            close = closest(str(name), offered)
            hint = f"it takes {', '.join(offered)}" if close is None else f"did you mean {close}?"
            findings.error(("args", name), f"{constructor.__name__} does not take it; {hint}")
    for name, within in (bounds or {}).items():
        if name in args and not within.hold(args[name]):
            place = ("args", name)
            findings.error(place, expectation(f"expected {within}", place, args[name]))
    if findings.problems:
        raise findings.as_error()


def _parameters(constructor: type) -> list[str]:
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except ValueError:
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters if each.kind in named]
