"""What is compiled so far."""

from __future__ import annotations

import sys

from numba.core.dispatcher import Dispatcher


def compiled() -> set[tuple[str, str]]:
    """Return every kernel of the package with the types that it is compiled or loaded for."""
    return {
        (f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}", str(types))
        for name, module in list(sys.modules.items())
        if name.startswith("vmanomaly.")
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
        for types in kernel.signatures
    }
