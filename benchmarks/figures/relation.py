"""A group whose relation breaks while each of its channels stays inside its own bounds."""

from __future__ import annotations

import numpy as np

from benchmarks.figures.models import LEGEND
from benchmarks.figures.svg import standalone
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)
from vmanomaly.config.reader import Query
from vmanomaly.demo.evaluate import ScoredSeries, evaluate
from vmanomaly.demo.incidents import Incident
from vmanomaly.demo.plot import WIDTH, Panel, draw, height_of
from vmanomaly.model import Channel, GroupedBatch, create_multivariate_model
from vmanomaly.model.joint import predict_channels, predict_groups
from vmanomaly.series import FloatArray, Labels

STEP = 300_000
DAY = 288
START = 1_780_272_000_000
N_PAST = 14 * DAY
BROKEN = slice(N_PAST + DAY + 100, N_PAST + DAY + 172)
"""Six hours in which errors fall when requests rise."""

NAMES = ("requests", "errors", "cpu")


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
    channels = tuple(Channel(name, Labels({"service": "shop"})) for name in NAMES)
    observed = values()
    timestamps = START + STEP * np.arange(observed.shape[1], dtype=np.int64)

    def batch(columns: slice) -> GroupedBatch:
        return GroupedBatch(
            (Labels({"service": "shop"}),),
            channels,
            np.array([0, len(NAMES)]),
            timestamps[columns],
            np.ascontiguousarray(observed[:, columns]),
        )

    queries = [Query.model_validate({"alias": name, "expr": name, "step": "5m"}) for name in NAMES]
    section = TemporalEnvelopeMultivariateSection.model_validate(
        {"class": "temporal_envelope_multivariate"}
    )
    model = create_multivariate_model(section, queries)
    state = model.fit(batch(slice(N_PAST)))
    present = batch(slice(N_PAST, None))
    output = model.infer(state, present, np.arange(len(present.timestamps), dtype=np.int64))
    (joint,) = predict_groups(present, output, {}, ["anomaly_score"]).outputs["anomaly_score"]
    of_channel = predict_channels(present, output, {}, ["y", "yhat", "yhat_lower", "yhat_upper"])[
        "errors"
    ].outputs
    shop = Labels({"service": "shop"})
    scored = ScoredSeries(
        query="errors",
        model="anomaly_score",
        series=shop,
        timestamps=present.timestamps,
        outputs={"anomaly_score": joint, **{name: found[0] for name, found in of_channel.items()}},
    )
    times = timestamps[BROKEN]
    incident = Incident("Relation broken", "relation", "found", shop, int(times[0]), int(times[-1]))
    (evaluation,) = evaluate([scored], [incident])
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
