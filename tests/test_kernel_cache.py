"""Machine code on disk is used again as long as it is that of the sources, and no longer."""

from __future__ import annotations

import fcntl
import importlib
import json
import logging
import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

import vmanomaly
from vmanomaly import kernel_cache
from vmanomaly.kernel import kernel

pytestmark = pytest.mark.slow

SOURCES = {
    "__init__.py": "",
    "constants.py": "FACTOR = 10.0\n",
    "callee.py": """
from vmanomaly.constants import FACTOR
from vmanomaly.kernel import kernel

@kernel
def scaled(x):
    return FACTOR * x
""",
    "caller.py": """
from vmanomaly.callee import scaled
from vmanomaly.kernel import kernel

@kernel
def total(x, y):
    return scaled(x) + y
""",
    "unrelated.py": "",
}
CALL = "total(2.0, 1.0)"

# Loads Numba once, and lets a child of its own call the kernel of each folder it is told.
CALLER = """
import json, os, sys
import numba

numba.njit(lambda x: x + 1.0)(1.0)
sys.dont_write_bytecode = True
for line in sys.stdin:
    folder, call, environ = json.loads(line)
    read, write = os.pipe()
    if os.fork() == 0:
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.environ.update(environ)
        numba.config.reload_config()
        sys.path.insert(0, folder)
        from vmanomaly.caller import total
        print(eval(call), sum(total.stats.cache_hits.values()), flush=True)
        os._exit(0)
    os.close(write)
    with open(read) as said:
        print(json.dumps(said.read()), flush=True)
    os.wait()
"""


class Answer(NamedTuple):
    """What a process said that called the kernel `total` with 2 and 1."""

    result: float
    n_cache_hits: int
    warnings: list[str]


class Package:
    """A package with two kernels, one of which calls the other, in a folder of its own."""

    def __init__(self, folder: Path, caller: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.sources = folder / "vmanomaly"
        self.caller = caller
        self.sources.mkdir()
        for name, text in SOURCES.items():
            self.write(name, text)
        for name in ("kernel.py", "kernel_cache.py"):
            shutil.copy(Path(vmanomaly.__file__).parent / name, self.sources)

    def write(self, name: str, text: str) -> None:
        (self.sources / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        assert old in SOURCES[name]
        self.write(name, SOURCES[name].replace(old, new))

    def call(self, call: str = CALL, **environ: Path) -> Answer:
        """Call the kernel in a process of its own."""
        environ = {"XDG_CACHE_HOME": self.folder / "cache", **environ}
        assert self.caller.stdin is not None
        assert self.caller.stdout is not None
        asked = str(self.folder), call, {name: str(path) for name, path in environ.items()}
        print(json.dumps(asked), file=self.caller.stdin, flush=True)
        *warnings, last = json.loads(self.caller.stdout.readline()).splitlines()
        result, n_cache_hits = last.split()
        return Answer(float(result), int(n_cache_hits), warnings)

    def stored(self) -> set[Path]:
        """Return the files with machine code, wherever they are."""
        return set(self.folder.rglob("*.nb[ic]"))

    def lock_up(self, *folders: Path) -> None:
        """Let nobody write to folders."""
        for folder in folders:
            folder.mkdir(exist_ok=True)
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o500 if path.is_dir() else 0o400)


@pytest.fixture(scope="module")
def caller() -> Iterator[subprocess.Popen[str]]:
    # Permissions do not stop root, unless it gives up the capability for that.
    prefix = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", CALLER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        yield process


@pytest.fixture
def package(tmp_path: Path, caller: subprocess.Popen[str]) -> Iterator[Package]:
    yield Package(tmp_path, caller)
    for path in tmp_path.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)


def test_same_sources_are_compiled_once(package: Package) -> None:
    assert package.call() == (21.0, 0, [])
    stored = package.stored()
    assert {path.suffix for path in stored} == {".nbi", ".nbc"}
    assert {path.parent.parent for path in stored} == {package.sources / "__pycache__"}
    assert package.call() == (21.0, 1, [])
    assert package.stored() == stored


def test_the_caller_is_compiled_again_when_only_its_callee_changes(package: Package) -> None:
    package.call()
    package.edit("callee.py", "FACTOR * x", "FACTOR - x")
    assert package.call() == (9.0, 0, [])
    package.write("callee.py", SOURCES["callee.py"])
    assert package.call() == (21.0, 1, [])


def test_a_constant_of_a_module_without_kernels_counts(package: Package) -> None:
    package.call()
    package.edit("constants.py", "10.0", "20.0")
    assert package.call() == (41.0, 0, [])


def test_what_no_kernel_imports_does_not_count(package: Package) -> None:
    package.call()
    package.write("unrelated.py", "FACTOR = 5\n")
    assert package.call() == (21.0, 1, [])


