"""The one way in which inner loops are compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

from numba import njit

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile `function` to machine code on its first call.

    The code is kept on disk for the next start, releases the interpreter lock, and divides as
    NumPy does (by zero gives an infinity or NaN). Where no folder can be written to, it is
    compiled anew at every start and one warning says so.

    The code on disk is renewed when the file of `function` changes, not when only the file of a
    kernel that it calls does: after such an edit, remove the `__pycache__` beside it.

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
    try:
        compiled = njit(cache=True, nogil=True, error_model="numpy", forceinline=forceinline)(
            function
        )
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _warn_uncached()
        compiled = njit(nogil=True, error_model="numpy", forceinline=forceinline)(function)
    return cast("Function", compiled)


@cache
def _warn_uncached() -> None:
    logger.warning(
        "No writable folder for compiled code: it is compiled again at every start. "
        "Set NUMBA_CACHE_DIR to a folder that can be written to and survives restarts."
    )
