from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.writer.write_requests import decode_write_request
from vmanomaly.series import FloatArray, Labels, Origin, Predictions
from vmanomaly.writer.encoding.encode import AnyEncoder, Piece
from vmanomaly.writer.encoding.json_lines import LineEncoder
from vmanomaly.writer.encoding.protobuf import WriteRequestEncoder
from vmanomaly.writer.format import written_labels

ORIGIN = Origin(('a "quoted" \\ query',), "zscore", "every_minute", "default")
METRIC_FORMAT = {"__name__": "$VAR", "for": "$QUERY_KEY", "kind": "<$VAR>"}
OUTPUTS = ("anomaly_score", "yhat")

Points = dict[Labels, list[tuple[int, float]]]


Decoded = list[tuple[Labels, list[tuple[int, float]]]]


def decode_lines(body: bytes) -> Decoded:
    """Read lines as the server would, by the standard library's JSON."""
    assert body.endswith(b"]}\n")
    decoded = [json.loads(line) for line in body.decode().splitlines()]
    return [
        (Labels(line["metric"]), list(zip(line["timestamps"], line["values"], strict=True)))
        for line in decoded
    ]


@dataclass(frozen=True)
class Format:
    """An encoder, and an independent decoder of its bodies."""

    encoder: type[AnyEncoder]
    decode_body: Callable[[bytes], Decoded]

    def encode(self, predictions: Predictions, max_piece_bytes: int = 8 << 20) -> list[Piece]:
        encoder = self.encoder(METRIC_FORMAT, max_piece_bytes)
        return list(encoder.pieces(predictions, ORIGIN))

    def decode(self, pieces: list[Piece]) -> Points:
        points: Points = defaultdict(list)
        for piece in pieces:
            series = self.decode_body(piece.body)
            assert piece.n_series == len(series)
            assert piece.n_points == sum(len(samples) for _, samples in series)
            for labels, samples in series:
                assert samples
                points[labels] += samples
        return points


FORMATS = [Format(LineEncoder, decode_lines), Format(WriteRequestEncoder, decode_write_request)]


@pytest.fixture(scope="module", params=FORMATS, ids=["json_lines", "protobuf"])
def wire(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    found.encoder.warm_up()
    return found


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
                points[written_labels(labels, METRIC_FORMAT, ORIGIN, output)] = finite
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
def test_pieces_hold_every_finite_value_and_nothing_else(
    wire: Format, values: FloatArray, start: int, max_piece_bytes: int
) -> None:
    predictions = predict(values, start)
    pieces = wire.encode(predictions, max_piece_bytes)
    assert wire.decode(pieces) == expected(predictions)
    for piece in pieces:
        assert len(piece.body) <= max_piece_bytes or piece.n_points <= len(OUTPUTS)


@pytest.mark.parametrize("shape", [(700, 1), (1, 4000), (30, 90)])
def test_pieces_are_as_large_as_allowed_and_in_order(wire: Format, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    values[values > 1.5] = np.nan
    predictions = predict(values)
    pieces = wire.encode(predictions, 50_000)
    assert max(len(piece.body) for piece in pieces) <= 50_000
    assert min(len(piece.body) for piece in pieces[:-1]) > 25_000
    assert wire.decode(pieces) == expected(predictions)


def test_numbers_read_back_exactly(wire: Format) -> None:
    special = [0.1 + 0.2, 1e22, 1e-7, 5e-324, -1.7976931348623157e308, -0.0, 2.0**53 + 2]
    predictions = predict(np.array([special]))
    points = wire.decode(wire.encode(predictions))
    found = points[written_labels(some_labels(1)[0], METRIC_FORMAT, ORIGIN, "anomaly_score")]
    assert [value.hex() for _, value in found] == [value.hex() for value in special]


def test_views_and_other_layouts_are_encoded(wire: Format) -> None:
    values = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    predictions = Predictions(some_labels(3), np.arange(4) * 1000, {"yhat": values})
    pieces = wire.encode(predictions)
    assert wire.decode(pieces) == expected(predictions)


def test_encoded_labels_are_kept_while_the_series_stay_the_same(wire: Format) -> None:
    encoder = wire.encoder(METRIC_FORMAT)
    labels = some_labels(3)
    first = encoder.encoded_series(labels, ORIGIN)
    assert encoder.encoded_series(tuple(labels), ORIGIN) is first
    assert encoder.encoded_series(some_labels(3), ORIGIN) is first
    changed = encoder.encoded_series((*labels, Labels({"i": "new"})), ORIGIN)
    assert changed is not first
    assert encoder.encoded_series(labels, ORIGIN).text.tobytes() == first.text.tobytes()


def test_destinations_do_not_share_encoded_labels(wire: Format) -> None:
    encoder = wire.encoder(METRIC_FORMAT)
    other = Origin(("other",), "mad", "daily", "default")
    predictions = predict(np.array([[1.0]]))
    for origin in (ORIGIN, other, ORIGIN):
        (piece,) = encoder.pieces(predictions, origin)
        metric, _ = wire.decode_body(piece.body)[0]
        assert metric["for"] == origin.query_key
        assert metric["model_alias"] == origin.model_alias


def test_series_with_an_account_are_counted(wire: Format) -> None:
    labels = (Labels({"vm_account_id": "1"}), Labels({"job": "node"}))
    assert wire.encoder(METRIC_FORMAT).encoded_series(labels, ORIGIN).n_with_account == 1
    explicit = {**METRIC_FORMAT, "vm_account_id": "7"}
    assert wire.encoder(explicit).encoded_series(labels, ORIGIN).n_with_account == 2
