from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.writer.write_requests import decode_write_request, decompress
from vmanomaly.errors import DatasourceError
from vmanomaly.series import FloatArray, Labels, Origin, Predictions
from vmanomaly.writer.delivery.delivery import Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.parts import sample_reason, send_in_parts
from vmanomaly.writer.delivery.queue import Record
from vmanomaly.writer.delivery.sender import to_record
from vmanomaly.writer.encoding.protobuf import WriteRequestEncoder

ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")
START = 1_700_000_000_000
STEP = 60_000


class Receiver:
    """Takes requests whole or not at all, samples of a series in order only, as Prometheus."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[int, float]] = defaultdict(dict)
        self.n_requests = 0
        self.down_at: int | None = None

    def send(self, record: Record) -> Outcome:
        self.n_requests += 1
        if self.n_requests == self.down_at:
            return Retry(DatasourceError("gone", "connection_error"))
        series = decode_write_request(decompress(record.body))
        assert record.n_series == len(series)
        assert record.n_points == sum(len(samples) for _, samples in series)
        assert record.oldest_timestamp == min(samples[0][0] for _, samples in series)
        new = {name: dict(samples) for name, samples in self.stored.items()}
        for labels, samples in series:
            mine = new.setdefault(labels["host"], {})
            for timestamp, value in samples:
                newest = max(mine, default=-1)
                if timestamp < newest:
                    return refused("out of order sample", record.n_points)
                if timestamp == newest and mine[timestamp] != value:
                    return refused("duplicate sample for timestamp", record.n_points)
                mine[timestamp] = value
        self.stored = defaultdict(dict, new)
        return Sent()


def refused(words: str, n_points: int, code: str = "400") -> Refused:
    return Refused(DatasourceError(words, code), {code: n_points})


def make_record(values: FloatArray) -> Record:
    n_series, n_timestamps = values.shape
    predictions = Predictions(
        tuple(Labels({"host": str(i)}) for i in range(n_series)),
        START + STEP * np.arange(n_timestamps, dtype=np.int64),
        {"anomaly_score": values},
    )
    encoder = WriteRequestEncoder({"__name__": "$VAR"})
    (piece,) = encoder.pieces(predictions, ORIGIN)
    return to_record(piece, ORIGIN, encoder)


# No more samples than can be told apart before so many requests in vain end the search.
@given(
    st.lists(st.integers(-1, 7), min_size=1, max_size=4),
    st.integers(1, 7),
    st.data(),
)
def test_every_sample_that_can_be_taken_is_taken(
    newest: list[int], n_timestamps: int, data: st.DataObject
) -> None:
    values = np.arange(float(len(newest) * n_timestamps)).reshape(len(newest), n_timestamps)
    gaps = data.draw(st.sets(st.integers(1, values.size - 1))) if values.size > 1 else set()
    values.flat[list(gaps)] = math.nan
    receiver = Receiver()
    for s, column in enumerate(newest):
        if column >= 0:
            receiver.stored[str(s)][START + STEP * column] = -1.0
    outcome = send_in_parts(make_record(values), receiver.send)
    n_refused = {"out_of_order": 0, "duplicate_sample": 0}
    for s, column in enumerate(newest):
        for t in np.flatnonzero(np.isfinite(values[s])):
            taken = receiver.stored[str(s)].get(START + STEP * int(t)) == values[s, t]
            assert taken == (t > column)
            n_refused["out_of_order"] += bool(t < column)
            n_refused["duplicate_sample"] += bool(t == column)
    expected = {reason: n for reason, n in n_refused.items() if n}
    if expected:
        assert isinstance(outcome, Refused)
        assert outcome.n_points == expected
    else:
        assert outcome == Sent()


@pytest.mark.slow
def test_one_late_series_among_many_costs_few_requests() -> None:
    receiver = Receiver()
    receiver.stored["777"][START + STEP] = 1.0
    outcome = send_in_parts(make_record(np.ones((1000, 1))), receiver.send)
    assert isinstance(outcome, Refused)
    assert outcome.n_points == {"out_of_order": 1}
    assert sum(START in samples for samples in receiver.stored.values()) == 999
    assert receiver.n_requests <= 2 * math.ceil(math.log2(1000)) + 1


def test_a_request_of_known_samples_only_is_given_up_soon() -> None:
    receiver = Receiver()
    for s in range(500):
        receiver.stored[str(s)][START + STEP * 1000] = 1.0
    outcome = send_in_parts(make_record(np.ones((500, 4))), receiver.send)
    assert isinstance(outcome, Refused)
    assert outcome.n_points == {"out_of_order": 2000}
    assert receiver.n_requests < 100


def test_a_receiver_that_goes_away_gets_the_whole_record_again() -> None:
    receiver = Receiver()
    receiver.stored["0"][START + STEP] = -1.0
    record = make_record(np.ones((3, 4)))
    receiver.down_at = 4
    outcome = send_in_parts(record, receiver.send)
    assert isinstance(outcome, Retry)
    receiver.down_at = None
    assert isinstance(send_in_parts(record, receiver.send), Refused)
    for s, n_late in (("0", 2), ("1", 0), ("2", 0)):
        taken = [t for t, value in receiver.stored[s].items() if value == 1.0]
        assert len(taken) == 4 - n_late


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ("out of order sample", "400", "out_of_order"),
        ("the sample was rejected (err-mimir-sample-out-of-order)", "400", "out_of_order"),
        ("out-of-order samples are not allowed", "400", "out_of_order"),
        ("duplicate sample for timestamp", "400", "duplicate_sample"),
        ("sample with repeated timestamp but different value", "400", "duplicate_sample"),
        ("store locally: conflict: out of order sample", "409", "out_of_order"),
        ("out of bounds", "400", "too_old_sample"),
        ("too old sample", "400", "too_old_sample"),
        ("label name is too long", "400", None),
        ("out of order sample", "404", None),
    ],
)
def test_the_words_of_receivers(words: str, code: str, reason: str | None) -> None:
    assert sample_reason(refused(words, 1, code)) == reason


def test_other_refusals_are_not_taken_apart() -> None:
    sent: list[Record] = []

    def send(record: Record) -> Outcome:
        sent.append(record)
        return refused("label name is too long", record.n_points)

    outcome = send_in_parts(make_record(np.ones((2, 2))), send)
    assert isinstance(outcome, Refused)
    assert outcome.n_points == {"400": 4}
    assert len(sent) == 1
