"""The one way in which inner loops are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

from vmanomaly.kernel_cache import KernelCache, warn_uncached

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile `function` to machine code on its first call.

    The code is kept on disk for the next start, releases the interpreter lock, and divides as
    NumPy does (by zero gives an infinity or NaN). Where no folder can be written to, it is
    compiled again at every start and one warning says so.

    The code on disk is renewed when the source of any kernel changes, or what these import
    (`vmanomaly.kernel_cache`).

    Examples
    --------
    >>> @kernel
    ... def half(x: float) -> float:
    ...     return x / 2
    >>> half(3.0)
    1.5
    """
    return _compile(function, forceinline=False)


def inlined(function: Function) -> Function:
    """Compile `function` as `kernel` does, into each kernel that calls it."""
    return _compile(function, forceinline=True)


def _compile(function: Function, *, forceinline: bool) -> Function:
    compiled = njit(nogil=True, error_model="numpy", forceinline=forceinline)(function)
    try:
        compiled._cache = KernelCache(function)  # type: ignore[attr-defined,no-untyped-call]
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warn_uncached("no folder for it can be written to")
    return cast("Function", compiled)
