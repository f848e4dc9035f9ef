"""The service dies in the middle of a detection."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.actions import address, button, day, state_of, wait_for_rows
from tests.ui.site import EXPR, HOSTS, Site, service


@pytest.mark.slow
def test_the_page_outlives_its_service(page: Page, site: Site, tmp_path: Path) -> None:
    with service(tmp_path, site.vm, site.end) as own:
        # So slow that it is still running: each minute a fit.
        slow = {**day(site), "g0_step_input": "1m", "fit_every": "1m", "anomaly_threshold": "2"}
        page.goto(address(own, **slow))
        wait_for_rows(page, len(HOSTS))
        button(page, "Detect anomalies").click()
        expect(page.locator(".progress")).to_contain_text("chunk", timeout=60_000)
        before = state_of(page)
        own.process.kill()
        expect(page.get_by_text("The service does not answer").first).to_be_visible()
        expect(page.locator(".progress")).to_have_count(0)
        expect(button(page, "Detect anomalies")).to_be_enabled()
        expect(page.locator(".cm-content")).to_have_text(EXPR)
        assert state_of(page) == before
