"""The one way in which inner loops are compiled.

Kernels take time to compile, for each combination of types that they are called with. What keeps
that short: arrays of one layout only (read-only or not makes a difference), loops instead of
NumPy's functions, records instead of positions in arrays, no literal as an argument of another
kernel that is also called without one, and neither very small nor very large functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

from vmanomaly.kernel_cache import KernelCache, warn_uncached

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile `function` to machine code on its first call.

    The code is kept on disk for the next start, releases the interpreter lock, and divides as
    NumPy does (by zero gives an infinity or NaN). If no folder can be written to, it is
    compiled again at every start and a warning says so once.

    A kernel makes no arrays: it fills those that it is given. So arrays need not be counted, which
    is slow and takes time to compile. One that makes an array raises numba's `TypingError` when
    it is compiled.

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
    return _compile(function)


def inlined(function: Function) -> Function:
    """Compile `function` as `kernel` does, and inline it into every kernel that calls it.

    For short functions that are called from the innermost loop.
    """
    return _compile(function, forceinline=True)


def spliced(function: Function) -> Function:
    """Compile `function` only as a part of the kernels that call it.

    For functions that are called from one place: there is less to compile.
    """
    return _compile(function, inline="always")


def _compile(function: Function, **options: Any) -> Function:
    options |= {
        "nogil": True,
        "error_model": "numpy",
        # No counts of references to arrays, and no function for callers in C.
        "_nrt": False,
        "no_cfunc_wrapper": True,
    }
    compiled = njit(**options)(function)
    try:
        compiled._cache = KernelCache(function)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warn_uncached("no folder for it can be written to")
    return cast("Function", compiled)
