"""Query mode: the field, the plot, the table, and the state in the address."""

from __future__ import annotations

import json
import re
import signal

from playwright.sync_api import Page, Route, expect
from urllib3.exceptions import HTTPError

from tests.integration.servers import replace_file, request, wait_until
from tests.ui.actions import address, button, day, state_of, wait_for_rows
from tests.ui.site import EXPR, HOSTS, Site

WATCHED_EVERY_MS = 3000
QUERIES = re.compile(r"/api/v1/query\?")


def count_queries(page: Page) -> list[str]:
    urls: list[str] = []
    page.on(
        "request", lambda request: urls.append(request.url) if QUERIES.search(request.url) else None
    )
    return urls


def test_a_first_visit_starts_from_the_queries_of_the_service(page: Page, site: Site) -> None:
    asked = count_queries(page)
    page.goto(f"{site.url}/")
    assert page.url.startswith(f"{site.url}/vmui/")
    expect(page.locator(".cm-content")).to_have_text(EXPR)
    assert asked == [], "nothing runs before it is asked for"
    expect(page.locator(".badge").first).to_have_text("VictoriaMetrics")
    button(page, "Execute query").click()
    wait_for_rows(page, len(HOSTS))
    assert state_of(page)["g0.expr"] == EXPR


def test_an_address_with_a_state_runs_its_query(page: Page, site: Site) -> None:
    asked = count_queries(page)
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    assert len(asked) == 1
    assert "step=5m" in asked[0]
    cells = page.locator(".series-table tbody").inner_text()
    assert "a<b>&c" in cells, "labels are text"
    expect(page.locator(".chart canvas")).to_have_count(1)


