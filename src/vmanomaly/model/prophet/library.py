"""The package prophet: loading it, and keeping what it logs out of sight."""

from __future__ import annotations

from functools import cache
from typing import Any

from vmanomaly.model.library.chatter import log_as_debug
from vmanomaly.model.library.extras import required

_LOGGERS = ("prophet", "cmdstanpy")


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
