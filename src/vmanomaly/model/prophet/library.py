"""The package prophet: loading it, and keeping what it prints and writes out of sight."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from vmanomaly.model.library.chatter import log_as_debug
from vmanomaly.model.library.extras import required

_LOGGERS = ("prophet", "cmdstanpy")
_counting = threading.Lock()
_n_fits = 0


@cache
def prophet() -> Any:
    """Return the module `prophet`.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    # Importing it logs, and sets handlers up.
    log_as_debug(*_LOGGERS)
    module = required("prophet", "the model class prophet", "prophet")
    log_as_debug(*_LOGGERS)
    return module


@contextmanager
def stan_folder() -> Iterator[None]:
    """Remove the folder that Stan writes to when no fit needs it any more, failed ones included.

    Otherwise it would stay until the process ends, or for good if that is killed.
    """
    global _n_fits  # noqa: PLW0603 - Stan has one folder for all threads
    folder = Path(import_module("cmdstanpy")._TMPDIR)
    with _counting:
        _n_fits += 1
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        yield
    finally:
        with _counting:
            _n_fits -= 1
            if _n_fits == 0:
                shutil.rmtree(folder, ignore_errors=True)
