"""Lines that are drawn as pixels, compared with what the canvas strokes."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.ui.actions import address, button, day, wait_for_rows
from tests.ui.site import Site

N_LINES, N_POINTS = 9, 1100

READ = """() => {
  const canvas = document.querySelector('.chart canvas');
  const over = document.querySelector('.u-over');
  const [inner, all] = [over, canvas].map((each) => each.getBoundingClientRect());
  const ratio = canvas.width / all.width;
  const box = [inner.left - all.left, inner.top - all.top, inner.width, inner.height];
  window.before = window.after;
  window.after = canvas.getContext('2d').getImageData(...box.map((each) => each * ratio)).data;
}"""
# How much is covered, how much of it differs, and how many pixels of both have other colors.
COMPARE = """() => {
  let covered = 0, apart = 0, solid = 0, otherColors = 0;
  for (let at = 0; at < window.after.length; at += 4) {
    const [a, b] = [window.before, window.after].map((all) => all.slice(at, at + 4));
    covered += a[3] / 255;
    apart += Math.abs(a[3] - b[3]) / 255;
    if (Math.min(a[3], b[3]) < 240) continue;
    solid += 1;
    if (Math.max(...[0, 1, 2].map((part) => Math.abs(a[part] - b[part]))) > 40) otherColors += 1;
  }
  return { covered, apart, solid, otherColors };
}"""


def series(site: Site) -> list[dict[str, Any]]:
    """Return waves from steep to gentle, one with a gap."""
    end = site.end // 1000
    result = []
    for number in range(N_LINES):
        values: list[list[Any]] = []
        for index in range(N_POINTS):
            value = 20 * number + 15 * math.sin(index / (5 + 12 * number))
            if not (number == 2 and 300 < index < 500):
                values.append([end - (N_POINTS - 1 - index) * 60, f"{value:.3f}"])
        result.append({"metric": {"line": str(number)}, "values": values})
    return result


def wait_for_plot(page: Page, n_lines: int) -> None:
    """Wait until that many lines are drawn, which is a frame after they are listed."""
    wait_for_rows(page, n_lines)
    page.locator(f".chart-canvas[aria-label^='Plot of {n_lines} '] canvas").wait_for()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")


# The second is so wide that the page is scaled.
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (2600, 700)])
def test_many_points_look_as_few_do(page: Page, site: Site, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    lines = series(site)
    # A line without a value makes them too many to be stroked, and changes nothing else.
    empty = {"metric": {"line": "none"}, "values": [[site.end // 1000, "NaN"]]}
    answers = [lines, [*lines, empty]]
    data = [
        json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
        for result in answers
    ]
    page.route(re.compile(r"/api/v1/query\?"), lambda route: route.fulfill(body=data.pop(0)))
    page.goto(address(site, **{**day(site), "g0_range_input": f"{N_POINTS}m"}))
    wait_for_plot(page, N_LINES)
    page.evaluate(READ)
    button(page, "Execute query").click()
    wait_for_plot(page, N_LINES + 1)
    page.evaluate(READ)
    found = page.evaluate(COMPARE)
    assert found["covered"] > 20_000
    assert 0 < found["apart"] / found["covered"] < 0.1
    assert found["solid"] > found["covered"] / 4
    assert found["otherColors"] < 0.02 * found["solid"]
