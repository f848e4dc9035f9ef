import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

import numpy as np
import pytest

from vmanomaly.demo.evaluate import ScoredSeries, evaluate
from vmanomaly.demo.incidents import Incident
from vmanomaly.demo.report import render
from vmanomaly.series import Labels

MINUTE = 60_000
START = 1_780_876_800_000
VOID = {"meta", "br"}
HOSTILE = '<script>alert("x")</script>&'
SERIES = Labels({"metric": "cpu", "host": "a"})


class Checker(HTMLParser):
    """Holds every start tag against its end tag, and collects text and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def scored(
    n: int = 500, *, model: str = "mad", query: str = "cpu", series: Labels = SERIES
) -> ScoredSeries:
    rng = np.random.default_rng(0)
    y = rng.normal(10, 1, n)
    y[n // 2 : n // 2 + 10] += 20
    y[: n // 20] = np.nan
    score = np.abs(y - 10) / 4
    return ScoredSeries(
        query,
        model,
        series,
        START + MINUTE * np.arange(n, dtype=np.int64),
        {
            "anomaly_score": score,
            "y": y,
            "yhat": np.full(n, 10.0),
            "yhat_lower": np.full(n, 6.0),
            "yhat_upper": np.full(n, 14.0),
        },
    )


def incident(
    name: str = "Spike", series: Labels = SERIES, first: int = 245, last: int = 265
) -> Incident:
    return Incident(
        name, "spike", "It spikes.", series, START + first * MINUTE, START + last * MINUTE
    )


def report(
    items: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    units: Mapping[str, str] | None = None,
) -> tuple[str, Checker]:
    html = render(items, incidents, evaluate(items, incidents), units or {})
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return html, checker


def test_it_is_one_well_formed_document_with_a_plot_for_each_series() -> None:
    other = Labels({"metric": "cpu", "host": "b"})
    items = [
        scored(model=model, series=series)
        for model in ("mad", "zscore")
        for series in (SERIES, other)
    ]
    html, checker = report(items, [incident()], {"cpu": "%"})
    assert html.startswith("<!DOCTYPE html>")
    assert checker.tags.count("section") == 2
    assert "Spike" in checker.texts
    assert "%" in checker.texts
    assert "after 7m" in checker.texts


def test_it_needs_nothing_from_elsewhere() -> None:
    html, checker = report([scored()], [incident()])
    assert not {"script", "link", "img", "iframe", "object", "use", "image"} & set(checker.tags)
    assert not {"href", "src", "xlink:href", "style"} & {name for name, _ in checker.attributes}
    assert "//" not in html
    assert set(re.findall(r"url\((.)", html)) == {"#"}
    assert "@import" not in html


def test_light_and_dark() -> None:
    html, _ = report([scored()], [])
    assert "prefers-color-scheme: dark" in html


def test_names_and_labels_are_escaped() -> None:
    series = Labels({"host": HOSTILE})
    item = scored(model=HOSTILE, query=HOSTILE, series=series)
    html, checker = report([item], [incident(HOSTILE, series)], {HOSTILE: HOSTILE})
    assert "script" not in checker.tags
    assert HOSTILE in checker.texts
    assert HOSTILE not in html


@pytest.mark.parametrize("n", [1, 2, 30, 20_000])
def test_any_length_is_drawn_within_the_canvas(n: int) -> None:
    html, _ = report([scored(n)], [incident(first=n // 3, last=n // 2 + 1)])
    assert "nan" not in html
    assert len(html) < 200_000


def test_constant_values_infinite_bounds_and_missing_outputs() -> None:
    n = 50
    constant = scored(n)
    constant.outputs.update(
        y=np.full(n, 5.0),
        anomaly_score=np.zeros(n),
        yhat=np.full(n, 5.0),
        yhat_lower=np.full(n, -np.inf),
        yhat_upper=np.full(n, np.inf),
    )
    bare = scored(n, query="bare")
    bare.outputs.update(
        yhat=np.full(n, np.nan), yhat_lower=np.full(n, np.nan), yhat_upper=np.full(n, np.nan)
    )
    without_values = scored(n, query="without")
    without_values.outputs.update(y=np.full(n, np.nan))
    html, checker = report([constant, bare, without_values], [])
    assert checker.tags.count("section") == 2
    assert not re.search(r"\b(nan|inf)\b", html)


def test_a_gap_breaks_the_line_and_a_missing_scrape_does_not() -> None:
    def pieces(missing: slice) -> int:
        item = scored(300)
        for values in item.outputs.values():
            values[:] = np.linspace(0, 1, 300)
            values[missing] = np.nan
        html, _ = report([item], [])
        (path,) = re.findall(r'class="y" d="(M[^"]*)"/></g>', html)
        return str(path).count("M")

    assert pieces(slice(100, 102)) == 1
    assert pieces(slice(100, 120)) == 2


def test_thinning_keeps_a_lone_extreme() -> None:
    item = scored(20_000)
    item.outputs["y"][12_345] = 500.0
    html, _ = report([item], [])
    (path,) = re.findall(r'class="y" d="(M[^"]*)"/><path class="anomaly"', html)
    heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert sum(height < 35 for height in heights) == 1
    assert min(heights) > 22


def test_an_incident_outside_the_scored_time_is_in_the_table_only() -> None:
    html, checker = report([scored(100)], [incident(first=900, last=950)])
    assert checker.texts.count("Spike") == 1
    assert "missed" in checker.texts
    assert "close-up" not in html
