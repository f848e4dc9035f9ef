"""The tabs Incidents and Health."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.integration.servers import request, wait_until
from tests.ui.actions import button, state_of
from tests.ui.axe import violations
from tests.ui.scores import OURS, scores
from tests.ui.site import Site


@pytest.fixture(scope="module")
def scored(site: Site) -> Site:
    """The service, once its database has scores that others have written."""
    for each in scores(site.end):
        site.vm.import_series([each])
    site.vm.force_flush()
    wait_until(lambda: n_incidents(site) == 2, "the scores in answers of the database")
    return site


def n_incidents(site: Site) -> int:
    status, body = request("GET", f"{site.url}/api/v1/incidents?{OURS}")
    return int(json.loads(body)["data"]["n_incidents"]) if status == 200 else 0


@pytest.fixture
def incidents(page: Page, scored: Site) -> Page:
    page.goto(f"{scored.url}/vmui/#/incidents?{OURS}")
    page.locator(".incident").first.wait_for()
    return page


def facts(page: Page) -> dict[str, str]:
    names = page.locator(".summary dt").all_inner_texts()
    return dict(zip(names, page.locator(".summary dd").all_inner_texts(), strict=True))


def test_incidents_are_grouped_and_the_newest_is_open(incidents: Page, scored: Site) -> None:
    found = facts(incidents)
    assert (found["Ongoing"], found["In this range"]) == ("1", "2 incidents")
    assert found["Scores from"] == scored.vm.url
    now, before = (incidents.locator(".incident").nth(number) for number in (0, 1))
    expect(now).to_contain_text("ongoing")
    expect(now).to_contain_text("host=db-1")
    expect(now.locator(".series-plot .plot-y")).to_have_attribute("d", re.compile("^M.*L"))
    expect(now.locator(".plot-band")).to_have_attribute("d", re.compile("Z$"))
    expect(before).to_contain_text("2 series")
    expect(before.locator(".series-plot")).to_have_count(0)


def test_series_are_ranked_and_have_their_values(incidents: Page) -> None:
    before = incidents.locator(".incident").nth(1)
    fold = before.locator(".fold")
    fold.focus()
    incidents.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "true")
    names = before.locator(".incident-series-head .series-name")
    expect(names).to_have_text(["requests host=web-1", "requests host=web-2"])
    plot = before.locator(".series-plot").first
    expect(plot.locator(".plot-anomalies")).to_have_attribute("d", re.compile("^M"))
    expect(plot.locator(".plot-values")).to_have_text(
        "higher level: the values are above what is expected. The highest anomaly_score is 6."
    )
    expect(plot.get_by_role("img")).to_have_accessible_name(re.compile("web-1: higher level, from"))
    plot.hover()
    expect(plot.locator(".plot-values")).to_contain_text("yhat_upper 110")


def test_a_window_is_chosen_by_dragging_and_left_by_its_chip(incidents: Page) -> None:
    box = incidents.locator(".timeline").bounding_box()
    assert box is not None
    middle = box["y"] + 20
    incidents.mouse.move(box["x"] + 0.2 * box["width"], middle)
    incidents.mouse.down()
    incidents.mouse.move(box["x"] + 0.5 * box["width"], middle, steps=5)
    incidents.mouse.up()
    expect(incidents.locator(".incident")).to_have_count(1)
    state = state_of(incidents)
    assert 1.5 * 3600 < int(state["to"]) - int(state["from"]) < 2.2 * 3600
    incidents.go_back()
    expect(incidents.locator(".incident")).to_have_count(2)
    incidents.go_forward()
    expect(incidents.locator(".incident")).to_have_count(1)
    incidents.get_by_role("button", name=re.compile("Leave this window")).click()
    expect(incidents.locator(".incident")).to_have_count(2)


def test_filters_threshold_and_order_are_in_the_address(incidents: Page) -> None:
    field = incidents.get_by_label("Filter by label, query, model, scheduler or preset")
    field.fill("model=m")
    field.press("Enter")
    incidents.locator(".incident").nth(1).locator(".fold").click()
    button(incidents, "Most severe first").click()
    expect(incidents.locator(".incident").first).to_contain_text("2 series")
    threshold = incidents.get_by_label("Threshold")
    threshold.fill("3")
    threshold.press("Enter")
    expect(incidents.locator(".incident")).to_have_count(1)
    field.fill("preset=other")
    field.press("Enter")
    expect(incidents.locator(".empty h2")).to_have_text("No scores")
    wanted = {"model_alias": "m", "order": "severest", "threshold": "3", "preset": "other"}
    assert wanted.items() <= state_of(incidents).items()
    incidents.reload()
    expect(incidents.get_by_role("button", name=re.compile("Preset: other"))).to_be_visible()
    incidents.get_by_role("button", name=re.compile("Preset: other")).click()
    expect(incidents.locator(".incident")).to_have_count(1)


def test_a_threshold_can_be_typed_while_an_answer_comes(incidents: Page) -> None:
    threshold = incidents.get_by_label("Threshold")
    threshold.fill("3")
    with incidents.expect_response("**/api/v1/incidents?*"):
        # Not by a click, which would leave the field.
        button(incidents, "Look again").evaluate("element => element.click()")
    look = button(incidents, "Look again")
    expect(look).to_have_attribute("title", re.compile("every 30 seconds"))
    expect(threshold).to_have_value("3")
    threshold.press("Enter")
    expect(incidents.locator(".incident")).to_have_count(1)


def test_a_series_leads_to_its_model_and_to_grafana(incidents: Page) -> None:
    button(incidents, "Link to Grafana").click()
    incidents.get_by_label("Grafana", exact=True).fill("https://grafana.test/sub")
    button(incidents, "Apply").click()
    link = incidents.get_by_role("link", name="Grafana").first
    href = link.get_attribute("href")
    assert href is not None
    assert href.startswith("https://grafana.test/sub/explore?")
    assert 'host=\\"db-1\\"' in parse_qs(urlsplit(href).query)["panes"][0].replace('\\\\"', '\\"')
    incidents.get_by_role("link", name="Try the model").first.click()
    expect(incidents.locator(".cm-content")).to_have_text('ui_requests{env="test"}')
    state = state_of(incidents)
    assert state["mode"] == "detect"
    assert "zscore_online" in state["model_config"]


def test_a_database_that_does_not_answer_is_said(page: Page, scored: Site) -> None:
    page.goto(f"{scored.url}/vmui/#/?datasourceUrl=http%3A%2F%2F127.0.0.1%3A1")
    page.get_by_role("link", name="Incidents").click()
    expect(page.get_by_role("alert")).to_contain_text("127.0.0.1:1")
    expect(button(page, "Retry")).to_be_visible()


def test_the_health_of_the_service_is_told_in_words(page: Page, scored: Site) -> None:
    page.goto(f"{scored.url}/vmui/#/health")
    expect(page.locator(".health-head h2")).to_be_visible()
    schedulers = page.get_by_role("region", name="Table of scheduler")
    expect(schedulers).to_contain_text("daily")
    expect(schedulers).to_contain_text("periodic")
    models = page.get_by_role("region", name="Table of model")
    expect(models).to_contain_text(re.compile("[0-9]+ runs?"))
    expect(page.get_by_role("region", name="Table of written points")).to_contain_text("none")


@pytest.mark.parametrize("tab", [f"incidents?{OURS}", "health"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tabs_fit_a_narrow_window_and_all_readers(
    page: Page, scored: Site, tab: str, theme: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{scored.url}/vmui/#/{tab}")
    page.locator(".incident, .health-head").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
