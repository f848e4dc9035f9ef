"""A group whose relation breaks while each of its channels stays inside its own bounds."""

from __future__ import annotations

import numpy as np

from benchmarks.figures.alarms import held_alarms
from benchmarks.figures.models import LEGEND
from benchmarks.figures.plot import WIDTH, Panel, draw, height_of
from benchmarks.figures.svg import standalone
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)
from vmanomaly.config.reader import Query
from vmanomaly.demo.evaluate import evaluate
from vmanomaly.demo.incidents import Incident
from vmanomaly.detector import create_detector
from vmanomaly.model import create_multivariate_model
from vmanomaly.report import ScoredSeries
from vmanomaly.series import FloatArray, Labels, SeriesBatch

STEP = 300_000
DAY = 288
START = 1_780_272_000_000
N_PAST = 14 * DAY
BROKEN = slice(N_PAST + DAY + 100, N_PAST + DAY + 172)
"""Six hours in which errors fall when requests rise."""

NAMES = ("requests", "errors", "cpu")
OUTPUTS = ["anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper"]


def values() -> FloatArray:
    """Three channels that follow one load over sixteen days, a point every five minutes."""
    rng = np.random.default_rng(4)
    n_points = 16 * DAY
    load = np.empty(n_points)
    wave = 0.0
    for t in range(n_points):
        wave = 0.8 * wave + 0.6 * rng.normal()
        load[t] = wave + 2.0 * np.sin(2.0 * np.pi * (t % DAY - 100) / DAY)
    own = rng.normal(size=(3, n_points))
    found: FloatArray = np.array(
        [500.0 + 60.0 * load, 40.0 + 5.0 * load, 30.0 + 4.0 * load]
    ) + own * np.array([[15.0], [1.2], [1.0]])
    # Where the load stands above its middle, errors now stand below theirs.
    found[1, BROKEN] = 80.0 - found[1, BROKEN]
    return found


def figure() -> str:
    """Return the plot of one channel, with the score of its group, as an SVG document."""
    shop = Labels({"service": "shop"})
    observed = values()
    timestamps = START + STEP * np.arange(observed.shape[1], dtype=np.int64)

    def batches(columns: slice) -> list[SeriesBatch]:
        return [SeriesBatch((shop,), timestamps[columns], row[None, columns]) for row in observed]

    queries = [Query.model_validate({"alias": name, "expr": name, "step": "5m"}) for name in NAMES]
    section = TemporalEnvelopeMultivariateSection.model_validate(
        {"class": "temporal_envelope_multivariate", "provide_series": OUTPUTS}
    )
    model = create_multivariate_model(section, queries)
    detector = create_detector(model, section, queries)
    learned, _ = detector.fit(batches(slice(N_PAST)))
    present = batches(slice(N_PAST, None))
    n_present = len(present[0].timestamps)
    _, result = detector.infer(learned, present, np.arange(n_present, dtype=np.int64))
    predictions = dict(result.parts)
    outputs = predictions[None].outputs | predictions["errors"].outputs
    scored = ScoredSeries(
        query="errors",
        model="anomaly_score",
        series=shop,
        timestamps=timestamps[N_PAST:],
        outputs={name: found[0] for name, found in outputs.items()},
    )
    times = timestamps[BROKEN]
    incident = Incident("Relation broken", "relation", "found", shop, int(times[0]), int(times[-1]))
    (evaluation,) = evaluate([scored], [incident], held_alarms)
    panel = Panel(
        [scored], [incident], evaluation.alarms, frozenset(evaluation.false_alarms), "errors/s"
    )
    return standalone(
        draw(panel, "temporal_envelope_multivariate"),
        (WIDTH, height_of(panel)),
        "temporal_envelope_multivariate on requests, errors and cpu of a service",
        "one channel with its own bounds, and the score of the group; fitted on two weeks",
        LEGEND,
    )
