"""`vmanomaly demo` as a user runs it, and its report in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "vmanomaly-demo"
    command = [sys.executable, "-m", "vmanomaly", "demo", "--directory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout + done.stderr


def test_the_planted_incidents_are_found(demo: tuple[Path, str]) -> None:
    _, printed = demo
    assert "Traceback" not in printed
    pattern = r"temporal_envelope: found (\d+) of (\d+); (\d+) false alarms on 20 series"
    found, planted, false = map(int, re.findall(pattern, printed)[0])
    assert planted == 12
    assert found >= 7
    assert false <= 6
    assert set(re.findall(r"(\d+) series", printed)) == {"20"}


def test_the_config_runs_again_by_itself(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    command = [sys.executable, "-m", "vmanomaly", "config.yaml", "--dryRun"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_report_opens_in_a_browser(demo: tuple[Path, str], tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    assert chromium is not None, "install the Debian package chromium"
    report = (demo[0] / "report.html").as_uri()
    base = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    dom = subprocess.run(
        [*base, "--dump-dom", report], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert dom.count("<svg") >= 20
    picture = tmp_path / "report.png"
    subprocess.run(
        [*base, "--window-size=1280,1750", f"--screenshot={picture}", report],
        capture_output=True,
        timeout=120,
        check=True,
    )
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 50_000, "an empty page makes a small picture"
