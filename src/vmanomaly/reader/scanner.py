"""The scanner of `query_range` answers: JSON, as it arrives, straight into a matrix.

The normal shape, as VictoriaMetrics and Prometheus write it, is scanned by a compiled kernel: no
Python object is made for a sample, and none for a series whose label set was met before. A series
of any other legal shape (white space, other keys or another order, escaped keys, numbers outside
strings, numbers that need more than 128 bits to round) is read by a JSON parser, with the same
result.

Three rules hold where an answer is ambiguous, and all of them let the last one win: a label that
occurs twice in a series, a timestamp that occurs twice in a series, and series with the same
label set, which become one. Samples off the requested grid are left out and counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from vmanomaly.errors import DatasourceError, TooLargeError
from vmanomaly.printable import shown_size
from vmanomaly.reader import scan
from vmanomaly.reader.labels import MAX_LABEL_SET_BYTES, MAX_LABELS, LabelCache
from vmanomaly.reader.messages import says_partial
from vmanomaly.reader.parsing import parse_json
from vmanomaly.series import FloatArray, IntArray, Labels

_Bytes: TypeAlias = NDArray[np.uint8]
Place: TypeAlias = Callable[[Sequence[Labels], FloatArray], None]

_SCAN_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16
# Of what is kept until all of it is there, because a JSON parser has to see it or it is one series.
# What that makes of it may take twenty times as much.
_MAX_PART_BYTES = 8 << 20
_MAX_SAMPLE_BYTES = 256
_BLOCK_SAMPLES = 1 << 16
_MIN_BLOCK_ROWS = 8

_SPACE = rb"[ \t\r\n]*"
_TEXT = rb'"(?:[^"\\]|\\.)*+"'
# Anything simple may stand before the series, such as isPartial, or the warnings of some servers.
_SIMPLE = rb"(?:true|false|null|TEXT|\[~(?:TEXT~(?:,~TEXT~)*+)?\])".replace(b"TEXT", _TEXT)
_MEMBERS = rb"(?:TEXT~:~SIMPLE~,~)*+".replace(b"TEXT", _TEXT).replace(b"SIMPLE", _SIMPLE)
_SERIES_HEAD = b'{"metric":'
_HEAD = re.compile(
    (rb"~\{~" + _MEMBERS + rb'"data"~:~\{~"resultType"~:~"matrix"~,~"result"~:~\[').replace(
        b"~", _SPACE
    )
)
# Replaces the scanned series while the few bytes around them are parsed; a second "result"
# would be noticed.
_PLACEHOLDER = 4_503_599_627


@dataclass(frozen=True, slots=True)
class Answer:
    """What a `query_range` answer held in addition to the series.

    Attributes
    ----------
    is_partial : bool
        Whether the server says that data is missing (`isPartial` of a cluster, `warnings` of
        Thanos, Cortex and Prometheus).
    n_series : int
        Series in the answer.
    n_samples : int
        Samples in the answer that are not NaN.
    n_off_grid : int
        Samples that were left out because their timestamp is not on the grid.
    warnings : tuple of str
        What the server says in addition, in order.
    """

    is_partial: bool
    n_series: int
    n_samples: int
    n_off_grid: int
    warnings: tuple[str, ...] = ()


class Scanner:
    """Takes one `query_range` answer in pieces, and passes on its series in blocks.

    Parameters
    ----------
    timestamps : ndarray of int64, shape (T,)
        The requested grid, Unix milliseconds; at least one.
    step
        The distance of the timestamps, milliseconds.
    cache
        The label sets of earlier answers to the same query.
    place
        Called with the label sets of some series and their samples, one row per series, NaN where
        there is none; the array is reused afterwards.
    parse_value
        Returns the number that a value is which is not in the usual form; raises ValueError where
        it is none.

    Examples
    --------
    >>> scanner = Scanner(np.array([60_000, 120_000, 180_000]), 60_000, LabelCache(), print)
    >>> scanner.feed(b'{"status":"success","data":{"resultType":"matrix","result":[')
    >>> scanner.feed(b'{"metric":{"cpu":"0"},"values":[[60,"1.5"],[180,"-Inf"]]}]}}')
    >>> scanner.finish()
    [{cpu="0"}] [[ 1.5  nan -inf]]
    Answer(is_partial=False, n_series=1, n_samples=2, n_off_grid=0, warnings=())
    """

    def __init__(
        self,
        timestamps: IntArray,
        step: int,
        cache: LabelCache,
        place: Place,
        parse_value: Callable[[str], float] = float,
    ) -> None:
        self._first = int(timestamps[0])
        self._step = step
        self._names = cache.recogniser()
        self._place = place
        self._parse_value = parse_value
        self._buffer: _Bytes = np.zeros(2 * _SCAN_BYTES, dtype=np.uint8)
        self._dropped = 0  # bytes of the answer that stood before the buffer's start
        self._position = 0
        self._n = 0
        self._scan_at = _HEAD_BYTES
        self._head: bytes | None = None
        self._plain = False
        self._ended = False
        self._n_series = 0
        self._max_part_bytes = _MAX_PART_BYTES + _MAX_SAMPLE_BYTES * len(timestamps)
        n_rows = max(_BLOCK_SAMPLES // len(timestamps), _MIN_BLOCK_ROWS)
        self._block: FloatArray = np.empty((n_rows, len(timestamps)))
        self._bounds: IntArray = np.empty((n_rows, 2), dtype=np.int64)
        self._counts: IntArray = np.zeros(2, dtype=np.int64)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the answer.

        Raises
        ------
        TooLargeError
            A label set, a series, or what is not a series is larger than any that is taken.
        DatasourceError
            The answer is not what it should be; the message names the byte offset.
        """
        self._append(piece)
        if self._plain or self._ended:
            self._check_size()
        elif self._n >= self._scan_at:
            self._scan()
            self._check_size()
            self._scan_at = self._n + max(_SCAN_BYTES, self._n - self._position)

    @property
    def shrinks_with_range(self) -> bool:
        """Whether a shorter range makes the answer smaller: its series have several samples."""
        return int(self._counts[0]) > self._n_series

    def finish(self) -> Answer:
        """Return what the answer holds; the scanner is used up.

        Raises
        ------
        DatasourceError
            The answer is cut off or not what it should be, or the server says that it failed.
        """
        if not self._plain and not self._ended:
            self._scan()
        if self._head is None:
            is_partial, warnings = self._read_plainly()
        elif not self._ended:
            raise self._cut_off()
        else:
            is_partial, warnings = self._read_envelope(self._head)
        self._names.finish()
        datapoints, off_grid = (int(count) for count in self._counts)
        return Answer(is_partial, self._n_series, datapoints, off_grid, warnings)

    def _append(self, piece: bytes) -> None:
        if self._n + len(piece) + scan.PADDING > len(self._buffer):
            self._make_room(len(piece))
        end = self._n + len(piece)
        self._buffer[self._n : end] = np.frombuffer(piece, dtype=np.uint8)
        self._buffer[end : end + scan.PADDING] = 0
        self._n = end

    def _make_room(self, needed: int) -> None:
        """Drop the bytes that were scanned, and take a larger buffer if that is not enough."""
        kept = self._rest()
        size = len(kept) + needed + scan.PADDING
        if size > len(self._buffer):
            self._buffer = np.empty(2 * size, dtype=np.uint8)
        self._buffer[: len(kept)] = np.frombuffer(kept, dtype=np.uint8)
        self._dropped += self._position
        self._scan_at -= self._position
        self._n, self._position = len(kept), 0

    def _check_size(self) -> None:
        """Raise TooLargeError where what is kept is longer than anything that is to be taken."""
        n_kept = self._n - self._position
        if self._head is not None and not self._ended and n_kept > MAX_LABEL_SET_BYTES:
            self._check_labels()
        if n_kept <= self._max_part_bytes:
            return
        more_than = f"more than {shown_size(self._max_part_bytes)}"
        if self._plain:
            # A shorter range makes it smaller, as far as it holds samples.
            raise TooLargeError(
                f"The answer does not begin as that of a range query does, and is {more_than}: is "
                f"this a `query_range` address?",
                by_range=True,
            )
        what = "what follows the series" if self._ended else "the series"
        raise TooLargeError(
            f"The answer is too large: {what} at byte {self._offset} is {more_than}"
        )

    def _check_labels(self) -> None:
        """Raise TooLargeError if the series at the position begins with too long a label set."""
        start = self._position + len(_SERIES_HEAD)
        if self._buffer[self._position : start].tobytes() != _SERIES_HEAD:
            return
        end = min(start + MAX_LABEL_SET_BYTES, self._n)
        if scan.skip_object(self._buffer, start, end) < 0:
            raise _too_many_labels(
                f"a label set of more than {shown_size(MAX_LABEL_SET_BYTES)}", self._offset
            )

    @property
    def _offset(self) -> int:
        return self._dropped + self._position

    def _rest(self) -> bytes:
        return self._buffer[self._position : self._n].tobytes()

    def _scan(self) -> None:
        if self._head is None:
            found = _HEAD.match(self._buffer[: min(self._n, _HEAD_BYTES)].tobytes())
            if found is None:
                self._plain = True
                return
            self._head = found[0]
            self._position = found.end()
        while not self._ended:
            reason, self._position, n_rows = scan.scan_series(
                self._buffer,
                self._position,
                self._n,
                self._n_series == 0,
                self._first,
                self._step,
                self._block,
                self._bounds,
                self._counts,
            )
            self._hand_on(n_rows)
            if reason == scan.UNUSUAL:
                reason = self._read_one()
            if reason == scan.INVALID:
                raise self._invalid(self._offset, "this cannot follow in an array of series")
            if reason == scan.NEEDS_BYTES:
                return
            self._ended = reason == scan.ARRAY_END

    def _hand_on(self, n_rows: int) -> None:
        """Pass on the first rows of the block, while the bytes of their label sets are there."""
        if n_rows == 0:
            return
        try:
            labels = self._names.name(self._buffer, self._bounds[:n_rows])
        except TooLargeError as error:
            raise _too_many_labels(str(error), self._dropped + int(self._bounds[0, 0])) from error
        except ValueError as error:
            raise DatasourceError(
                f"The answer is not valid: after byte {self._dropped + int(self._bounds[0, 0])}, a "
                f"label set that is not an object of strings: {error}",
                "io_error",
            ) from error
        self._place(labels, self._block[:n_rows])
        self._n_series += n_rows

    def _read_one(self) -> int:
        """Read the series at the position with the JSON parser; return how the array continues."""
        end = scan.skip_object(self._buffer, self._position, self._n)
        behind = scan.skip_spaces(self._buffer, end)
        if behind >= self._n:
            return scan.NEEDS_BYTES
        text = self._buffer[self._position : end].tobytes()
        try:
            series = parse_json(text)
        except orjson.JSONDecodeError as error:
            raise self._not_json(self._offset, text, error) from error
        self._add(series, self._offset)
        self._position = behind
        if self._buffer[behind] not in b",]":
            return scan.INVALID
        self._position += 1
        return scan.ARRAY_END if self._buffer[behind] == ord("]") else scan.NEEDS_ROWS

    def _add(self, series: Any, offset: int) -> None:
        """Pass on a parsed series."""
        where = f"in the series at byte {offset}"
        if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
            raise _malformed(f"{where} there is no object `metric`")
        # A series may hold native histograms and no values.
        samples = series.get("values", [] if "histograms" in series else None)
        if not isinstance(samples, list):
            raise _malformed(f"{where} there is no array `values`")
        row = self._block[0]
        row[:] = np.nan
        for sample in samples:
            try:
                timestamp, value = _sample(sample, self._parse_value)
            except (TypeError, ValueError, OverflowError) as error:
                raise _malformed(
                    f'{where} a sample is not [seconds, "value"]: {sample!r:.100}'
                ) from error
            column, remainder = divmod(timestamp - self._first, self._step)
            if remainder == 0 and 0 <= column < len(row):
                row[column] = value
                self._counts[0] += not math.isnan(value)
            else:
                self._counts[1] += 1
        try:
            labels = self._names.name_texts([orjson.dumps(series["metric"])])
        except TooLargeError as error:
            raise _too_many_labels(str(error), offset) from error
        except ValueError as error:
            raise _malformed(f"{where}: {error}") from error
        self._place(labels, self._block[:1])
        self._n_series += 1

    def _read_envelope(self, head: bytes) -> tuple[bool, tuple[str, ...]]:
        """Check what is around the array; return whether data is missing, and warnings."""
        rest = self._rest()
        envelope = head + b"%d]" % _PLACEHOLDER + rest
        try:
            answer = parse_json(envelope)
        except orjson.JSONDecodeError as error:
            shift = self._offset - (len(envelope) - len(rest))
            raise self._not_json(shift, envelope, error) from error
        if _success(answer) != [_PLACEHOLDER]:
            raise _malformed("the key `result` occurs twice")
        return _caveats(answer)

    def _read_plainly(self) -> tuple[bool, tuple[str, ...]]:
        """Read an answer of unusual shape with the JSON parser; return as `_read_envelope`."""
        text = self._rest()
        try:
            answer = parse_json(text)
        except orjson.JSONDecodeError as error:
            raise self._not_json(0, text, error) from error
        result = _success(answer)
        if not isinstance(result, list):
            raise _malformed("there is no array `data.result`")
        for series in result:
            self._add(series, 0)
        return _caveats(answer)

    def _cut_off(self) -> DatasourceError:
        """Return the error of an array that does not end, or ends because of a wrong byte."""
        text = self._rest()
        try:
            parse_json(text)
        except orjson.JSONDecodeError as error:
            if error.pos < len(error.doc):
                return self._not_json(self._offset, text, error)
        return self._ends_early(f", within the part that starts at byte {self._offset}")

    def _ends_early(self, where: str = "") -> DatasourceError:
        return DatasourceError(
            f"The answer is cut off: it ends at byte {self._dropped + self._n}{where}", "io_error"
        )

    def _not_json(self, offset: int, text: bytes, error: orjson.JSONDecodeError) -> DatasourceError:
        offset += len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        if not text.strip():
            return DatasourceError("The answer is empty where JSON was expected", "io_error")
        if error.pos >= len(error.doc):
            return self._ends_early()
        return self._invalid(offset, error.msg)

    def _invalid(self, offset: int, reason: str) -> DatasourceError:
        start = max(offset - self._dropped, 0)
        near = self._buffer[start : min(start + 40, self._n)].tobytes()
        return DatasourceError(
            f"The answer is not valid JSON at byte {offset}, near {near!r}: {reason}", "io_error"
        )


