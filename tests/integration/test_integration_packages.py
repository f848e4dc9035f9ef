"""What a release contains, built and installed as a user does it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SOURCES = (
    "src",
    "ui",
    "docs",
    "packaging",
    "LICENSE",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (CHECKOUT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(CHECKOUT / name, checkout / name, ignore=ignored)
        else:
            shutil.copy(CHECKOUT / name, checkout / name)
    run([checkout / "packaging/set-version.sh", "v3.2.1"])
    run([checkout / "packaging/build-packages.sh", checkout / "dist"])
    return checkout / "dist"


def run(command: list[str | Path]) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environ["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{environ['PATH']}"
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_packages_bear_the_version_of_the_tag(dist: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {
        "vmanomaly-3.2.1-py3-none-any.whl",
        "vmanomaly-3.2.1.tar.gz",
        "vmanomaly.cdx.json",
    }


def test_every_file_of_the_package_is_in_the_wheel_and_in_the_sdist(dist: Path) -> None:
    source = CHECKOUT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "vmanomaly/server/ui/index.html" in files, "built by make ui"
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert files <= set(wheel.namelist())
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        assert {f"vmanomaly-3.2.1/src/{file}" for file in files} <= set(sdist.getnames())


def test_the_bill_of_materials_lists_what_is_pinned(dist: Path) -> None:
    bill = json.loads((dist / "vmanomaly.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(part["name"].lower(), part["version"]) for part in bill["components"]}
    lines = (CHECKOUT / "requirements.lock").read_text().splitlines()
    pinned = {tuple(line.split()[0].split("==")) for line in lines if "==" in line}
    assert pinned
    assert pinned <= listed


def test_the_wheel_runs_in_a_new_environment(dist: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run([sys.executable, "-m", "venv", environment])
    pip = environment / "bin/pip"
    run([pip, "install", "--quiet", "--require-hashes", "-r", CHECKOUT / "requirements.lock"])
    run([pip, "install", "--quiet", "--no-deps", next(dist.glob("*.whl"))])
    program = environment / "bin/vmanomaly"
    assert run([program, "--version"]).strip().endswith("3.2.1")
    printed = run([program, "demo", "--directory", tmp_path / "demo"])
    assert "mad_online: found" in printed
