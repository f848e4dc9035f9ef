"""What a person does on the page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.ui.site import EXPR, Site


def address(site: Site, **state: str) -> str:
    """Return the address of the page with a state; `g0_expr` stands for `g0.expr`."""
    named = {re.sub("^g0_", "g0.", name): value for name, value in state.items()}
    return f"{site.url}/vmui/#/?{urlencode(named, quote_via=quote)}"


def day(site: Site) -> dict[str, str]:
    """Return the state of the last day that has samples, and of the query for all its series."""
    end = site.end // 1000
    return {
        "g0_expr": EXPR,
        "g0_range_input": "1d",
        "g0_end_input": iso(end),
        "g0_step_input": "5m",
    }


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def state_of(page: Page) -> Mapping[str, str]:
    """Return the state in the address."""
    fragment = urlsplit(page.url).fragment
    return {name: values[0] for name, values in parse_qs(urlsplit(fragment).query).items()}


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name)


def wait_for_rows(page: Page, count: int) -> None:
    expect(page.locator(".series-table tbody tr:not(.space)")).to_have_count(count)


def detect(page: Page) -> None:
    """Run a detection to its end."""
    page.get_by_role("button", name=re.compile("Detect anomalies|Run again")).first.click()
    wait_for_result(page)


def wait_for_result(page: Page) -> None:
    """Wait until a detection is done, the first of which may compile kernels."""
    page.locator(".summary").wait_for(timeout=120_000)


def summary(page: Page) -> dict[str, str]:
    """Return the detection summary."""
    names = page.locator(".summary dt").all_inner_texts()
    return dict(zip(names, page.locator(".summary dd").all_inner_texts(), strict=True))
