"""One database, one service and one browser for all tests of the UI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.integration.servers import wait_until
from tests.ui.site import EXPR, Site, database, service

# Long enough for a machine that runs other tests meanwhile.
TIMEOUT_MS = 60_000
BUILT = Path(__file__).parents[2] / "src/vmanomaly/server/ui/index.html"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert BUILT.is_file(), "the UI is not built; run: make ui"
    folder = tmp_path_factory.mktemp("ui")
    with database(folder) as (vm, end), service(folder, vm, end) as running:
        detect_once(running)
        yield running


def detect_once(site: Site) -> None:
    """Run a detection, so that no test waits until what it needs is compiled."""
    tasks = f"{site.url}/api/v1/anomaly_detection/tasks"
    end = site.end // 1000
    times = {"start_infer_s": end - 600, "end_infer_s": end, "fit_window": "1h"}
    asked = {"query": EXPR, "step": "1m", **times}
    task = urllib3.request("POST", tasks, json=asked, timeout=60).json()["task_id"]
    wait_until(
        lambda: urllib3.request("GET", f"{tasks}/{task}", timeout=60).json()["status"] == "done",
        "the end of a first detection",
        timeout_s=600,
    )


@pytest.fixture(scope="session")
def context(site: Site) -> Iterator[BrowserContext]:
    """Where pages are opened: in one process of the browser, which takes half the time."""
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            # Plain http on a host that is not loopback, where browsers allow less.
            args=[
                "--no-sandbox",
                "--host-resolver-rules=MAP vm.test 127.0.0.1",
                "--process-per-site",
            ],
        )
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, timezone_id="UTC", locale="en-US"
        )
        context.set_default_timeout(TIMEOUT_MS)
        # The process lives as long as it has a page, which is none of the UI.
        context.new_page().goto(f"{site.url}/health")
        yield context
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the console of the page said, which has to be nothing."""
    return []


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    others = set(context.pages)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    for each in set(context.pages) - others:
        each.unroute_all(behavior="ignoreErrors")
        # Routes and listeners end with a page, preferences and the history of queries do not.
        each.evaluate("() => { if (location.origin !== 'null') localStorage.clear(); }")
        each.close()
    # Browsers themselves tell of answers that are errors.
    unexpected = [each for each in complaints if "Failed to load resource" not in each]
    assert unexpected == []
