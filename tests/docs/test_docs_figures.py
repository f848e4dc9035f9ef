"""The plots of the documentation are those that `make docs` draws today."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.figures import memory, models, parameters, relation
from vmanomaly.config.model import OnlineModelSection
from vmanomaly.config.model.temporal_envelope import TemporalEnvelopeSection
from vmanomaly.demo.telemetry import Telemetry, generate

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "images" / "models"
PAGE = (ROOT / "docs" / "models.md").read_text()


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return generate()


def elements(document: str) -> list[tuple[str, str | None, str | None]]:
    """Return tag, class and text of every element; the last digits of paths may differ."""
    root = ElementTree.fromstring(document)  # noqa: S314 - our own
    return [(element.tag, element.get("class"), element.text) for element in root.iter()]


def classes(document: str) -> set[str | None]:
    return {name for _, name, _ in elements(document)}


@pytest.mark.parametrize("scene", models.SCENES, ids=lambda scene: scene.alias)
def test_the_plot_of_a_model_is_current(scene: models.Scene, telemetry: Telemetry) -> None:
    drawn = models.figure(scene, telemetry)
    assert {"y", "band", "yhat", "incident", "anomaly", "high", "threshold", "alarm"} <= classes(
        drawn
    )
    assert "prefers-color-scheme: dark" in drawn
    assert "nan" not in drawn.partition("</style>")[2]
    kept = (FOLDER / f"{scene.alias}.svg").read_text(encoding="utf-8")
    assert elements(kept) == elements(drawn), "run make docs"


@pytest.mark.parametrize("comparison", parameters.COMPARISONS, ids=lambda item: item.parameter)
def test_the_plot_of_a_parameter_is_current(
    comparison: parameters.Comparison, telemetry: Telemetry
) -> None:
    drawn = parameters.figure(comparison, telemetry)
    assert {"y", "band", "yhat", "setting", "calm", "threshold"} <= classes(drawn)
    assert "prefers-color-scheme: dark" in drawn
    assert "nan" not in drawn.partition("</style>")[2]
    kept = (FOLDER / f"{comparison.name}.svg").read_text(encoding="utf-8")
    assert elements(kept) == elements(drawn), "run make docs"


def test_every_parameter_of_the_temporal_envelope_has_its_plot_next_to_its_name() -> None:
    chapter = PAGE.partition("\n### What each parameter does\n")[2].partition("\n## ")[0]
    for comparison in parameters.COMPARISONS:
        part = chapter.partition(f"\n#### {comparison.parameter}\n")[2].partition("\n#### ")[0]
        assert f"](images/models/{comparison.name}.svg)" in part
    own = TemporalEnvelopeSection.model_fields.keys() - OnlineModelSection.model_fields.keys()
    assert {comparison.parameter for comparison in parameters.COMPARISONS} == own


def test_forecasts_are_drawn_at_the_time_that_they_are_for(telemetry: Telemetry) -> None:
    (comparison,) = (c for c in parameters.COMPARISONS if c.parameter == "forecast_at")
    batch = models.thinned(telemetry, comparison.series, comparison.every)
    for scored, setting, n_steps in zip(
        parameters.rows(comparison, telemetry), comparison.settings, (12, 288), strict=True
    ):
        (offset,) = setting["forecast_at"]
        keys = {"class": parameters.MODEL, **setting}
        made = models.fit_and_predict(keys, batch, (f"yhat_{offset}",))
        first = np.searchsorted(made.timestamps, scored.timestamps[0]) - n_steps
        earlier = made.outputs[f"yhat_{offset}"][0, first : first + len(scored.timestamps)]
        present = np.isfinite(scored.outputs["yhat"])
        assert np.count_nonzero(present) > 800
        assert np.array_equal(scored.outputs["yhat"][present], earlier[present])
        y, lower, upper = (scored.outputs[name] for name in ("y", "yhat_lower", "yhat_upper"))
        outside = (y < lower) | (y > upper)
        assert np.array_equal(scored.outputs["anomaly_score"] > 1, outside)


def test_every_plot_is_shown() -> None:
    aliases = [scene.alias for scene in models.SCENES]
    for alias in aliases:
        chapter = PAGE.partition(f"\n## `{alias}`\n")[2].partition("\n## ")[0]
        assert f"](images/models/{alias}.svg)" in chapter
    assert "](images/models/quantile_online_memory.svg)" in PAGE
    assert "](images/models/temporal_envelope_multivariate.svg)" in PAGE
    assert {path.stem for path in FOLDER.glob("*.svg")} == {
        *aliases,
        "temporal_envelope_multivariate",
        *(comparison.name for comparison in parameters.COMPARISONS),
        "quantile_online_memory",
    }


def test_the_plot_of_a_broken_relation_is_current() -> None:
    drawn = relation.figure()
    kept = (FOLDER / "temporal_envelope_multivariate.svg").read_text(encoding="utf-8")
    assert elements(kept) == elements(drawn), "run make docs"


def test_the_plot_of_the_memory_is_current() -> None:
    hour = memory.bytes_per_series(5, 6 * memory.HOUR, n_series=100)
    assert [minutes for minutes, _ in hour] == [60, 120, 180, 240, 300, 360]
    drawn = memory.figure([hour, hour])
    kept = (FOLDER / "quantile_online_memory.svg").read_text(encoding="utf-8")
    assert elements(kept) == elements(drawn), "run make docs"


@pytest.mark.parametrize(
    ("step", "days", "kib"), [(5, 0.25, 6), (5, 1, 10), (5, 3, 25), (1, 0.25, 11), (1, 1, 34)]
)
def test_memory_grows_with_what_was_seen(step: int, days: float, kib: int) -> None:
    curve = memory.bytes_per_series(step, int(days * memory.DAY), n_series=100)
    assert curve[-1][1] <= 1024 * kib
