"""Small rules of the page: what folds, what the keys are, what is kept and what is not."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.ui.actions import (
    address,
    button,
    day,
    detect,
    state_of,
    wait_for_result,
    wait_for_rows,
)
from tests.ui.conftest import BUILT
from tests.ui.site import EXPR, HOSTS, Site

QUERIES = re.compile(r"/api/v1/query\?")
TASKS = "/anomaly_detection/tasks"
WHEEL = """(over, n_times) => {
  const { x, y, width } = over.getBoundingClientRect();
  const at = { clientX: x + width / 2, clientY: y + 60, deltaY: -100, ctrlKey: true };
  for (let count = 0; count < n_times; count += 1) {
    over.dispatchEvent(new WheelEvent("wheel", { ...at, bubbles: true, cancelable: true }));
  }
}"""
BUDGET = 250_000
"""Bytes of JavaScript, compressed."""


def test_the_page_is_small_and_begins_without_the_editor() -> None:
    sizes = {
        path.name: len(gzip.compress(path.read_bytes()))
        for path in Path(BUILT.parent / "assets").glob("*.js")
    }
    assert sum(sizes.values()) < BUDGET, sizes
    first = {name for name in sizes if name in BUILT.read_text()}
    assert first
    assert not any(name.startswith("editor") for name in first)


def test_panels_fold_and_keep_their_buttons(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/vmui/")
    for panel, kept, hidden in (
        ("Query", "Execute query", page.locator(".query-field")),
        ("Model", "Detect anomalies", button(page, "Edit config")),
    ):
        fold = page.get_by_role("button", name=panel, exact=True)
        expect(hidden).to_be_visible()
        fold.click()
        expect(fold).to_have_attribute("aria-expanded", "false")
        expect(hidden).to_be_hidden()
        expect(button(page, kept)).to_be_visible()


@pytest.mark.parametrize(("platform", "key"), [("MacIntel", "⌘↵"), ("Linux x86_64", "Ctrl+Enter")])
def test_help_has_the_keys_of_the_platform(page: Page, site: Site, platform: str, key: str) -> None:
    page.add_init_script(f"Object.defineProperty(navigator, 'platform', {{ value: '{platform}' }})")
    page.goto(f"{site.url}/vmui/")
    page.get_by_role("button", name="Help", exact=True).click()
    expect(page.get_by_role("dialog", name="Help").locator("kbd").first).to_have_text(key)


def test_a_step_is_typed_or_chosen(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    button(page, "Step: 5m").click()
    field = page.get_by_label("Step", exact=True)
    field.fill("often")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Write a duration such as 90s, 5m or 1d.")
    field.fill("90")
    with page.expect_request(QUERIES) as asked:
        field.press("Enter")
    assert "step=90s" in asked.value.url
    button(page, "Step: 90s").click()
    with page.expect_request(QUERIES) as asked:
        page.locator(".suggestions").get_by_role("button", name="1h", exact=True).click()
    assert "step=1h" in asked.value.url
    assert state_of(page)["g0.step_input"] == "1h"


def test_micro_batches_are_of_online_models_only(page: Page, site: Site) -> None:
    exact = page.get_by_role("button", name=re.compile("^Exact"))
    page.goto(address(site, **day(site), advanced_open="true"))
    expect(exact).to_have_attribute("aria-pressed", "true")
    expect(button(page, "Infer every: step (5m)")).to_be_visible()
    button(page, "Model class:").click()
    page.get_by_role("option", name=re.compile("^Holt-Winters")).click()
    # What the class is appears with what it can do.
    said = page.get_by_role("region", name="Model").locator(".hint")
    expect(said).not_to_contain_text("calendar patterns")
    expect(said).to_be_visible()
    expect(exact).to_have_count(0)
    expect(button(page, "Infer every")).to_have_count(0)


def test_the_wheel_zooms_shift_moves_and_each_asks_once(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if QUERIES.search(each.url) else None)
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + 60
    page.mouse.move(x, y)
    page.mouse.wheel(0, -100)
    page.keyboard.down("Control")
    with page.expect_response(QUERIES):
        # At once: on a busy machine the pauses between gestures would be longer than a gesture's.
        page.locator(".u-over").evaluate(WHEEL, 3)
    page.keyboard.up("Control")
    assert len(asked) == 1, "without a key the wheel scrolls"
    expect(page.locator(".waiting-note")).to_have_count(0)
    length = lengths(asked[0])
    assert 0.4 < length / 86_400 < 0.6
    page.mouse.move(x, y)
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    with page.expect_response(QUERIES):
        page.mouse.up()
    page.keyboard.up("Shift")
    assert len(asked) == 2
    assert abs(lengths(asked[1]) - length) <= 1
    assert start_of(asked[1]) < start_of(asked[0])


def lengths(url: str) -> float:
    return float(re.findall(r"[?&]end=([\d.]+)", url)[0]) - start_of(url)


def start_of(url: str) -> float:
    return float(re.findall(r"[?&]start=([\d.]+)", url)[0])


def test_the_plot_grows_and_selected_rows_fill_it(page: Page, site: Site) -> None:
    times = [site.end // 1000 - 300 * step for step in range(289)][::-1]
    result = [
        {"metric": {"name": "low"}, "values": [[at, str(n)] for n, at in enumerate(times)]},
        {"metric": {"name": "high"}, "values": [[at, "100000"] for at in times]},
    ]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    page.route(QUERIES, lambda route: route.fulfill(json=answer))
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(result))
    canvas = page.locator(".chart canvas")
    before = canvas.evaluate("element => element.clientHeight")
    page.get_by_role("separator", name="Height of the plot").press("ArrowDown")
    page.wait_for_function(
        f"() => document.querySelector('.chart canvas')?.clientHeight === {before + 20}"
    )
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    # Where the lower one is at its highest.
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 60)
    dots = page.locator(".u-cursor-pt")
    height = "all => all[0].getBoundingClientRect().top"
    assert dots.evaluate_all(height) > box["y"] + 0.9 * box["height"]
    page.locator(".series-table tbody tr:not(.space)").nth(0).click()
    expect(dots).to_have_count(1)
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 61)
    assert dots.evaluate_all(height) < box["y"] + 0.2 * box["height"]
    button(page, "Full screen").click()
    page.wait_for_function("() => document.fullscreenElement?.className === 'chart'")


def test_a_dialog_stays_when_a_drag_ends_outside(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/vmui/")
    page.get_by_role("button", name="Settings", exact=True).click()
    dialog = page.get_by_role("dialog", name="Settings")
    field = dialog.get_by_label("Datasource", exact=True).bounding_box()
    assert field is not None
    page.mouse.move(field["x"] + 60, field["y"] + 10)
    page.mouse.down()
    page.mouse.move(20, 20, steps=3)
    page.mouse.up()
    expect(dialog).to_be_visible()
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    expect(dialog).to_contain_text(re.compile(r"UTC\+0[12]:00"))
    page.on("dialog", lambda asked: asked.accept())
    page.mouse.click(20, 20)
    expect(dialog).to_have_count(0)


def test_no_login_is_kept_and_only_preferences_are(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if QUERIES.search(each.url) else None)
    with_login = site.vm.url.replace("://", "://me:sesame@")
    page.goto(address(site, **day(site), datasourceUrl=with_login))
    wait_for_rows(page, len(HOSTS))
    button(page, "Advanced settings").click()
    kept = page.evaluate("JSON.stringify(Object.entries(localStorage))")
    assert {name for name, _ in json.loads(kept)} <= {
        "vmanomaly.preferences",
        "vmanomaly.history",
        "vmanomaly.saved",
    }
    assert not any("sesame" in text for text in (page.url, kept, page.content(), *asked))


def test_a_very_long_address_is_said(page: Page, site: Site) -> None:
    page.goto(address(site, g0_expr=f'up{{a="{"x" * 8100}"}}', mode="detect"))
    expect(page.get_by_text("The address of this page is very long")).to_be_visible()
    with page.expect_download() as downloading:
        button(page, "Download state").click()
    assert json.loads(downloading.value.path().read_text())["mode"] == "detect"


def test_what_can_be_taken_away_is_said_and_copied_on_plain_http(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/vmui/".replace("127.0.0.1", "vm.test", 1))
    button(page, "More").click()
    menu = page.locator(".menu")
    for name in ("CSV", "JSON"):
        expect(button(menu, f"Download plot data ({name})")).to_be_disabled()
    button(menu, "Show current config").click()
    dialog = page.get_by_role("dialog", name="Current model config")
    spec = json.loads(dialog.locator("pre").inner_text())
    assert spec["class"] == "temporal_envelope"
    assert "iqr_threshold" in spec, "with all defaults"
    button(dialog, "Copy").click()
    expect(dialog.get_by_role("status")).to_have_text("Copied")


def test_completion_can_be_switched_off(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/vmui/")
    field = page.locator(".cm-content")
    expect(field).to_have_attribute("aria-autocomplete", "list")
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("Complete names while typing").uncheck()
    button(page, "Apply").click()
    expect(field).not_to_have_attribute("aria-autocomplete", "list")


def test_queries_are_saved_for_later_visits(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    button(page, "Queries").click()
    drawer = page.get_by_role("dialog", name="Queries")
    button(drawer, "Save this query").click()
    page.reload()
    button(page, "Queries").click()
    button(drawer, "Saved (1)").click()
    expect(drawer.locator("code")).to_have_text(EXPR)
    button(drawer, "Forget this query").click()
    expect(button(drawer, "Saved (0)")).to_be_visible()


def test_minimum_deviations_are_drawn_where_that_is_wanted(page: Page, site: Site) -> None:
    spec = {"class": "zscore_online", "min_dev_from_expected": [0, 20]}
    config = json.dumps({"modelType": "zscore_online", "modelSpec": spec})
    page.goto(address(site, **day(site), advanced_open="true", model_config=config))
    detect(page)
    layer = page.locator(".legend-item.layer-boundaries")
    expect(layer).to_have_attribute("aria-pressed", "false")
    button(page, "Business boundaries").click()
    expect(layer).to_have_attribute("aria-pressed", "true")
    assert state_of(page)["business_boundaries"] == "true"
    page.locator(".u-over").hover(position={"x": 300, "y": 200})
    expect(page.locator(".tooltip-name", has_text="min deviation, upper")).to_be_visible()
    rows = dict(text.split("\n") for text in page.locator(".tooltip-row").all_inner_texts())
    assert abs(float(rows["min deviation, upper"]) - float(rows["yhat"]) - 20) < 0.01


def test_at_most_six_series_are_compared(page: Page, site: Site) -> None:
    copies = ", ".join(f'label_set({EXPR}, "copy", "{number}")' for number in "12")
    page.goto(address(site, **{**day(site), "g0_expr": f"union({copies})"}))
    detect(page)
    rows = page.locator(".series-table tbody tr:not(.space)")
    expect(rows).to_have_count(2 * len(HOSTS))
    for index in range(2 * len(HOSTS)):
        if "selected" not in (rows.nth(index).get_attribute("class") or ""):
            rows.nth(index).click(modifiers=["Control"])
    expect(page.locator(".small-charts canvas")).to_have_count(6)


def test_nothing_moves_for_who_wants_no_motion(page: Page, site: Site) -> None:
    moving = """() => [...document.querySelectorAll("*")].filter((element) => {
        const style = getComputedStyle(element);
        const lasts = `${style.transitionDuration},${style.animationDuration}`.split(",");
        return lasts.some((each) => parseFloat(each) > 0) && style.transitionProperty !== "none";
    }).length"""
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


def test_a_double_click_starts_once_and_cancels_nothing(page: Page, site: Site) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(QUERIES, hold)
    page.goto(address(site, **day(site), mode="detect"))
    button(page, "Execute query").dblclick()
    expect(button(page, "Cancel query")).to_be_visible()
    button(page, "Cancel query").dblclick()
    expect(button(page, "Execute query")).to_be_visible()
    assert len(held) == 1
    started: list[str] = []
    page.on("request", lambda each: started.append(each.method) if TASKS in each.url else None)
    button(page, "Detect anomalies").dblclick()
    wait_for_result(page)
    assert (started.count("POST"), started.count("DELETE")) == (1, 0)


def test_what_is_typed_before_the_editor_is_there_goes_on_in_it(page: Page, site: Site) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/assets/editor-*.js", hold)
    page.goto(address(site, g0_expr="sum", g0_range_input="1h"))
    plain = page.locator(".plain-query")
    plain.focus()
    page.keyboard.press("End")
    page.keyboard.type("(ui")
    held[0].continue_()
    expect(plain).to_have_count(0)
    page.keyboard.type("_requests")
    expect(page.locator(".cm-content")).to_have_text("sum(ui_requests")


def test_on_a_phone_nothing_that_is_said_is_out_of_view(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    over = page.locator(".u-over")
    for x in (10, 120, 200):
        over.hover(position={"x": x, "y": 80})
        page.locator(".tooltip").wait_for()
        box = page.locator(".tooltip").bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 360
    button(page, "Edit config").click()
    page.get_by_role("button", name=re.compile("^Class:")).click()
    page.locator(".dialog .choice").first.wait_for()
    body = page.locator(".dialog-body")
    assert body.evaluate("element => element.scrollWidth <= element.clientWidth")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("Datasource", exact=True).fill("http://127.0.0.1:1/")
    button(page, "Apply").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_in_viewport(ratio=0.9)


def test_a_run_goes_on_while_another_tab_of_the_page_is_looked_at(page: Page, site: Site) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto(address(site, **day(site), mode="detect"))
    # Asked for once, it is still running.
    page.route(f"**{TASKS}/*", hold, times=1)
    button(page, "Detect anomalies").click()
    expect(page.locator(".progress")).to_be_visible()
    page.get_by_role("link", name="Incidents").click()
    expect(page.get_by_label("Threshold", exact=True)).to_be_visible()
    page.get_by_role("link", name="Anomaly exploration").click()
    expect(page.locator(".progress")).to_be_visible()
    held[0].continue_()
    wait_for_result(page)


def test_what_one_tab_keeps_the_other_does_not_lose(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    other = page.context.new_page()
    other.goto(address(site, **{**day(site), "g0_expr": 'ui_requests{host="db-1"}'}))
    for each, n_saved in ((page, 1), (other, 2)):
        # A hidden one is drawn, and so clicked, about once a second.
        each.bring_to_front()
        button(each, "Queries").click()
        drawer = each.get_by_role("dialog", name="Queries")
        button(drawer, "Save this query").first.click()
        expect(button(drawer, f"Saved ({n_saved})")).to_be_visible()
    expect(button(page, "Saved (2)")).to_be_visible()


def test_it_is_said_that_nothing_could_be_learned(page: Page, site: Site) -> None:
    # Values that are infinite are none that a model could learn.
    page.goto(address(site, **{**day(site), "g0_expr": f"{EXPR} / 0"}))
    detect(page)
    expect(page.locator(".results .notice")).to_contain_text("No point has a score")
    expect(page.locator(".results .notice")).to_contain_text("the 1d before each fit")
