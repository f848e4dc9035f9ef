"""What an answer to a range query says, read by the standard library, a value at a time."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from vmanomaly.series import FloatArray, IntArray, Labels

_SURROGATES = dict.fromkeys(range(55296, 57344), "�")


class RefusedError(ValueError):
    """The answer is not that of a range query."""


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    Attributes
    ----------
    labels : list of Labels
        Its label sets, in the order of their first occurrence.
    values : ndarray of float64, shape (S, T)
        A row for each.
    n_samples, n_off_grid : int
        Samples on the grid that are not NaN, and samples off it.
    is_partial : bool or None
        Whether it says that data is missing; None where it has warnings that may say so.
    is_ambiguous : bool
        Whether a reader may also refuse it: a key that occurs twice around the series, or a
        number that no float64 can hold.
    names_vary : bool
        Whether a label is a number that is written in more than one way, so that names say nothing.
    """

    labels: list[Labels]
    values: FloatArray
    n_samples: int
    n_off_grid: int
    is_partial: bool | None
    is_ambiguous: bool
    names_vary: bool


def read(body: bytes, grid: IntArray) -> Reading:
    r"""Return what an answer says on a grid of Unix milliseconds.

    Raises
    ------
    RefusedError
        It is not that of a range query.

    Examples
    --------
    >>> reading = read(
    ...     b'{"status":"success","data":{"resultType":"matrix","result":['
    ...     b'{"metric":{"a":"\xff"},"values":[[60,"1.5"],[61,"2"]]}]}}',
    ...     np.array([60_000, 120_000]),
    ... )
    >>> reading.labels, reading.values.tolist(), reading.n_samples, reading.n_off_grid
    ([{a="�"}], [[1.5, nan]], 1, 1)
    """
    parser = _Parser()
    answer = parser.parse(body)
    _require(isinstance(answer, dict) and answer.get("status") == "success")
    data = answer.get("data")
    _require(isinstance(data, dict))
    kind, result = data.get("resultType"), data.get("result")
    if kind == "" and not result:
        result = []
    else:
        _require(kind == "matrix" and "result" in data)
        result = [] if result is None else result
    _require(isinstance(result, list))
    rows: dict[Labels, FloatArray] = {}
    column_of = {int(timestamp): column for column, timestamp in enumerate(grid)}
    n_samples = n_off_grid = 0
    names_vary = False
    for series in result:
        _require(isinstance(series, dict))
        labels = series.get("metric")
        _require(isinstance(labels, dict))
        names_vary = names_vary or any(map(_varies, labels.values()))
        samples = series.get("values", [] if "histograms" in series else None)
        _require(isinstance(samples, list))
        row = np.full(len(grid), np.nan)
        for sample in samples:
            timestamp, value = _sample(sample)
            column = column_of.get(timestamp)
            if column is None:
                n_off_grid += 1
            else:
                row[column] = value
                n_samples += not math.isnan(value)
        label_set = Labels(
            {name: _label(value) for name, value in labels.items() if value is not None}
        )
        if label_set in rows:
            np.copyto(rows[label_set], row, where=~np.isnan(row))
        else:
            rows[label_set] = row
    return Reading(
        list(rows),
        np.array(list(rows.values())).reshape(len(rows), len(grid)),
        n_samples,
        n_off_grid,
        None if isinstance(answer.get("warnings"), list) else answer.get("isPartial") is True,
        parser.is_ambiguous,
        names_vary,
    )


class _Parser:
    """Parses JSON strictly, and notes what other parsers refuse."""

    def __init__(self) -> None:
        self.is_ambiguous = False
        self._has_surrogates = False

    def parse(self, body: bytes) -> Any:
        text = body.decode("utf-8", "replace")
        self._has_surrogates = "\\ud" in text.lower()
        try:
            return json.loads(
                text,
                parse_constant=_refuse,
                parse_float=self._float,
                object_pairs_hook=self._object,
            )
        except (ValueError, RecursionError) as error:
            raise RefusedError(str(error)) from error

    def _float(self, text: str) -> float:
        value = float(text)
        self.is_ambiguous = self.is_ambiguous or math.isinf(value)
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if self._has_surrogates:
            found = {_unicode(name): _unicode(value) for name, value in pairs}
        # Those of a series may occur twice, with one meaning.
        around = {"status", "data", "resultType", "result"} & found.keys()
        self.is_ambiguous = self.is_ambiguous or (bool(around) and len(found) < len(pairs))
        return found


def _sample(sample: Any) -> tuple[int, float]:
    if not (
        isinstance(sample, list)
        and len(sample) == 2
        and type(sample[0]) in {int, float}
        and type(sample[1]) in {int, float, str}
    ):
        raise RefusedError
    seconds, value = sample
    try:
        return round(seconds * 1000), float(value)
    except (ValueError, OverflowError) as error:
        raise RefusedError(str(error)) from error


def _label(value: Any) -> str:
    """Return what a label is: a value that is no string is its JSON."""
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_SURROGATES)


def _varies(value: Any) -> bool:
    """Tell whether there is a number in a value that parsers read, or write, differently."""
    if isinstance(value, dict):
        return any(map(_varies, value.values()))
    if isinstance(value, list):
        return any(map(_varies, value))
    return isinstance(value, float) or (isinstance(value, int) and abs(value) >= 1 << 63)


def _unicode(value: Any) -> Any:
    return value.translate(_SURROGATES) if isinstance(value, str) else value


def _refuse(constant: str) -> NoReturn:
    raise RefusedError(constant)


def _require(condition: bool) -> None:
    if not condition:
        raise RefusedError
