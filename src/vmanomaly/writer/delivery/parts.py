"""Save the good samples of a remote-write request that was refused for a few bad ones.

Prometheus takes a request whole or not at all: one sample that comes too late keeps out all the
others. So a refused request is cut in halves, in time and by series in turn, until what is
refused is only what has to be.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cramjam

from vmanomaly.writer.delivery.delivery import Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.queue import Record
from vmanomaly.writer.encoding.protobuf import FIELD_1, FIELD_2, field

# In the words of Prometheus, Mimir, Cortex and Thanos.
_REASONS = {
    "out_of_order": re.compile(r"out[ -]of[ -]order", re.IGNORECASE),
    "duplicate_sample": re.compile(r"duplicate|repeated timestamp", re.IGNORECASE),
    "too_old_sample": re.compile(r"too[ -]old|out of bounds", re.IGNORECASE),
}
_SAMPLE_STATUSES = frozenset({"400", "409"})
# Nothing is cut any more after so many requests, of which none, or only some, were taken.
_MAX_REQUESTS_IN_VAIN = 64
_MAX_REQUESTS = 256


@dataclass(frozen=True, slots=True)
class _Series:
    """One time series of a request: its labels and samples as they are encoded."""

    labels: bytes
    timestamps: tuple[int, ...]
    samples: tuple[bytes, ...]


def sample_reason(refused: Refused) -> str | None:
    """Return what the server says is wrong with a sample's time, or None if it is something else.

    Returns
    -------
    str or None
        `out_of_order`, `duplicate_sample` or `too_old_sample`.
    """
    if refused.error.code not in _SAMPLE_STATUSES:
        return None
    words = str(refused.error)
    return next((reason for reason, said in _REASONS.items() if said.search(words)), None)


def send_in_parts(record: Record, send: Callable[[Record], Outcome]) -> Outcome:
    """Send a record; if it is refused for the time of a sample, send its parts.

    The parts of a series are sent oldest first. A server that goes away meanwhile gets the whole
    record again: what it has taken by then, it refuses or takes again without harm.

    Parameters
    ----------
    record
        A compressed `WriteRequest`.
    send
        Makes one request.

    Returns
    -------
    Sent, Retry or Refused
        The last one with the samples that had to be given up, by reason.
    """
    outcome = send(record)
    if not isinstance(outcome, Refused) or sample_reason(outcome) is None:
        return outcome
    n_requests = 1
    taken = False
    refused: Counter[str] = Counter()
    refusal = outcome
    parts = list(_halves(list(_decode(record.body)), in_time=True))
    if not parts:
        refused[sample_reason(outcome) or outcome.error.code] += record.n_points
    while parts:
        series, in_time = parts.pop()
        part = _record(series, record)
        outcome = send(part)
        n_requests += 1
        if isinstance(outcome, Retry):
            return outcome
        if isinstance(outcome, Sent):
            taken = True
            continue
        refusal = outcome
        reason = sample_reason(outcome)
        may_cut = n_requests < (_MAX_REQUESTS if taken else _MAX_REQUESTS_IN_VAIN)
        halves = list(_halves(series, in_time)) if reason is not None and may_cut else []
        if halves:
            parts += halves
        else:
            refused[reason or outcome.error.code] += part.n_points
    return Refused(refusal.error, refused) if refused else Sent()


def _halves(series: list[_Series], in_time: bool) -> Iterator[tuple[list[_Series], bool]]:
    """Yield the later and then the earlier half, or one half of the series and then the other.

    Each comes with whether it is to be cut in time next. What holds one sample has no halves.
    """
    timestamps = sorted({timestamp for one in series for timestamp in one.timestamps})
    if len(timestamps) > 1 and (in_time or len(series) == 1):
        middle = timestamps[len(timestamps) // 2]
        for later in (True, False):
            yield [part for one in series if (part := _between(one, middle, later)).samples], False
    elif len(series) > 1:
        middle = len(series) // 2
        for half in (series[middle:], series[:middle]):
            yield half, True


def _between(series: _Series, middle: int, later: bool) -> _Series:
    chosen = [(timestamp >= middle) == later for timestamp in series.timestamps]
    return _Series(
        series.labels,
        tuple(itertools.compress(series.timestamps, chosen)),
        tuple(itertools.compress(series.samples, chosen)),
    )


def _record(series: Sequence[_Series], whole: Record) -> Record:
    body = b"".join(field(FIELD_1, one.labels + b"".join(one.samples)) for one in series)
    return replace(
        whole,
        body=bytes(cramjam.snappy.compress_raw(body)),
        n_points=sum(len(one.samples) for one in series),
        oldest_timestamp=min(one.timestamps[0] for one in series),
        n_series=len(series),
    )


def _decode(body: bytes) -> Iterator[_Series]:
    """Yield the series of a request that `protobuf.WriteRequestEncoder` made."""
    content = bytes(cramjam.snappy.decompress_raw(body))
    at = 0
    while at < len(content):
        length, at = _read_varint(content, at + 1)
        end = at + length
        labels = at
        while at < end and content[at] == FIELD_1:
            length, at = _read_varint(content, at + 1)
            at += length
        first_sample = at
        timestamps = []
        samples = []
        while at < end and content[at] == FIELD_2:
            start = at
            length, at = _read_varint(content, at + 1)
            # After the value: nine bytes, and the tag of the timestamp.
            timestamp, _ = _read_varint(content, at + 10)
            at += length
            timestamps.append(timestamp - (1 << 64) if timestamp >> 63 else timestamp)
            samples.append(content[start:at])
        yield _Series(content[labels:first_sample], tuple(timestamps), tuple(samples))


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while content[at] > 0x7F:
        number |= (content[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | content[at] << shift, at + 1
