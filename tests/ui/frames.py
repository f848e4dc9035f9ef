"""How long frames take with many series: `python -m tests.ui.frames`."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, Route, sync_playwright

from tests.ui.actions import address, iso
from tests.ui.pictures import opened
from tests.ui.site import Site, database, service

SIZES = ((50, 10_000), (1000, 360))
STEP_S = 60
N_MOVES = 30

# Times between frames, in milliseconds, while something moves.
RECORD = """() => {
  window.frameTimes = [];
  let before = performance.now();
  const frame = (now) => {
    window.frameTimes.push(now - before);
    before = now;
    window.frameRequest = requestAnimationFrame(frame);
  };
  window.frameRequest = requestAnimationFrame((now) => { before = now; frame(now); });
}"""
STOP = "() => { cancelAnimationFrame(window.frameRequest); return window.frameTimes.slice(2); }"


def matrix(n_series: int, n_points: int, end: int) -> str:
    """Return the answer of a datasource."""
    times = [end - (n_points - 1 - index) * STEP_S for index in range(n_points)]
    result = [
        {
            "metric": {"__name__": "many", "series": str(number)},
            "values": [
                [at, f"{number + 10 * math.sin(index / 30 + number):.3f}"]
                for index, at in enumerate(times)
            ],
        }
        for number in range(n_series)
    ]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def report(name: str, page: Page) -> None:
    times = sorted(page.evaluate(STOP))
    p95 = times[int(0.95 * len(times))]
    print(  # noqa: T201
        f"{name}: {len(times)} frames, median {statistics.median(times):.1f} ms, "
        f"95% {p95:.1f} ms, longest {times[-1]:.1f} ms"
    )


def measure(page: Page, site: Site, n_series: int, n_points: int) -> None:
    end = site.end // 1000
    content = matrix(n_series, n_points, end)

    def answer(route: Route) -> None:
        route.fulfill(body=content, content_type="application/json")

    page.route("**/api/v1/query?*", answer)
    length = f"{n_points * STEP_S}s"
    state = {"g0_range_input": length, "g0_end_input": iso(end), "g0_step_input": f"{STEP_S}s"}
    page.goto(address(site, g0_expr="many", **state))
    page.locator(".series-table tbody tr:not(.space)").first.wait_for(timeout=60_000)
    size = f"{n_series} series x {n_points} points"
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2

    page.evaluate(RECORD)
    for move in range(N_MOVES):
        page.mouse.move(box["x"] + box["width"] * (move + 1) / (N_MOVES + 1), middle)
    report(f"{size}, hovering", page)

    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.keyboard.down("Control")
    page.evaluate(RECORD)
    for move in range(N_MOVES):
        page.mouse.wheel(0, -40 if move < N_MOVES / 2 else 40)
    page.keyboard.up("Control")
    report(f"{size}, zooming", page)

    page.locator(".table-scroll").hover()
    page.evaluate(RECORD)
    for _ in range(N_MOVES):
        page.mouse.wheel(0, 300)
    report(f"{size}, scrolling the table", page)
    page.unroute("**/api/v1/query?*", answer)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        with database(folder) as (vm, end), service(folder, vm, end) as site:
            for n_series, n_points in SIZES:
                page = opened(browser, "light", 1280, 900)
                measure(page, site, n_series, n_points)
                page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