def test_keys_execute_and_history_goes_back_and_forward(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.type('ui_requests{host="db-1"}')
    page.keyboard.press("Control+Enter")
    wait_for_rows(page, 1)
    page.go_back()
    wait_for_rows(page, len(HOSTS))
    page.go_forward()
    wait_for_rows(page, 1)
    button(page, "Queries").click()
    drawer = page.get_by_role("dialog", name="Queries")
    expect(drawer.locator("code")).to_have_text(['ui_requests{host="db-1"}', EXPR])
    button(drawer, "Scheduled (1)").click()
    expect(drawer.locator(".query-item strong")).to_have_text("requests")
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_completion_knows_the_datasource_and_metricsql(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/vmui/")
    field = page.locator(".cm-content")
    # Only then does nothing come into the field any more.
    expect(field).to_have_text(EXPR)
    field.click()
    page.keyboard.press("Control+a")
    for typed, expected in (("ui_req", "ui_requests"), ("range_las", "range_last")):
        page.keyboard.type(typed)
        expect(page.locator(".cm-tooltip-autocomplete li").first).to_contain_text(expected)
        page.keyboard.press("Escape")
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")
    # Debian's VictoriaMetrics is older than this path.
    tidy = {"status": "success", "query": "sum(ui_requests) by(host)"}
    page.route("**/prettify-query?*", lambda route: route.fulfill(json=tidy))
    page.keyboard.type("sum( ui_requests )by(host)")
    # Over a selection that is colored, which browsers would keep in a style attribute.
    page.keyboard.press("Control+a")
    page.keyboard.type("sum( ui_requests )by(host)")
    expect(field).to_have_text("sum( ui_requests )by(host)")
    button(page, "Prettify the query").click()
    expect(field).to_have_text("sum(ui_requests) by(host)")


def test_the_table_sorts_filters_and_hides(page: Page, site: Site) -> None:
    page.goto(address(site, **{**day(site), "g0_step_input": "1m"}))
    wait_for_rows(page, len(HOSTS))
    rows = page.locator(".series-table tbody tr:not(.space)")
    button(page.locator("th"), "max").click()
    expect(rows.first).to_contain_text("web-1")
    page.get_by_label("Filter series").fill("max > 200")
    wait_for_rows(page, 1)
    expect(page.locator(".table-tools [role=status]")).to_have_text("1 of 4 series")
    page.get_by_label("Filter series").fill("")
    page.get_by_role("checkbox", name="Common labels").uncheck()
    expect(button(page.locator("th"), "env")).to_have_count(0)
    page.get_by_role("checkbox", name="Statistics").uncheck()
    expect(button(page.locator("th"), "max")).to_have_count(0)
    page.get_by_role("checkbox", name="List").check()
    expect(rows.first).to_contain_text('{host="')
    state = state_of(page)
    assert state["legend_view"] == "list"
    assert state["legend_hide_stats"] == state["legend_hide_duplicates"] == "true"


def test_a_zoom_asks_once_and_a_double_click_resets_it(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    asked = count_queries(page)
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    y = box["y"] + 50
    page.mouse.move(box["x"] + box["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=8)
    assert asked == []
    with page.expect_response(QUERIES):
        page.mouse.up()
    page.wait_for_function("() => /range_input=(6h|5h59m)/.test(location.hash)")
    wait_for_rows(page, len(HOSTS))
    assert len(asked) == 1
    with page.expect_response(QUERIES):
        page.locator(".u-over").dblclick(position={"x": 300, "y": 80})
    page.wait_for_function("() => location.hash.includes('range_input=1d')")
    assert len(asked) == 2


def test_a_click_keeps_the_values_in_view(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    page.locator(".u-over").hover(position={"x": 300, "y": 200})
    expect(page.locator(".tooltip-time")).to_have_text(
        re.compile(r"^20\d\d-\d\d-\d\d \d\d:\d\d:00$")
    )
    page.locator(".u-over").click(position={"x": 300, "y": 200})
    pinned = page.get_by_role("dialog", name="Values at this time")
    pinned.hover()
    expect(pinned).to_be_visible()
    page.keyboard.press("Escape")
    expect(pinned).to_have_count(0)


def test_the_error_of_the_datasource_stands_at_the_query(page: Page, site: Site) -> None:
    page.goto(address(site, g0_expr="sum(", g0_range_input="1h"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The query failed")
    expect(alert).to_contain_text("sum(")
    assert "No data" not in page.locator("main").inner_text()


def test_nothing_found_says_what_was_asked(page: Page, site: Site) -> None:
    page.goto(address(site, g0_expr='nothing{a="<b>"}', g0_range_input="1h", g0_step_input="1m"))
    empty = page.locator(".empty")
    expect(empty).to_contain_text("No data")
    expect(empty).to_contain_text('nothing{a="<b>"}')
    expect(empty).to_contain_text("step 1m")
    expect(empty).to_contain_text(site.vm.url)


def test_a_thousand_series_are_listed_and_fifty_drawn(page: Page, site: Site) -> None:
    many = 'label_set(vector(1),"i",format("%03d"))'
    result = [
        {
            "metric": {"i": f"{index:04d}"},
            "values": [[site.end // 1000 - t * 60, str(index)] for t in range(60)][::-1],
        }
        for index in range(1000)
    ]
    answer = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
    page.route(QUERIES, lambda route: route.fulfill(body=answer, content_type="application/json"))
    page.goto(address(site, **{**day(site), "g0_expr": many, "g0_range_input": "1h"}))
    expect(page.locator(".table-tools [role=status]")).to_have_text("1,000 series")
    expect(page.locator(".results")).to_contain_text("The plot shows 50 of 1,000 series")
    rows = page.locator(".series-table tbody tr:not(.space)")
    assert rows.count() < 40
    page.locator(".table-scroll").evaluate("element => element.scrollTo(0, 30 * 600)")
    expect(rows.nth(10)).to_contain_text(re.compile("06|05"))


def test_series_are_grouped_by_a_label(page: Page, site: Site) -> None:
    hosts = ("b", "a", "b", "a")
    result = [
        {"metric": {"host": host, "i": str(i)}, "values": [[site.end // 1000, str(i)]]}
        for i, host in enumerate(hosts)
    ]
    answer = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
    page.route(QUERIES, lambda route: route.fulfill(body=answer, content_type="application/json"))
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(hosts))
    page.get_by_label("Group by").select_option("host")
    assert state_of(page)["legend_group"] == "host"
    rows = page.locator(".series-table tbody tr:not(.space)")
    first_labels = page.locator(".series-table tbody td.label:nth-child(2)")
    expect(first_labels).to_have_text(["a", "a", "b", "b"])
    page.get_by_role("columnheader", name="max").get_by_role("button").click()
    expect(rows.locator("td:last-child")).to_have_text(["3", "1", "2", "0"])
    expect(page.locator("tr.group-start td.label:nth-child(2)")).to_have_text("b")
    page.reload()
    expect(first_labels).to_have_text(["a", "a", "b", "b"])


def test_a_service_that_is_gone_is_said_and_waited_for(page: Page, site: Site) -> None:
    page.clock.install()
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))

    def fail(route: Route) -> None:
        route.abort("connectionrefused")

    page.route("**/*", fail)
    button(page, "Execute query").click()
    expect(page.locator(".notice.error").first).to_contain_text("The service does not answer")
    page.unroute("**/*", fail)
    page.clock.fast_forward(WATCHED_EVERY_MS)
    expect(page.get_by_text("The service does not answer")).to_have_count(0)
    expect(page.locator(".cm-content")).to_have_text(EXPR)


def test_settings_count_after_apply_and_say_why_they_cannot(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    page.get_by_role("button", name="Settings", exact=True).click()
    dialog = page.get_by_role("dialog", name="Settings")
    url = dialog.get_by_label("Datasource", exact=True)
    url.fill("http://127.0.0.1:1/")
    button(dialog, "Dark").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    button(dialog, "Apply").click()
    expect(dialog.get_by_role("alert")).to_contain_text("refused")
    assert url.input_value() == "http://127.0.0.1:1/"
    button(dialog, "Reset").click()
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    button(dialog, "Apply").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert "datasourceUrl" not in page.url
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_tenants_are_chosen_where_there_are_any(page: Page, site: Site) -> None:
    tenants = json.dumps({"tenants": ["0:0", "7:1"]})
    page.route(
        "**/server/tenants**",
        lambda route: route.fulfill(body=tenants, content_type="application/json"),
    )
    cluster = {"datasourceUrl": "http://vmselect:8481/select/0:0/prometheus"}
    page.route(
        QUERIES, lambda route: route.fulfill(json={"data": {"resultType": "matrix", "result": []}})
    )
    page.goto(address(site, **day(site), **cluster))
    button(page, "Tenant: 0:0").click()
    expect(page.get_by_role("option", name="multitenant")).to_be_visible()
    with page.expect_request(QUERIES) as asked:
        page.get_by_role("option", name="7:1").click()
    assert "%2Fselect%2F7%3A1%2Fprometheus" in asked.value.url
    assert state_of(page)["datasourceUrl"].endswith("/select/7:1/prometheus")


def test_it_works_on_plain_http_and_behind_another_prefix(page: Page, site: Site) -> None:
    def proxied(route: Route) -> None:
        route.continue_(url=route.request.url.replace("/a/b/", "/"))

    page.route("**/a/b/**", proxied)
    page.goto(
        address(site, **day(site)).replace("127.0.0.1", "vm.test", 1).replace("/vmui", "/a/b/vmui")
    )
    wait_for_rows(page, len(HOSTS))
    assert page.evaluate("isSecureContext") is False
    expect(page.get_by_role("link", name="Metrics")).to_have_attribute(
        "href", re.compile("/a/b/metrics$")
    )


def test_two_tabs_do_not_touch_each_other(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    other = page.context.new_page()
    other.goto(address(site, **{**day(site), "g0_expr": 'ui_requests{host="db-1"}'}))
    wait_for_rows(other, 1)
    wait_for_rows(page, len(HOSTS))
    page.reload()
    wait_for_rows(page, len(HOSTS))
    assert state_of(page)["g0.expr"] == EXPR


def test_a_reload_of_the_configuration_changes_the_default_state(page: Page, site: Site) -> None:
    shown = page.get_by_role("button", name="Threshold: 1.25")
    page.goto(f"{site.url}/vmui/")
    button(page, "Advanced settings").click()
    expect(shown).to_be_visible()
    page.goto(address(site, g0_expr="1", advanced_open="true"))
    expect(page.get_by_role("button", name="Threshold: 1", exact=True)).to_be_visible()
    written = site.process.config.read_text()
    replace_file(
        site.process.config, written.replace("anomaly_threshold=1.25", "anomaly_threshold=0.75")
    )
    site.process.signal(signal.SIGHUP)
    wait_until(lambda: b"anomaly_threshold=0.75" in fetched(f"{site.url}/vmui/"), "the reload")
    page.goto("about:blank")
    page.goto(f"{site.url}/vmui/")
    button(page, "Advanced settings").click()
    expect(page.get_by_role("button", name="Threshold: 0.75")).to_be_visible()


def fetched(url: str) -> bytes:
    try:
        return request("GET", url)[1]
    except HTTPError:
        # The listener is being replaced.
        return b""


def test_a_datasource_of_the_server_cannot_be_changed(page: Page, site: Site) -> None:
    fixed = {
        "server_datasource_url": None,
        "ui_datasource_url": site.vm.url,
        "ui_datasource_type": "vm",
    }
    page.route("**/server/datasource", lambda route: route.fulfill(json=fixed))
    page.goto(f"{site.url}/vmui/")
    page.get_by_role("button", name="Settings", exact=True).click()
    dialog = page.get_by_role("dialog", name="Settings")
    expect(dialog.get_by_label("Datasource", exact=True)).to_be_disabled()
    expect(dialog.get_by_label("Datasource", exact=True)).to_have_value(site.vm.url)
    expect(dialog).to_contain_text("Set by the server.")


def test_the_login_is_passed_on_where_that_is_chosen(page: Page, site: Site) -> None:
    asked = count_queries(page)
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("Pass the login of this page on to the datasource").check()
    button(page, "Apply").click()
    with page.expect_response(QUERIES):
        button(page, "Execute query").click()
    assert ["pass_auth_headers=true" in url for url in asked] == [False, True]


def test_the_plot_and_the_selection_stay_while_another_range_loads(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    rows = page.locator(".series-table tbody tr:not(.space)")
    rows.nth(2).click()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(QUERIES, hold)
    button(page, "Time range").click()
    with page.expect_request(QUERIES):
        button(page, "Last 12 hours").click()
    expect(page.locator(".results [role=status]").first).to_have_text("Getting data…")
    expect(page.locator(".chart canvas")).to_be_visible()
    held[0].continue_()
    expect(page.locator(".waiting-note")).to_have_count(0)
    expect(rows.nth(2)).to_have_class(re.compile("selected"))
    # Another query is not drawn as this one.
    page.locator(".cm-content").fill('ui_requests{host="db-1"}')
    with page.expect_request(QUERIES):
        button(page, "Execute query").click()
    expect(page.locator(".loading")).to_have_text("Getting data…")
    expect(page.locator(".chart")).to_have_count(0)
    held[1].continue_()
    wait_for_rows(page, 1)
    # What is canceled leaves what was there, if that is of the same query.
    with page.expect_request(QUERIES):
        button(page, "Execute query").click()
    button(page, "Cancel query").click()
    expect(page.locator(".waiting-note")).to_have_count(0)
    wait_for_rows(page, 1)


def test_a_very_wide_screen_has_larger_text_and_a_higher_plot(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    wait_for_rows(page, len(HOSTS))
    sizes = """() => {
      const box = (name) => document.querySelector(name).getBoundingClientRect();
      return {
        text: parseFloat(getComputedStyle(document.querySelector('.series-table td')).fontSize),
        row: box('.series-table tbody tr').height,
        plot: box('.chart canvas').height,
        main: box('.results').width,
      };
    }"""
    # The plot is drawn after the rows are listed.
    page.locator(".chart canvas").wait_for()
    usual = page.evaluate(sizes)
    page.set_viewport_size({"width": 3840, "height": 2160})
    page.wait_for_function(
        f"() => document.querySelector('.chart canvas')?.clientHeight > {usual['plot']}"
    )
    wide = page.evaluate(sizes)
    ratios = {name: wide[name] / usual[name] for name in usual}
    assert 1.3 < ratios["text"] < 1.6
    assert abs(ratios["row"] - ratios["text"]) < 0.05
    assert 700 < wide["plot"] < 900
    assert 3200 < wide["main"] < 3600
