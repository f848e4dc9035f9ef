"""Takes the pictures of docs/ui.md: `python -m tests.ui.pictures`."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.ui.actions import address, button, day, detect, wait_for_rows
from tests.ui.scores import OURS, scores
from tests.ui.site import HOSTS, Site, database, service

FOLDER = Path(__file__).parents[2] / "docs/images/ui"
N_FREQUENT = 128
SPEC = {"class": "temporal_envelope", "forecast_at": ["3h"]}


def opened(browser: Browser, scheme: str, width: int, height: int) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id="UTC",
        locale="en-US",
    )
    return context.new_page()


def save(page: Page, name: str, *, is_whole: bool = True) -> None:
    """Save a picture in 256 colors, which takes a third of the space."""
    taken = Image.open(io.BytesIO(page.screenshot(full_page=is_whole))).convert("RGB")
    pixels = np.asarray(taken).reshape(-1, 3)
    colors, index, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    frequent = colors[np.argsort(-counts)[:N_FREQUENT]]
    # This method finds those that are rare but far from others.
    found = taken.quantize(256 - N_FREQUENT, Image.Quantize.MAXCOVERAGE).getpalette()
    palette = np.concatenate([frequent, np.reshape(found or [], (-1, 3))]).astype(np.int64)
    distances = ((colors[:, np.newaxis] - palette) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1).astype(np.uint8)[index.ravel()]
    few = Image.fromarray(nearest.reshape(taken.height, taken.width))
    few.putpalette(palette.ravel().tolist())
    few.save(FOLDER / f"{name}.png", optimize=True)


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
        save(page, f"query-{scheme}")
        page.goto("about:blank")
        page.goto(address(site, **run))
        detect(page)
        page.locator(".u-over").hover(position={"x": 330, "y": 160})
        save(page, f"detect-{scheme}")
        rows = page.locator(".series-table tbody tr:not(.space)")
        for index in (0, 2, 3):
            rows.nth(index).click(modifiers=["Control"])
        page.evaluate("scrollTo(0, 0)")
        save(page, f"compare-{scheme}")
        button(page, "Queries").click()
        save(page, f"queries-{scheme}", is_whole=False)
        page.keyboard.press("Escape")
        button(page, "Edit config").click()
        page.locator(".field-row").first.wait_for()
        save(page, f"wizard-{scheme}", is_whole=False)
        page.context.close()
        take_suggestions(opened(browser, scheme, 1280, 960), site, scheme)
        take_tabs(opened(browser, scheme, 1280, 800), site, scheme)
    for scheme, suffix in (("light", ""), ("dark", "-dark")):
        page = opened(browser, scheme, 360, 740)
        page.goto(address(site, **run))
        detect(page)
        save(page, f"detect-narrow{suffix}")
        page.goto(f"{site.url}/vmui/#/incidents?{OURS}")
        page.locator(".series-plot").first.scroll_into_view_if_needed()
        page.locator(".series-plot .plot-y").first.wait_for(state="attached")
        save(page, f"incidents-narrow{suffix}")
        page.context.close()


def take_suggestions(page: Page, site: Site, scheme: str) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    button(page, "Suggest").click()
    dialog = page.get_by_role("dialog", name="Suggest a model")
    dialog.get_by_label("Time, in seconds").fill("2")
    button(dialog, "Tune").click()
    dialog.get_by_role("region", name="Tuned").wait_for(timeout=120_000)
    save(page, f"suggest-{scheme}", is_whole=False)
    page.context.close()


def take_tabs(page: Page, site: Site, scheme: str) -> None:
    page.goto(f"{site.url}/vmui/#/incidents?{OURS}")
    page.locator(".incident").nth(1).locator(".fold").click()
    page.locator(".series-plot .plot-y").nth(2).wait_for(state="attached")
    save(page, f"incidents-{scheme}")
    page.goto(f"{site.url}/vmui/#/health")
    page.locator(".health-head h2").wait_for()
    save(page, f"health-{scheme}")
    page.context.close()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        with database(folder) as (vm, end), service(folder, vm, end) as site:
            vm.import_series(scores(end))
            vm.force_flush()
            take(browser, site)
        browser.close()


if __name__ == "__main__":
    main()
