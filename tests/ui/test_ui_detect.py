"""Detect mode: a run, its plot and counts, what acts at once, and what can be taken away."""

from __future__ import annotations

import csv
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.integration.servers import request, wait_until
from tests.ui.actions import (
    address,
    button,
    day,
    detect,
    iso,
    state_of,
    summary,
    wait_for_result,
    wait_for_rows,
)
from tests.ui.site import EXPR, HOSTS, SPIKES, Site

OPENED = "dialog[open], .popover-panel"
TASKS = "**/api/v1/anomaly_detection/tasks"


def minutes(site: Site) -> dict[str, str]:
    return {**day(site), "g0_step_input": "1m"}


def choose(page: Page, setting: str, value: str) -> None:
    """Set one of the advanced settings."""
    page.get_by_role("button", name=re.compile(f"^{setting}:")).click()
    field = page.locator(".popover-panel input")
    field.fill(value)
    field.press("Enter")


def test_a_run_finds_the_spike_and_settings_act_at_once(page: Page, site: Site) -> None:
    started: list[str] = []
    page.on("request", lambda each: started.append(each.url) if each.method == "POST" else None)
    page.goto(address(site, **minutes(site), advanced_open="true"))
    wait_for_rows(page, len(HOSTS))
    assert started == [], "a detection only when it is asked for"
    detect(page)
    found = summary(page)
    assert found["Anomalous series"].startswith("1 / 4 ")
    assert found["Anomalous points"].startswith(f"{SPIKES} / ")
    assert found["Streaks"] == "1 / 1 (100%)"
    expect(page.locator(".series-name")).to_contain_text('host="web-1"')
    expect(page.locator("tr.selected")).to_contain_text("web-1")

    choose(page, "Streaks", str(SPIKES + 1))
    expect(page.locator(".summary dd").first).to_have_text("0 / 4 (0%)")
    choose(page, "Streaks", str(SPIKES))
    expect(page.locator(".summary dd").first).to_have_text("1 / 4 (25%)")
    choose(page, "Threshold", "1000")
    expect(page.locator(".summary dd").first).to_have_text("0 / 4 (0%)")
    choose(page, "Threshold", "0,5")
    assert len(started) == 1
    state = state_of(page)
    assert state["anomaly_threshold"] == "0.5"
    assert (state["anomaly_consecutive"], state["anomaly_consecutive_n"]) == ("true", str(SPIKES))
    assert state["mode"] == "detect"

    score = button(page, "anomaly_score")
    expect(score).to_have_attribute("aria-pressed", "false")
    score.click()
    expect(score).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Filter series").fill("anomalies > 0")
    wait_for_rows(page, 1)


