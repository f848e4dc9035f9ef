"""Packages that only some models need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from vmanomaly.errors import ConfigError


def required(module: str, user: str, extra: str) -> ModuleType:
    """Import a module that comes with an extra.

    Parameters
    ----------
    module
        Its name.
    user
        What needs it, as the user knows it.
    extra
        The extra that has it.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        # Something else that is missing is no matter of the extra.
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ConfigError(
            [f"{user} needs {package}, which is not installed: pip install 'vmanomaly[{extra}]'"]
        ) from None
