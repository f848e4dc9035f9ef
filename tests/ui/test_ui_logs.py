"""Queries of logs: what the field completes, and how the datasource is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.loopback import Loopback
from tests.ui.actions import address
from tests.ui.site import Site
from tests.victorialogs import victorialogs


@pytest.fixture
def logs() -> Iterator[Loopback]:
    with victorialogs() as (logs, server):
        for level, path in (("error", "/a b"), ("info", "/c"), ("info", "/d")):
            logs.add({"_time": "2026-01-01T00:00:00Z", "level": level, "http.path": path})
        yield server


def test_fields_of_logs_and_their_values_are_completed(
    page: Page, site: Site, logs: Loopback
) -> None:
    page.goto(address(site, datasourceUrl=logs.url, datasource_type="vlogs", g0_range_input="1h"))
    expect(page.locator(".badge").first).to_have_text("VictoriaLogs")
    field = page.locator(".cm-content")
    expect(field).to_have_text("Query, such as * | stats by (level) count() as lines")
    options = page.locator(".cm-tooltip-autocomplete li")
    field.click()
    page.keyboard.type("lev")
    expect(options).to_have_text(["levelfield"])
    options.first.click()
    expect(field).to_have_text("level:")
    expect(options).to_have_text(["error", "info"])
    page.keyboard.type("inf")
    expect(options).to_have_text(["info"])
    options.first.click()
    expect(field).to_have_text("level:info")
    # A value that the language would take apart is quoted, once.
    page.keyboard.type(' http.path:="/a')
    expect(options).to_have_text(["/a b"])
    options.first.click()
    page.keyboard.type(" | sta")
    expect(options.first).to_have_text("statspipe")
    options.first.click()
    page.keyboard.type(" by (htt")  # The bracket closes by itself.
    expect(options.first).to_have_text("http.pathfield")
    options.first.click()
    expect(field).to_have_text('level:info http.path:="/a b" | stats by (http.path)')
    asked = [each.path for each in logs.requests if "/field_" in each.path]
    assert len(asked) == 3, "the fields, and the values of two, once each"


def test_what_is_typed_while_an_answer_is_awaited_is_completed(
    page: Page, site: Site, logs: Loopback
) -> None:
    waiting: list[Route] = []

    def wait(route: Route) -> None:
        waiting.append(route)

    page.route("**/field_values?*", wait)
    page.goto(address(site, datasourceUrl=logs.url, datasource_type="vlogs", g0_range_input="1h"))
    field = page.locator(".cm-content")
    expect(field).to_have_text(re.compile(r"^Query, such as \* "))
    field.click()
    with page.expect_request("**/field_values?*"):
        page.keyboard.type("http.path:")
    page.keyboard.type('="/a')
    waiting[0].continue_()
    options = page.locator(".cm-tooltip-autocomplete li")
    expect(options).to_have_text(["/a b"])
    page.keyboard.type(" ")
    expect(options).to_have_text(["/a b"])
    options.first.click()
    expect(field).to_have_text('http.path:="/a b"')
    # So is what follows a list that is there already.
    page.keyboard.type(" or http.path:")
    expect(options).to_have_text(["/a b", "/c", "/d"])
    page.keyboard.type("!")
    expect(options).to_have_text(["/a b", "/c", "/d"])
    page.keyboard.type("/")
    expect(options).to_have_text(["/a b", "/c", "/d"])
    page.keyboard.type("d")
    expect(options).to_have_text(["/d"])
    assert len(waiting) == 1


def test_a_first_visit_takes_the_type_of_the_reader(page: Page, site: Site) -> None:
    of_reader = {
        "server_datasource_url": site.vm.url,
        "server_datasource_type": "vlogs",
        "ui_datasource_url": None,
        "ui_datasource_type": None,
    }
    page.route("**/server/datasource", lambda route: route.fulfill(json=of_reader))
    page.goto(f"{site.url}/vmui/")
    expect(page.locator(".badge").first).to_have_text("VictoriaLogs")
    with page.expect_request("**/api/v1/query?*") as asked:
        page.get_by_role("button", name="Execute query").click()
    assert "datasource_type=vlogs" in asked.value.url