def test_several_series_can_be_compared(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    detect(page)
    rows = page.locator(".series-table tbody tr:not(.space)")
    for index in range(len(HOSTS)):
        if "selected" not in (rows.nth(index).get_attribute("class") or ""):
            rows.nth(index).click(modifiers=["Control"])
    expect(page.locator(".small-charts canvas")).to_have_count(len(HOSTS))
    rows.nth(1).click()
    expect(page.locator(".chart canvas")).to_have_count(1)


def test_a_change_marks_the_result_out_of_date_and_a_reload_does_not_run(
    page: Page, site: Site
) -> None:
    page.goto(address(site, **minutes(site), advanced_open="true"))
    detect(page)
    choose(page, "Fit window", "6h")
    expect(page.get_by_text("This result is out of date")).to_be_visible()
    expect(page.locator(".summary")).to_be_visible()
    expect(button(page.locator(".panel-actions"), "Run again")).to_be_visible()
    choose(page, "Fit window", "1d")
    expect(page.get_by_text("This result is out of date")).to_have_count(0)
    page.reload()
    expect(page.locator(".empty")).to_contain_text("Nothing has been detected yet")
    button(page, "Execute query").click()
    wait_for_rows(page, len(HOSTS))
    expect(page.locator(".summary")).to_have_count(0)


def test_another_range_shows_the_values_there_around_the_old_result(page: Page, site: Site) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    # A slow service: the run is over before it has said what its datasource is.
    page.route("**/server/datasource", hold, times=1)
    page.goto(address(site, **{**minutes(site), "g0_range_input": "6h"}))
    detect(page)
    held[0].continue_()
    expect(page.locator(".badge").first).to_have_attribute("title", site.vm.url)
    counted = summary(page)
    asked = f"**/api/v1/query?*start={site.end // 1000 - 86_400}*"
    with page.expect_response(asked) as answer:
        button(page, "Time range").click()
        page.get_by_label("From").fill(iso(site.end // 1000 - 86_400).replace("T", " "))
        button(page.locator(".range-form"), "Apply").click()
    assert len(answer.value.json()["data"]["result"]) == len(HOSTS)
    expect(page.get_by_text("This result is out of date")).to_be_visible()
    assert summary(page) == counted
    # Left of the result there is the value, and nothing that a model says.
    places = itertools.cycle((60, 90))

    def has_only_the_value() -> bool:
        # The plot may not have been drawn again yet.
        page.locator(".u-over").first.hover(position={"x": next(places), "y": 100})
        return page.locator(".tooltip-row").count() == 1

    wait_until(has_only_the_value, "the value before the result")
    expect(page.locator(".tooltip-row")).to_contain_text("y")


def test_a_canceled_run_frees_its_slot(page: Page, site: Site) -> None:
    # So slow that it is still running: each minute a fit.
    slow = {**minutes(site), "fit_every": "1m", "g0_range_input": "1d", "fit_window": "1d"}
    page.goto(address(site, **slow))
    button(page, "Detect anomalies").click()
    expect(page.locator(".progress")).to_contain_text(re.compile(r"\d+% · .*chunk \d+ of \d+"))
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.locator(".panel-actions").get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text("The detection was canceled.")).to_be_visible()
    expect(page.locator(".summary")).to_have_count(0)
    wait_until(lambda: n_running(site) == 0, "the end of the canceled task")
    button(page, "Detect anomalies").click()
    expect(page.locator(".progress")).to_contain_text("chunk")
    assert n_running(site) == 1
    # Who leaves cancels too.
    page.goto("about:blank")
    wait_until(lambda: n_running(site) == 0, "the end of the task that nobody waits for")


def n_running(site: Site) -> int:
    _, body = request("GET", f"{site.url}/api/v1/anomaly_detection/limits")
    found: int = json.loads(body)["running"]
    return found


def test_full_slots_are_said_and_can_be_retried(page: Page, site: Site) -> None:
    page.route(TASKS, lambda route: route.fulfill(status=429, json={"error": "full", "detail": []}))
    limits = {"max_concurrent": 2, "running": 2, "available": 0}
    page.route("**/anomaly_detection/limits", lambda route: route.fulfill(json=limits))
    page.goto(address(site, **minutes(site)))
    button(page, "Detect anomalies").click()
    expect(page.get_by_text("2 of 2 detections are running already")).to_be_visible()
    page.unroute(TASKS)
    button(page, "Retry").click()
    wait_for_result(page)


def test_what_the_service_refuses_is_said(page: Page, site: Site) -> None:
    page.goto(address(site, **minutes(site), model_config=model({"class": "std", "period": -1})))
    button(page, "Detect anomalies").click()
    expect(page.get_by_role("alert")).to_contain_text("period")


def test_a_dear_run_asks_first(page: Page, site: Site) -> None:
    said: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.goto(address(site, **{**day(site), "g0_range_input": "90d", "g0_step_input": "1s"}))
    button(page, "Detect anomalies").click()
    assert "7,862,400 points" in said[0]
    page.keyboard.press("Control+Shift+Enter")
    assert len(said) == 2, "by keyboard too"
    expect(page.locator(".progress")).to_have_count(0)


def model(spec: dict[str, object]) -> str:
    """Write a model as the reference does, encoded once: the address does it again."""
    written = {"modelType": spec["class"], "settings": {}, "modelSpec": spec, "isValidated": True}
    return quote(json.dumps(written))


def test_a_link_of_the_reference_opens(page: Page, site: Site) -> None:
    spec = {
        "class_name": "model.rolling_quantile.RollingQuantileModel",
        "class": "rolling_quantile",
        "quantile": 0.9,
        "window_steps": 60,
    }
    page.goto(
        address(
            site,
            **minutes(site),
            g0_tab="0",
            g0_relative_time="none",
            g0_tenantID="0",
            datasourceUrl=site.vm.url,
            anomaly_threshold="1.5",
            anomaly_consecutive="true",
            fit_window="12h",
            fit_every="6h",
            model_config=model(spec),
        )
    )
    expect(button(page, "Model class: Rolling quantile")).to_be_visible()
    with page.expect_request(lambda request: request.method == "POST") as started:
        button(page, "Detect anomalies").click()
    body = started.value.post_data_json
    assert body is not None
    assert body["model_spec"] == {"class": "rolling_quantile", "quantile": 0.9, "window_steps": 60}
    assert (body["fit_window"], body["fit_every"], body["query"]) == ("12h", "6h", EXPR)
    assert (body["end_infer_s"], body["step"]) == (site.end // 1000, "1m")
    wait_for_result(page)


def test_another_class_keeps_the_domain_knowledge(page: Page, site: Site) -> None:
    spec = {
        "class": "std",
        "period": 24,
        "data_range": [0, "inf"],
        "detection_direction": "above_expected",
    }
    page.goto(address(site, **minutes(site), model_config=model(spec)))
    button(page, "Model class: Seasonal standard deviation").click()
    page.get_by_label("Search model classes").fill("mad")
    expect(page.locator(".choices [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(button(page, "Model class: Online MAD")).to_be_visible()
    kept = json.loads(unquote(state_of(page)["model_config"]))
    assert kept["modelSpec"] == {
        "class": "mad_online",
        "data_range": [0, "inf"],
        "detection_direction": "above_expected",
    }


def taken(page: Page, item: str, folder: Path) -> str:
    """Return a file of the menu More."""
    button(page, "More").click()
    with page.expect_download() as downloading:
        button(page.locator(".menu"), item).click()
        if "plot" not in item:
            dialog = page.get_by_role("dialog", name=item)
            if item == "Generated YAML":
                dialog.get_by_label("Model only").uncheck()
                expect(dialog.locator("pre")).to_contain_text("reader:")
            button(dialog, "Download").click()
    path = folder / downloading.value.suggested_filename
    downloading.value.save_as(path)
    page.keyboard.press("Escape")
    return path.read_text()


def test_from_the_empty_page_to_a_config_and_an_alert_that_run(
    page: Page, site: Site, tmp_path: Path
) -> None:
    page.goto(f"{site.url}/vmui/")
    expect(page.locator(".cm-content")).to_have_text(EXPR)
    button(page, "Execute query").click()
    wait_for_rows(page, len(HOSTS))
    detect(page)
    taken(page, "Generated YAML", tmp_path)
    taken(page, "Example alert", tmp_path)
    dry = subprocess.run(
        [sys.executable, "-m", "vmanomaly", "--dryRun", str(tmp_path / "config.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert dry.returncode == 0, dry.stdout + dry.stderr
    checked = subprocess.run(
        ["vmalert", "-dryRun", f"-rule={tmp_path / 'alert-rule.yaml'}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_plot_can_be_taken_away(page: Page, site: Site, tmp_path: Path) -> None:
    page.goto(address(site, **day(site)))
    detect(page)
    text = taken(page, "Download plot data (CSV)", tmp_path)
    rows = list(csv.DictReader(text.splitlines()))
    outputs = {"y", "yhat", "yhat_lower", "yhat_upper", "anomaly_score"}
    assert {row["output"] for row in rows} == outputs
    assert len(rows) == len(outputs) * len(HOSTS) * 288
    document = json.loads(taken(page, "Download plot data (JSON)", tmp_path))
    assert len(document["series"]) == len(HOSTS)
    assert document["asked"]["expr"] == EXPR


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, site: Site, scheme: str) -> None:
    axe = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(address(site, **day(site), advanced_open="true"))
    wait_for_rows(page, len(HOSTS))
    page.evaluate(axe.read_text())

    def findings(part: str = "html") -> list[str]:
        found = page.evaluate("part => axe.run(part)", part)
        return [
            f"{each['id']}: {each['help']}: {node['html']}: {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    assert findings() == []
    detect(page)
    assert findings() == []
    for name in ("Settings", "Help", "Queries", "Time range: .*"):
        page.get_by_role("button", name=re.compile(f"^{name}$")).click()
        page.locator(OPENED).first.wait_for()
        # What is around it was looked at before.
        assert findings(OPENED) == [], name
        page.keyboard.press("Escape")


def test_a_narrow_page_does_not_scroll_sideways(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(address(site, **day(site), advanced_open="true"))
    detect(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
