"""Takes the pictures of docs/ui.md: `python -m tests.ui.pictures`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.ui.actions import address, button, day, detect, wait_for_rows
from tests.ui.site import HOSTS, Site, database, service

FOLDER = Path(__file__).parents[2] / "docs/images/ui"
SPEC = {"class": "temporal_envelope", "forecast_at": ["3h"]}


def opened(browser: Browser, scheme: str, width: int, height: int) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id="UTC",
        locale="en-US",
    )
    return context.new_page()


def take(browser: Browser, site: Site) -> None:
    state = {**day(site), "g0_step_input": "1m"}
    model = json.dumps({"modelType": SPEC["class"], "modelSpec": SPEC})
    run = {**state, "advanced_open": "true", "fit_window": "2d", "model_config": model}
    for scheme in ("light", "dark"):
        page = opened(browser, scheme, 1280, 800)
        page.goto(address(site, **state))
        wait_for_rows(page, len(HOSTS))
        page.locator(".cm-content").wait_for()
        page.locator(".u-over").hover(position={"x": 500, "y": 120})
        page.screenshot(path=FOLDER / f"query-{scheme}.png", full_page=True)
        page.goto("about:blank")
        page.goto(address(site, **run))
        detect(page)
        page.locator(".u-over").hover(position={"x": 330, "y": 160})
        page.screenshot(path=FOLDER / f"detect-{scheme}.png", full_page=True)
        rows = page.locator(".series-table tbody tr:not(.space)")
        for index in (0, 2, 3):
            rows.nth(index).click(modifiers=["Control"])
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=FOLDER / f"compare-{scheme}.png", full_page=True)
        button(page, "Queries").click()
        page.screenshot(path=FOLDER / f"queries-{scheme}.png")
        page.context.close()
    page = opened(browser, "light", 360, 740)
    page.goto(address(site, **run))
    detect(page)
    page.screenshot(path=FOLDER / "detect-narrow.png", full_page=True)
    page.context.close()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        with database(folder) as (vm, end), service(folder, vm, end) as site:
            take(browser, site)
        browser.close()


if __name__ == "__main__":
    main()
