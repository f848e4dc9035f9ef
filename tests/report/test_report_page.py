import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

import numpy as np
import pytest

from vmanomaly.demo.evaluate import evaluate
from vmanomaly.demo.incidents import Incident
from vmanomaly.report import Finding, Known, Report, ScoredSeries, render
from vmanomaly.report import page as page_module
from vmanomaly.series import FloatArray, Labels

LARGEST = float(np.finfo(np.float64).max)
MINUTE = 60_000
START = 1_780_876_800_000
VOID = {"meta", "br"}
POINTS = "data-points"
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


class Series(ScoredSeries):
    outputs: dict[str, FloatArray]


def scored(
    n: int = 500, *, model: str = "mad", query: str = "cpu", series: Labels = SERIES
) -> Series:
    rng = np.random.default_rng(0)
    y = rng.normal(10, 1, n)
    y[n // 2 : n // 2 + 10] += 20
    y[: n // 20] = np.nan
    score = np.abs(y - 10) / 4
    return Series(
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
    evaluations = evaluate(items, incidents)
    known = [
        Known(
            each.name,
            each.story,
            each.series,
            each.start,
            each.end,
            {
                evaluation.model: Finding(
                    evaluation.findings[row].delay, evaluation.findings[row].max_score
                )
                for evaluation in evaluations
            },
        )
        for row, each in enumerate(incidents)
    ]
    false = [alarm for evaluation in evaluations for alarm in evaluation.false_alarms]
    html = render(
        Report(
            "Anomalies", "Made up.", items, units or {}, known, frozenset(false if known else ())
        )
    )
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
    assert "after 5m" in checker.texts


def test_it_needs_nothing_from_elsewhere() -> None:
    html, checker = report([scored()], [incident()])
    assert not {"link", "img", "iframe", "object", "use", "image"} & set(checker.tags)
    assert not {"src", "xlink:href"} & {name for name, _ in checker.attributes}
    links = {value for name, value in checker.attributes if name == "href"}
    assert links == {"#p0"}
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html
    assert "@import" not in html


def test_the_policy_allows_only_its_own_script() -> None:
    html, _ = report([scored()], [])
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


def test_rows_link_to_the_panels_of_their_series() -> None:
    other = Labels({"metric": "cpu", "host": "b"})
    html, checker = report([scored(series=other), scored()], [incident()])
    panels = dict(re.findall(r'<section class="panel" id="(\w+)">.*?host=&quot;(\w)&quot;', html))
    known, *found = re.findall(r'<a href="#(\w+)">', html)
    assert panels[known] == "a"
    assert sorted(panels[each] for each in found) == ["a", "b"]
    assert checker.tags.count("a") == 3


def test_hovering_has_the_numbers_that_were_written() -> None:
    item = scored(100)
    item.outputs["incident_score"] = np.linspace(0, 0.9, 100)
    _, checker = report([item], [])
    (points,) = [json.loads(value or "") for name, value in checker.attributes if name == POINTS]
    (model,) = points["models"]
    rows = np.searchsorted(item.timestamps, points["t"])
    assert (item.timestamps[rows] == points["t"]).all()
    assert len(rows) == 100
    for name in ("y", "yhat_upper", "anomaly_score", "incident_score"):
        shown = np.array([np.nan if value is None else value for value in model[name]])
        np.testing.assert_allclose(shown, item.outputs[name][rows], rtol=1e-4)


def test_the_highest_point_of_a_column_is_shown_on_hover() -> None:
    item = scored(20_000)
    item.outputs["anomaly_score"][:] = 0.5
    item.outputs["anomaly_score"][12_345] = 7.5
    _, checker = report([item], [])
    points = next(json.loads(value or "") for name, value in checker.attributes if name == POINTS)
    assert item.timestamps[12_345] in points["t"]
    assert 7.5 in points["models"][0]["anomaly_score"]


def test_without_anything_known_incidents_are_listed_by_model() -> None:
    quiet = scored(model="zscore")
    quiet.outputs["anomaly_score"][:] = 0
    _, checker = report([scored(), quiet], [])
    assert "What happened" not in checker.texts
    assert "1" in checker.texts
    assert "incident" in checker.texts
    assert "models: mad, zscore" in checker.texts
    assert "10m" in checker.texts
    assert "-" in checker.texts


def test_models_that_find_the_same_share_a_row() -> None:
    late = scored(model="zscore")
    late.outputs["anomaly_score"][250:254] = 0
    _, checker = report([scored(), late], [])
    assert checker.tags.count("a") == 1
    assert "after 4m" in checker.texts


def test_incident_score_tells_incidents_where_it_was_written() -> None:
    item = scored()
    item.outputs["incident_score"] = np.zeros(500)
    html, _ = report([item], [])
    assert "None: nowhere is <code>incident_score &gt; 1</code>" in html
    html, _ = report([scored()], [])
    assert "<code>anomaly_score &gt; 1</code>" in html
    assert 'class="incident-score" d="M0' in html  # of the legend


def test_too_many_series_leave_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_PANELS", 2)
    items = [scored(series=Labels({"host": name})) for name in "abcd"]
    for item, factor in zip(items, (1, 3, 2, 1), strict=True):
        item.outputs["anomaly_score"][:] *= factor
    html, checker = report(items, [])
    assert checker.tags.count("section") == 2
    assert "The 2 with the highest scores of 4 series are drawn" in html
    assert re.findall(r'<code class="labels">{host=&quot;(\w)', html) in (["b", "c"], ["c", "b"])


def test_without_values_the_rest_is_drawn_and_the_page_says_so() -> None:
    item = scored()
    del item.outputs["y"]
    html, checker = report([item], [])
    assert checker.tags.count("section") == 1
    assert "were not written" in html
    assert 'class="band"' in html


def test_light_and_dark() -> None:
    html, _ = report([scored()], [])
    assert "prefers-color-scheme: dark" in html


def test_names_and_labels_are_escaped() -> None:
    series = Labels({"host": HOSTILE})
    item = scored(model=HOSTILE, query=HOSTILE, series=series)
    html, checker = report([item], [incident(HOSTILE, series)], {HOSTILE: HOSTILE})
    assert checker.tags.count("script") == 1
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
    assert checker.tags.count("section") == 3
    assert not re.search(r"\b(nan|inf)\b", html)


@pytest.mark.parametrize("unit", [1e306, LARGEST])
def test_the_largest_floats_are_drawn(unit: float) -> None:
    item = scored(300)
    shape = np.resize([1.0, -1.0, 0.5], 300)
    bounds = {"yhat": 0.1 * unit, "yhat_lower": -unit, "yhat_upper": unit}
    item.outputs.update({"y": unit * shape} | {k: np.full(300, v) for k, v in bounds.items()})
    html, _ = report([item], [])
    assert "nan" not in html
    # The axis has a finite length, with ticks on it.
    assert len(set(re.findall(r'class="tick"[^>]*>-?[\d.,]+e\+\d+T<', html))) >= 2


def test_a_gap_breaks_the_line_and_a_missing_scrape_does_not() -> None:
    def pieces(missing: slice) -> int:
        item = scored(300)
        for values in item.outputs.values():
            values[:] = np.linspace(0, 1, 300)
            values[missing] = np.nan
        html, _ = report([item], [])
        (path,) = re.findall(r'class="y" d="(M[^"]*)"/></svg><span class="tick"', html)
        return str(path).count("M")

    assert pieces(slice(100, 102)) == 1
    assert pieces(slice(100, 120)) == 2


def test_thinning_keeps_a_lone_extreme() -> None:
    item = scored(20_000)
    item.outputs["y"][12_345] = 500.0
    html, _ = report([item], [])
    path = re.findall(r'class="y" d="(M[^"]*)"/><path class="anomaly"', html)[0]
    heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert sum(height < 15 for height in heights) == 1
    assert min(heights) > 0


def test_an_incident_outside_the_scored_time_is_in_the_table_only() -> None:
    html, checker = report([scored(100)], [incident(first=900, last=950)])
    assert checker.texts.count("Spike") == 1
    assert "missed" in checker.texts
    assert "close-up" not in html
