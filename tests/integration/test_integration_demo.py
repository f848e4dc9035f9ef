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
    pattern = r"temporal_envelope: found (\d+) of (\d+); (\d+) false alarms? on 20 series"
    found, planted, false = map(int, re.findall(pattern, printed)[0])
    assert planted == 12
    assert found >= 10
    assert false <= 3
    assert set(re.findall(r"(\d+) series", printed)) == {"20"}


def test_the_config_runs_again_by_itself(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    command = [sys.executable, "-m", "vmanomaly", "config.yaml", "--dryRun"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def browser(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "install the Debian package chromium"
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
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    return subprocess.run(
        [*base, *arguments], capture_output=True, text=True, timeout=120, check=True
    )


def test_the_report_opens_in_a_browser(demo: tuple[Path, str], tmp_path: Path) -> None:
    report = (demo[0] / "report.html").as_uri()
    opened = browser(tmp_path, "--dump-dom", report)
    assert "CONSOLE" not in opened.stderr
    assert opened.stdout.count("<svg") >= 20
    picture = tmp_path / "report.png"
    browser(tmp_path, "--window-size=1280,1750", f"--screenshot={picture}", report)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 50_000, "an empty page makes a small picture"


HOVER = """
<script>
addEventListener("load", () => {
  const view = document.querySelector(".view");
  const plot = view.querySelector(".plot").getBoundingClientRect();
  const at = { clientX: plot.left + plot.width / 2, clientY: plot.top + 20 };
  view.dispatchEvent(new PointerEvent("pointermove", at));
  document.title = `width ${document.documentElement.scrollWidth} of ${innerWidth}`;
});
</script></body>"""


def test_the_values_under_the_pointer_are_shown_and_a_narrow_page_does_not_scroll_sideways(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    page = (demo[0] / "report.html").read_text()
    # The policy of the page allows no script but its own.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    hovered = tmp_path / "hovered.html"
    hovered.write_text(page.replace("</body>", HOVER))
    opened = browser(tmp_path, "--window-size=420,900", "--dump-dom", hovered.as_uri())
    (values,) = re.findall(r'<div id="values"([^>]*)>(.*?)</div><script>', opened.stdout, re.DOTALL)
    assert "hidden" not in values[0]
    assert "2026-06-1" in values[1]
    for name in ("temporal_envelope", "mad_online", "yhat_upper", "incident_score"):
        assert name in values[1]
    (widths,) = re.findall(r"<title>width (\d+) of (\d+)</title>", opened.stdout)
    assert int(widths[0]) <= int(widths[1])
