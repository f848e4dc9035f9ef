"""The one way in which inner loops are compiled.

Kernels take time to compile, for each combination of types that they are called with. What keeps
that short: they take arrays of one layout only (read-only or not makes a difference), loops instead
of the functions of NumPy, records instead of places in arrays, no literal as an argument of another
kernel that is also called without, and neither very small nor very large functions; and no code
through which Python calls what only other kernels call.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.dispatcher import Dispatcher

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


def inner(function: Function) -> Function:
    """Compile `function` as `kernel` does, for other kernels only: Python cannot call it.

    Without the code for such calls, which unpacks every argument, there is less to compile.

    Raises
    ------
    TypeError
        When it is called from Python.

    Examples
    --------
    >>> @inner
    ... def half(x: float) -> float:
    ...     return x / 2
    >>> half(3.0)
    Traceback (most recent call last):
    TypeError: half can only be called by kernels
    """
    compiled: Any = _compile(function, no_cpython_wrapper=True)
    compiled.__class__ = _Inner
    return cast("Function", compiled)


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


@contextmanager
def many_compilations() -> Iterator[None]:
    """Collect garbage rarely while kernels are compiled.

    The compiler makes many objects and little garbage; looking through all objects again and
    again takes a tenth of its time.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class _Inner(Dispatcher):
    """A compiled function without the code that Python would call."""

    def __call__(self, *_args: object, **_keywords: object) -> None:
        # Where there is no such code, Numba would jump to it all the same.
        raise TypeError(f"{self.py_func.__qualname__} can only be called by kernels")


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