def test_the_chosen_folder_is_used(package: Package) -> None:
    chosen = package.folder / "chosen" / "deeper"
    assert package.call(NUMBA_CACHE_DIR=chosen) == (21.0, 0, [])
    assert {path.parent.parent for path in package.stored()} == {chosen}
    assert package.call(NUMBA_CACHE_DIR=chosen) == (21.0, 1, [])


def test_the_cache_of_the_user_is_used_where_the_package_is_read_only(package: Package) -> None:
    package.lock_up(package.sources)
    assert package.call() == (21.0, 0, [])
    assert {path.parents[2] for path in package.stored()} == {package.folder / "cache"}
    assert package.call() == (21.0, 1, [])


def test_a_read_only_folder_with_the_code_is_used(package: Package) -> None:
    package.call()
    stored = package.stored()
    # An image has the files at another time.
    for path in package.sources.glob("*.py"):
        os.utime(path, (1e9, 1e9))
    package.lock_up(package.sources)
    assert package.call() == (21.0, 1, [])
    assert package.stored() == stored


def test_a_read_only_folder_without_some_of_the_code_is_told_once(package: Package) -> None:
    package.call()
    package.lock_up(package.sources)
    answer = package.call("total(2, 1) + 0 * total(2, 1.0)")
    assert answer[:2] == (21.0, 0)
    (line,) = answer.warnings
    assert line.startswith("Compiled code cannot be cached (")
    assert "Permission denied" in line
    assert "Set NUMBA_CACHE_DIR" in line


def test_nothing_can_be_written(package: Package) -> None:
    package.lock_up(package.sources, package.folder / "cache")
    answer = package.call()
    assert answer[:2] == (21.0, 0)
    (line,) = answer.warnings
    assert "Set NUMBA_CACHE_DIR to a folder that can be written to" in line
    assert package.stored() == set()


def test_a_kernel_that_is_in_no_file_runs(caplog: pytest.LogCaptureFixture) -> None:
    def double(x: float) -> float:
        return 2.0 * x

    double.__code__ = double.__code__.replace(co_filename="<nowhere>")
    kernel_cache.warn_uncached.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert kernel(double)(4.0) == 8.0
        assert kernel(double)(5.0) == 10.0
    (record,) = caplog.records
    assert "NUMBA_CACHE_DIR" in record.getMessage()


def test_every_kernel_is_in_the_digest() -> None:
    sources = {str(path) for path in kernel_cache.kernel_sources()}
    n_kernels = 0
    for module_info in pkgutil.walk_packages(vmanomaly.__path__, "vmanomaly."):
        if module_info.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module_info.name)).values():
            if isinstance(value, Dispatcher):
                n_kernels += 1
                used = (
                    value.py_func.__globals__.get(name) for name in value.py_func.__code__.co_names
                )
                functions = [value, *(each for each in used if isinstance(each, Dispatcher))]
                assert {each.py_func.__code__.co_filename for each in functions} <= sources
    assert n_kernels > 50


def test_another_signature_waits_while_one_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = []

    def save(self: FunctionCache, sig: object, data: object) -> None:
        with open(Path(self.cache_path) / "lock", "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(sig)

    monkeypatch.setattr(FunctionCache, "save_overload", save)

    @kernel
    def negative(x: float) -> float:
        return -x

    assert negative(1.0) == -1.0
    assert negative(1) == -1
    assert len(locked) == 2


def test_the_folders_used_last_are_kept(tmp_path: Path) -> None:
    def create(name: str, used_at: float) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in ("a.f-m-1.py311.nbi", "a.f-m-1.py311.1.nbc", "a.f-m-1.nbi.tmp.0ab1", "lock"):
            (folder / file).touch()
        os.utime(folder, (used_at, used_at))
        return folder

    old = [create(f"vmanomaly-kernels-{n:016x}", 1000 + n) for n in range(12)]
    used = create("vmanomaly-kernels-aaaaaaaaaaaaaaaa", 0)
    others = [
        create(name, 0)
        for name in (
            "vmanomaly-kernels-0123",
            "vmanomaly-kernels-0123456789abcdef0",
            "vmanomaly-kernels",
            "model_0123456789abcdef",
        )
    ]
    link = tmp_path / "vmanomaly-kernels-bbbbbbbbbbbbbbbb"
    link.symlink_to(others[0], target_is_directory=True)
    file = tmp_path / "vmanomaly-kernels-cccccccccccccccc"
    file.touch()
    kernel_cache.remove_old_folders(used)
    assert set(tmp_path.iterdir()) == {*old[4:], used, *others, link, file}
    assert all(len(list(folder.iterdir())) == 4 for folder in (*old[4:], used, *others))


def test_a_file_that_is_not_ours_is_left(tmp_path: Path) -> None:
    folders = [tmp_path / f"vmanomaly-kernels-{n:016x}" for n in range(10)]
    for age, folder in enumerate(folders):
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
        os.utime(folder, (1000 - age, 1000 - age))
    kernel_cache.remove_old_folders(folders[0])
    assert all((folder / "notes.txt").read_text() == "mine" for folder in folders)
