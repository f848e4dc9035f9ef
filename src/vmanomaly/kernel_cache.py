"""Where the machine code of kernels is kept between starts.

Numba renews the code of a function when the file of that function changes, but not when only a
function that it calls or a constant that it uses does. So the folder is named by a digest of all
that machine code depends on: the sources of the kernels, those these import from, and the versions
of Numba, NumPy, Python and the CPU. It is where Numba would keep the code: in `NUMBA_CACHE_DIR`
if that is set, else in the `__pycache__` of the package, else in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.registry import cpu_target

logger = logging.getLogger(__name__)

PREFIX = "vmanomaly-kernels-"
# Those of other versions, Pythons or CPUs: several may be in use at the same time.
KEPT_FOLDERS = 8

PACKAGE = Path(__file__).parent
_FOLDER = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}")
_KERNELS = re.compile(rb"^from vmanomaly\.kernel import", re.MULTILINE)
_IMPORTED = re.compile(rb"^ *(?:from|import) (vmanomaly[.\w]*)", re.MULTILINE)


def kernel_sources(package: Path = PACKAGE) -> list[Path]:
    """Return the files that define kernels, and those they import from, directly or not.

    Parameters
    ----------
    package
        The folder of `vmanomaly`. Nothing is imported.
    """
    contents = {path: path.read_bytes() for path in package.rglob("*.py")}
    to_visit = [path for path, content in contents.items() if _KERNELS.search(content)]
    found = set(to_visit)
    while to_visit:
        for name in _IMPORTED.findall(contents[to_visit.pop()]):
            module = package.joinpath(*name.decode().split(".")[1:])
            for path in (module.with_suffix(".py"), module / "__init__.py"):
                if path in contents and path not in found:
                    found.add(path)
                    to_visit.append(path)
    return sorted(found)


def folder_name(package: Path = PACKAGE) -> str:
    """Return the name of the folder for the code of these sources on this machine."""
    cpu = cpu_target.target_context.codegen().magic_tuple()
    digest = hashlib.sha256(
        repr((numba.__version__, np.__version__, sys.version, cpu)).encode(),
        usedforsecurity=False,
    )
    for path in kernel_sources(package):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    return PREFIX + digest.hexdigest()[:16]


@cache
def cache_folder() -> Path | None:
    """Return the folder for the code of this process, or None where none can be used.

    A folder that cannot be written to, such as one in an image, is used if there is code in it.
    From one that can, the folders of all other digests but the eight used last are removed.
    """
    name = folder_name()
    for parent in _parents():
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
        except OSError as error:
            logger.debug("Compiled code cannot be cached in %s: %s", folder, error)
            if any(folder.glob("*.nbi")):
                return folder
        else:
            remove_old_folders(folder)
            return folder
    return None


def _parents() -> list[Path]:
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parents = [PACKAGE / "__pycache__", Path(user_cache, "numba")]
    chosen = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    if chosen:
        parents.insert(0, Path(chosen))
    # Where there is no home, "~" stays as it is.
    return [parent for parent in parents if not str(parent).startswith("~")]


def remove_old_folders(used: Path) -> None:
    """Remove the folders next to `used` that were used least recently, and keep eight.

    A process that still uses one of them loses nothing but time: what it has loaded stays in
    memory, and what it compiles later is stored again.
    """
    try:
        others = [
            (entry.stat().st_mtime, entry.path)
            for entry in os.scandir(used.parent)
            if entry.is_dir(follow_symlinks=False)
            and _FOLDER.fullmatch(entry.name)
            and entry.name != used.name
        ]
        for _, path in sorted(others, reverse=True)[KEPT_FOLDERS:]:
            for file in Path(path).iterdir():
                if file.name == "lock" or re.search(r"\.nb[ic](\.tmp\.\w+)?$", file.name):
                    file.unlink(missing_ok=True)
            Path(path).rmdir()
    except OSError as error:
        logger.debug("Old compiled code next to %s is not removed: %s", used, error)


class _Locator:
    """Tells Numba where the code of a function is, and whether it belongs to this source."""

    def __init__(self, function: Callable[..., object], file: str, folder: Path) -> None:
        self._py_file = file  # Numba names it in a warning.
        self._folder = folder
        self._name = f"{function.__module__}-{function.__code__.co_firstlineno}"

    @classmethod
    def from_function(cls, function: Callable[..., object], file: str) -> _Locator | None:
        folder = cache_folder()
        return cls(function, file, folder) if folder and Path(file).is_file() else None

    def get_cache_path(self) -> str:
        return str(self._folder)

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        # The content, not the time of the last change, which does not survive in an image.
        return _digest_of(self._py_file)

    def get_disambiguator(self) -> str:
        return self._name


@cache
def _digest_of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes(), usedforsecurity=False).hexdigest()


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = (_Locator,)  # type: ignore[assignment]


class KernelCache(FunctionCache):
    """The machine code of one kernel on disk, for every type of its arguments.

    Raises
    ------
    RuntimeError
        No folder can be used, or the function is not from a file.
    """

    _impl_class = _KernelCacheImpl

    def save_overload(self, sig: object, data: object) -> None:
        """Store what was compiled for a signature; where that fails, a warning says so once."""
        try:
            self._impl.locator.ensure_cache_path()
            # Processes that add signatures to a kernel at the same time would name the same file.
            with open(Path(self.cache_path) / "lock", "ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            warn_uncached(str(error))


@cache
def warn_uncached(reason: str) -> None:
    """Say once why kernels are compiled at every start, and what to do."""
    logger.warning(
        "Compiled code cannot be cached (%s): it is recompiled at every start. "
        "Set NUMBA_CACHE_DIR to a folder that can be written to and survives restarts.",
        reason,
    )