def warm_up() -> None:
    """Compile the kernels, or load them from the cache on disk, before the first answer."""
    body = (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{},"values":[[60,"1"]]}, {"metric":{"a":"b"}, "values":[[60,"1"]]} ]}}'
    )
    grid = np.array([60_000], dtype=np.int64)
    scanner = Scanner(grid, 60_000, LabelCache(), lambda labels, values: None)
    scanner.feed(body)
    scanner.finish()


def _success(answer: Any) -> Any:
    """Return `data.result` of an answer, if the query succeeded; null is no series."""
    if not isinstance(answer, dict) or "status" not in answer:
        raise _malformed("there is no key `status`: is this a `query_range` address?")
    if answer["status"] != "success":
        words = f"{answer.get('errorType', '')}: {answer.get('error', '')}".strip(": ")
        raise DatasourceError(f"The server says that the query failed: {words[:500]}", "io_error")
    data = answer.get("data")
    if not isinstance(data, dict):
        raise _malformed("there is no object `data`")
    kind, result = data.get("resultType"), data.get("result")
    # Some releases of Prometheus and Cortex write an empty result like this.
    if kind == "" and not result:
        return []
    if kind != "matrix":
        raise _malformed(f"`resultType` is {kind!r:.100}, expected 'matrix'")
    return [] if result is None and "result" in data else result


def _caveats(answer: Any) -> tuple[bool, tuple[str, ...]]:
    """Return whether the server says that data is missing, and its warnings."""
    written = answer.get("warnings")
    warnings = written if isinstance(written, list) else []
    texts = tuple(" ".join(text.split()) for text in warnings if isinstance(text, str))
    return answer.get("isPartial") is True or says_partial(texts), texts


def _sample(sample: Any, parse_value: Callable[[str], float]) -> tuple[int, float]:
    """Return the milliseconds and the value of a parsed sample."""
    seconds, value = sample
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(seconds)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    milliseconds = seconds * 1000 if isinstance(seconds, int) else round(seconds * 1000)
    return milliseconds, parse_value(value) if isinstance(value, str) else float(value)


def _too_many_labels(what: str, offset: int) -> TooLargeError:
    return TooLargeError(
        f"The answer has, after byte {offset}, {what}, where {MAX_LABELS} labels and "
        f"{shown_size(MAX_LABEL_SET_BYTES)} are the most. Drop labels in the query, such as with "
        f"`sum(...) by (...)` or, in MetricsQL, `label_del(...)`"
    )


def _malformed(reason: str) -> DatasourceError:
    return DatasourceError(f"The answer is not that of a range query: {reason}", "io_error")
