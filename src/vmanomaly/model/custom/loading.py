"""From the dotted name of a user's class to the class."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

from vmanomaly.errors import ConfigError
from vmanomaly.model.custom import interface

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "VMANOMALY_CUSTOM_MODELS_DIR"

_PACKAGE = "model"
_CUSTOM = "model.custom"
_lock = threading.Lock()


def load_class(name: str, folder: Path) -> type:
    """Import a class by its dotted name.

    The package `model` is assembled for it: `model.model` is `interface`, and any other
    `model.NAME` is the file `NAME.py` in `folder`, or in its folder `model`. `model.custom` may
    also be the file `custom_model.py`. Any other name is imported as Python does, with `folder` as
    the last place to look. The package does not exist before the first custom model is loaded, so
    that it does not hide one of the same name elsewhere.

    A module is run once in a process.

    Parameters
    ----------
    name
        `package.module.Class`.
    folder
        Where files are searched.

    Raises
    ------
    ConfigError
        There is no such class, or its file cannot be run; names the file and the line.
    """
    module_name, _, class_name = name.rpartition(".")
    with _lock:
        _offer_package(folder)
        is_new = module_name not in sys.modules
        module = _import_module(module_name, folder)
    if is_new:
        logger.info("Custom models of %s are those of %s", module_name, module.__file__)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [
            each.__name__
            for each in vars(module).values()
            if isinstance(each, type) and each.__module__ == module.__name__
        ]
        listed = f"its classes are {', '.join(classes)}" if classes else "it has no class at all"
        raise ConfigError([f"{module.__file__} has no class {class_name}; {listed}"])
    return found


def user_error(error: BaseException, name: str, folder: Path) -> str:
    """Return file, line and message of what the user's code raised.

    Parameters
    ----------
    error
        Raised while code of the user was running.
    name
        The dotted name of the class.
    folder
        Where files are searched.
    """
    if isinstance(error, ModuleNotFoundError) and error.name == "pandas":
        return without_pandas(name)
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    places = [
        f"{frame.f_code.co_filename}:{line}: "
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_users(frame, name.partition(".")[0], folder)
    ]
    return f"{places[-1] if places else ''}{type(error).__name__}: {error}"


def without_pandas(name: str) -> str:
    """Return the error that the class of this dotted name needs pandas."""
    return f"{name} needs pandas, which is not installed: pip install 'vmanomaly[pandas]'"


def _is_users(frame: FrameType, package: str, folder: Path) -> bool:
    module = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] == package or Path(frame.f_code.co_filename).parent in (
        folder,
        folder / _PACKAGE,
    )


def _offer_package(folder: Path) -> None:
    """Make `model` importable, with `folder` behind it."""
    places = [str(folder), str(folder / _PACKAGE)]
    package = sys.modules.get(_PACKAGE)
    if package is None or list(getattr(package, "__path__", ())) != places:
        for name in [each for each in sys.modules if each.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
        package = ModuleType(_PACKAGE, "What files of custom models import.")
        package.__path__ = places
        package.model = interface  # type: ignore[attr-defined]
        sys.modules |= {_PACKAGE: package, f"{_PACKAGE}.model": interface}
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def _import_module(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name != _CUSTOM or error.name != _CUSTOM:
            _refuse(error, name, folder)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        _refuse(error, name, folder)
    file = folder / "custom_model.py"
    spec = spec_from_file_location(_CUSTOM, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ConfigError(
            [
                (
                    f"there is no custom.py, model/custom.py or custom_model.py in {folder}; put "
                    f"the file of the model there, or name its folder in {FOLDER_VARIABLE}"
                )
            ]
        )
    module = sys.modules[_CUSTOM] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        del sys.modules[_CUSTOM]
        _refuse(error, name, folder)
    return module


def _refuse(error: Exception | SystemExit, name: str, folder: Path) -> NoReturn:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{name}.".startswith(f"{missing}."):
        problem = (
            f"there is no module {name}; it must be installed, or lie in {folder} "
            f"(another folder: {FOLDER_VARIABLE})"
        )
    else:
        problem = user_error(error, name, folder)
    raise ConfigError([problem]) from None
