from __future__ import annotations

import json
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vmanomaly.series import FloatArray, Labels, Predictions
from vmanomaly.writer.encode import LineEncoder, Piece, warm_up
from vmanomaly.writer.format import Destination, written_labels

DESTINATION = Destination('a "quoted" \\ query', "zscore", "every_minute", "default")
METRIC_FORMAT = {"__name__": "$VAR", "for": "$QUERY_KEY", "kind": "<$VAR>"}
OUTPUTS = ("anomaly_score", "yhat")

Points = dict[Labels, list[tuple[int, float]]]


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    warm_up()


def decode(pieces: list[Piece]) -> Points:
    """Read the pieces as the server would, by the standard library's JSON."""
    points: Points = defaultdict(list)
    for piece in pieces:
        lines = piece.body.decode().splitlines()
        decoded = [json.loads(line) for line in lines]
        assert piece.n_series == len(lines)
        assert piece.n_points == sum(len(line["values"]) for line in decoded)
        assert piece.body.endswith(b"]}\n")
        for line in decoded:
            assert len(line["values"]) == len(line["timestamps"]) > 0
            points[Labels(line["metric"])] += zip(line["timestamps"], line["values"], strict=True)
    return points


def expected(predictions: Predictions) -> Points:
    points: Points = {}
    for output, values in predictions.outputs.items():
        for labels, row in zip(predictions.labels, values.tolist(), strict=True):
            finite = [
                (t, value)
                for t, value in zip(predictions.timestamps.tolist(), row, strict=True)
                if math.isfinite(value)
            ]
            if finite:
                points[written_labels(labels, METRIC_FORMAT, DESTINATION, output)] = finite
    return points


def some_labels(n_series: int) -> tuple[Labels, ...]:
    return tuple(
        Labels({"__name__": "in", "i": str(i), "text": 'tab\t"quote" \\ ünï \N{SNOWMAN}'})
        for i in range(n_series)
    )


def predict(values: FloatArray, start: int = 1_700_000_000_000) -> Predictions:
    n_series, n_timestamps = values.shape
    timestamps = start + 60_000 * np.arange(n_timestamps, dtype=np.int64)
    outputs = dict(zip(OUTPUTS, (values, -values), strict=True))
    return Predictions(some_labels(n_series), timestamps, outputs)


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6),
        elements=st.floats() | st.just(math.nan),
    ),
    st.sampled_from([-120_000, 0, 9_999_900_000, 1_700_000_000_000]),
    st.sampled_from([1, 400, 700, 1500, 8 << 20]),
)
@settings(deadline=None)
def test_pieces_hold_every_finite_value_and_nothing_else(
    values: FloatArray, start: int, max_piece_bytes: int
) -> None:
    predictions = predict(values, start)
    pieces = list(LineEncoder(METRIC_FORMAT, max_piece_bytes).pieces(predictions, DESTINATION))
    assert decode(pieces) == expected(predictions)
    for piece in pieces:
        assert len(piece.body) <= max_piece_bytes or piece.n_points <= len(OUTPUTS)


@pytest.mark.parametrize("shape", [(700, 1), (1, 4000), (30, 90)])
def test_pieces_are_as_large_as_allowed_and_in_order(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    values[values > 1.5] = np.nan
    predictions = predict(values)
    pieces = list(LineEncoder(METRIC_FORMAT, 50_000).pieces(predictions, DESTINATION))
    assert max(len(piece.body) for piece in pieces) <= 50_000
    assert min(len(piece.body) for piece in pieces[:-1]) > 25_000
    assert decode(pieces) == expected(predictions)


def test_numbers_read_back_exactly() -> None:
    special = [0.1 + 0.2, 1e22, 1e-7, 5e-324, -1.7976931348623157e308, -0.0, 2.0**53 + 2]
    predictions = predict(np.array([special]))
    points = decode(list(LineEncoder(METRIC_FORMAT).pieces(predictions, DESTINATION)))
    found = points[written_labels(some_labels(1)[0], METRIC_FORMAT, DESTINATION, "anomaly_score")]
    assert [value.hex() for _, value in found] == [value.hex() for value in special]


def test_views_and_other_layouts_are_encoded() -> None:
    values = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    predictions = Predictions(some_labels(3), np.arange(4) * 1000, {"yhat": values})
    pieces = list(LineEncoder(METRIC_FORMAT).pieces(predictions, DESTINATION))
    assert decode(pieces) == expected(predictions)


def test_printed_labels_are_kept_while_the_series_stay_the_same() -> None:
    encoder = LineEncoder(METRIC_FORMAT)
    labels = some_labels(3)
    first = encoder.series_text(labels, DESTINATION)
    assert encoder.series_text(tuple(labels), DESTINATION) is first
    assert encoder.series_text(some_labels(3), DESTINATION) is first
    changed = encoder.series_text((*labels, Labels({"i": "new"})), DESTINATION)
    assert changed is not first
    assert encoder.series_text(labels, DESTINATION).text.tobytes() == first.text.tobytes()


def test_destinations_do_not_share_printed_labels() -> None:
    encoder = LineEncoder(METRIC_FORMAT)
    other = Destination("other", "mad", "daily", "default")
    predictions = predict(np.array([[1.0]]))
    for destination in (DESTINATION, other, DESTINATION):
        (piece,) = encoder.pieces(predictions, destination)
        metric = json.loads(piece.body.splitlines()[0])["metric"]
        assert metric["for"] == destination.query_key
        assert metric["model_alias"] == destination.model_alias


def test_series_with_an_account_are_counted() -> None:
    labels = (Labels({"vm_account_id": "1"}), Labels({"job": "node"}))
    assert LineEncoder(METRIC_FORMAT).series_text(labels, DESTINATION).n_with_account == 1
    explicit = {**METRIC_FORMAT, "vm_account_id": "7"}
    assert LineEncoder(explicit).series_text(labels, DESTINATION).n_with_account == 2
