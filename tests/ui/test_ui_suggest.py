"""Suggest: a model from what the series are like, and by tuning."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.integration.servers import request, wait_until
from tests.ui.actions import address, button, day, state_of
from tests.ui.axe import violations
from tests.ui.site import Site

N_TRIALS = 16
UNTUNED_THRESHOLD = 77.7


def suggest(page: Page, site: Site, **state: str) -> Locator:
    page.goto(address(site, **{**day(site), **state}))
    button(page, "Suggest").click()
    return page.get_by_role("dialog", name="Suggest a model")


def spec_of(page: Page) -> dict[str, object]:
    config = json.loads(unquote(state_of(page)["model_config"]))
    spec: dict[str, object] = config["modelSpec"]
    return spec


def n_running(site: Site) -> int:
    _, body = request("GET", f"{site.url}/api/v1/anomaly_detection/limits")
    found: int = json.loads(body)["running"]
    return found


def test_series_with_a_daily_cycle_get_a_model_that_learns_it(page: Page, site: Site) -> None:
    dialog = suggest(page, site)
    card = dialog.get_by_role("region", name="Suggestion")
    # All three days that there are: longer histories have too few values.
    expect(dialog.get_by_label("History")).to_contain_text("longest there is (3d)")
    expect(card.get_by_role("heading")).to_have_text("Suggestion: Temporal envelope")
    expect(card).to_contain_text("4 of 4 series repeat each day, smoothly")
    expect(card).to_contain_text("3d cannot show a pattern of the week")
    expect(card.locator(".diff-line.added")).to_have_text(
        [re.compile(r"seasonalities: \[hod_smooth\]"), re.compile("fit_window: 2d")]
    )
    expect(card.locator(".diff-line.removed")).to_have_text([re.compile("fit_window: 1d")])
    button(card, "Decline").click()
    expect(dialog.get_by_text("Declined; nothing has changed.")).to_be_visible()
    assert "model_config" not in state_of(page)
    dialog.get_by_label("History").select_option("1d")
    # One day shows no cycle of a day.
    expect(card).to_contain_text("1d cannot show a pattern of the day")
    dialog.get_by_label("History").select_option("3d")
    expect(card).to_contain_text("repeat each day")
    button(card, "Apply").click()
    expect(dialog).to_have_count(0)
    assert spec_of(page) == {"class": "temporal_envelope", "seasonalities": ["hod_smooth"]}
    assert state_of(page)["fit_window"] == "2d"


def test_tuning_can_be_canceled_and_its_result_applied(page: Page, site: Site) -> None:
    # It is no result of tuning, so that there is something to apply whatever is found.
    spec = {
        "class": "zscore_online",
        "detection_direction": "above_expected",
        "z_threshold": UNTUNED_THRESHOLD,
    }
    dialog = suggest(page, site, model_config=json.dumps({"modelSpec": spec}))
    dialog.get_by_label("Class").select_option("zscore_online")
    share, seconds = dialog.get_by_label("Expected anomalies"), dialog.get_by_label("Time, in")
    share.fill("50")
    button(dialog, "Tune").click()
    expect(dialog.get_by_role("alert")).to_contain_text("below 50 %")
    share.fill("0,5")
    seconds.fill("600")
    # A double click does not cancel what it has started.
    button(dialog, "Tune").dblclick()
    expect(dialog.locator("progress")).to_be_visible()
    wait_until(lambda: n_running(site) == 1, "the start of the task")
    button(dialog, "Cancel").click()
    expect(dialog.get_by_text("Tuning was canceled.")).to_be_visible()
    wait_until(lambda: n_running(site) == 0, "the end of the canceled task")

    asked: dict[str, Any] = {}

    def start(route: Route) -> None:
        asked.update(route.request.post_data_json or {})
        # What a time is enough for depends on the machine; this finds the same on any.
        route.continue_(post_data=asked | {"optimization_params": {"n_trials": N_TRIALS}})

    page.route(re.compile("/autotune/tasks$"), start)
    seconds.fill("6")
    with page.expect_response(re.compile("/autotune/tasks$")):
        button(dialog, "Tune").click()
    assert asked["frozen_params"] == {"detection_direction": "above_expected"}
    card = dialog.get_by_role("region", name="Tuned")
    expect(card).to_contain_text(f"{N_TRIALS} trials on 4 series", timeout=120_000)
    assert (asked["anomaly_percentage"], asked["step"]) == (0.005, "5m")
    assert asked["optimization_params"] == {"timeout": 6}
    expect(card).to_contain_text(re.compile("[tT]he loss is|whose loss is"))
    expect(card).to_contain_text("at most 0.5% were expected")
    button(card, "Apply").click()
    tuned = spec_of(page)
    assert tuned["class"] == "zscore_online"
    assert tuned["detection_direction"] == "above_expected"
    assert tuned.get("z_threshold") != UNTUNED_THRESHOLD


def test_nothing_is_suggested_for_nothing(page: Page, site: Site) -> None:
    dialog = suggest(page, site, **{"g0_expr": "no_such_metric"})
    expect(dialog.get_by_text("There is nothing to suggest")).to_be_visible()
    expect(dialog).to_contain_text("The query matched no series in the 14d")
    expect(button(dialog, "Tune")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_suggestions_fit_a_narrow_window_and_all_readers(
    page: Page, site: Site, theme: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": 360, "height": 800})
    dialog = suggest(page, site)
    expect(dialog.locator(".diff")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
