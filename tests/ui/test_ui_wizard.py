"""The editor of a model's configuration."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from tests.ui.actions import address, button, day, state_of
from tests.ui.axe import violations
from tests.ui.site import EXPR, Site


@pytest.fixture
def editor(page: Page, site: Site) -> Locator:
    page.goto(address(site, **day(site)))
    button(page, "Edit config").click()
    dialog = page.get_by_role("dialog", name="Model configuration")
    expect(dialog.get_by_text("Domain knowledge")).to_be_visible()
    return dialog


def spec_of(page: Page) -> dict[str, object]:
    """Return the spec in the address."""
    config = json.loads(unquote(state_of(page)["model_config"]))
    spec: dict[str, object] = config["modelSpec"]
    return spec


def apply(editor: Locator) -> None:
    button(editor, "Apply").click()
    expect(editor).to_have_count(0)


def row(editor: Locator, name: str) -> Locator:
    return editor.locator(".field-row", has=editor.page.get_by_text(name, exact=True))


def test_what_is_set_goes_into_the_address_without_defaults(page: Page, editor: Locator) -> None:
    editor.get_by_label("Data range, lowest").fill("0")
    editor.get_by_label("Minimum deviation, lower", exact=True).fill("1,5")
    button(editor, "above expected").click()
    threshold = row(editor, "iqr_threshold")
    threshold.locator(".fold").click()
    field = threshold.get_by_role("combobox")
    expect(field).to_have_attribute("placeholder", "2")
    field.fill("3")
    button(editor, "hod_plateau").or_(row(editor, "seasonalities").locator(".fold")).first.click()
    button(editor, "hod_plateau").click()
    apply(editor)
    assert spec_of(page) == {
        "class": "temporal_envelope",
        "data_range": [0, "inf"],
        "clip_predictions": True,
        "min_dev_from_expected": [1.5, 0],
        "detection_direction": "above_expected",
        "iqr_threshold": 3,
        "seasonalities": ["hod_smooth", "dow_smooth", "hod_plateau"],
    }
    expect(page.get_by_role("button", name=re.compile("Edit config"))).to_contain_text("6")


def test_mistakes_stand_at_their_fields_and_keep_it_open(page: Page, editor: Locator) -> None:
    threshold = row(editor, "iqr_threshold")
    threshold.locator(".fold").click()
    field = threshold.get_by_role("combobox")
    field.fill("much")
    field.press("Shift+Tab")
    expect(threshold.get_by_role("alert")).to_have_text("Write a number such as 0.1.")
    field.fill("-1")
    button(editor, "Apply").click()
    # This one only the service knows.
    expect(threshold.get_by_role("alert")).to_contain_text("expected")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("2.5")
    button(editor, "Validate").click()
    expect(editor.get_by_text("The configuration is right.")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    button(editor, "Cancel").click()
    assert "model_config" not in state_of(page)


def test_tab_fills_in_suggestions_and_then_moves_on(editor: Locator) -> None:
    alpha = row(editor, "alpha")
    alpha.locator(".fold").click()
    field = alpha.get_by_role("combobox")
    field.focus()
    field.press("Tab")
    expect(field).to_have_value("0.005")
    field.press("Tab")
    expect(field).not_to_be_focused()


def test_explanations_stay_until_they_are_clicked_away(editor: Locator) -> None:
    info = button(editor, "What Data range means")
    info.click()
    note = editor.get_by_text("What the values can be at all.")
    editor.get_by_label("Data range, lowest").fill("1")
    expect(note).to_be_visible()
    info.click()
    expect(note).to_have_count(0)


def test_another_class_keeps_domain_knowledge_and_drops_the_rest(
    page: Page, editor: Locator
) -> None:
    editor.get_by_label("Data range, highest").fill("500")
    editor.get_by_role("button", name=re.compile("^Class:")).click()
    editor.get_by_role("combobox", name="Search classes").fill("online mad")
    expect(editor.locator(".choices [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(row(editor, "threshold")).to_be_visible()
    apply(editor)
    assert spec_of(page) == {
        "class": "mad_online",
        "data_range": ["-inf", 500],
        "clip_predictions": True,
    }


def test_a_scheduled_model_is_a_start(page: Page, editor: Locator) -> None:
    button(editor, "Start from a scheduled model").click()
    editor.get_by_role("option", name=re.compile("^m")).click()
    expect(row(editor, "z_threshold")).to_be_visible()
    apply(editor)
    assert spec_of(page)["class"] == "zscore_online"


def test_the_same_can_be_written_as_yaml(page: Page, editor: Locator) -> None:
    editor.get_by_label("Data range, lowest").fill("0")
    editor.get_by_role("tab", name="YAML").click()
    text = editor.get_by_label("The model as YAML")
    expect(text).to_have_value(
        'class: temporal_envelope\ndata_range: [0, "inf"]\nclip_predictions: true\n'
    )
    text.fill("class: std\nz_treshold: 3\n")
    button(editor, "Apply").click()
    expect(editor.get_by_role("alert")).to_contain_text("z_treshold: unknown key")
    text.fill("class: [")
    button(editor, "Validate").click()
    expect(editor.get_by_role("alert")).to_contain_text("not YAML")
    text.fill("class: std\nz_threshold: 3\nperiod: 12\n")
    editor.get_by_role("tab", name="Settings").click()
    expect(row(editor, "z_threshold")).to_contain_text("3")
    apply(editor)
    assert spec_of(page) == {"class": "std", "z_threshold": 3, "period": 12}


def test_keys_that_cannot_be_read_are_asked_for_again(page: Page, site: Site) -> None:
    page.goto(address(site, **day(site)))
    expect(page.locator(".cm-content")).to_have_text(EXPR)
    page.route("**/model/schema?*", lambda route: route.abort("connectionrefused"))
    button(page, "Edit config").click()
    dialog = page.get_by_role("dialog", name="Model configuration")
    expect(dialog.get_by_role("alert")).to_contain_text(
        "The keys of Temporal envelope cannot be read"
    )
    page.unroute("**/model/schema?*")
    button(dialog, "Retry").click()
    expect(dialog.get_by_text("Domain knowledge")).to_be_visible()
    expect(dialog.get_by_role("alert")).to_have_count(0)
    page.route("**/model/validate", lambda route: route.abort("connectionrefused"))
    button(dialog, "Validate").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The configuration cannot be checked")


def test_escape_asks_before_a_draft_is_lost(page: Page, editor: Locator) -> None:
    asked: list[str] = []

    def keep(dialog: Dialog) -> None:
        asked.append("asked")
        dialog.dismiss()

    editor.get_by_label("Data range, lowest").fill("7")
    page.on("dialog", keep)
    page.keyboard.press("Escape")
    expect(editor).to_be_visible()
    assert asked == ["asked"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_editor_fits_a_narrow_window_and_all_readers(
    page: Page, editor: Locator, theme: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": 360, "height": 800})
    row(editor, "iqr_threshold").locator(".fold").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
