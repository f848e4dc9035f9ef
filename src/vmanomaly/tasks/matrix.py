"""Predictions as a matrix in the JSON of Prometheus' API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import orjson

from vmanomaly.series import FloatArray, IntArray, Labels


class Matrix:
    """Collects series piece by piece, in the order of time, and writes them as JSON.

    What is NaN is left out. Values are text, so that no number is lost.

    Examples
    --------
    >>> matrix = Matrix()
    >>> up = Labels({"__name__": "yhat", "job": "api"})
    >>> matrix.add(up, np.array([60_000, 90_500]), np.array([0.5, np.inf]))
    >>> b"".join(matrix.json())
    b'[{"metric":{"__name__":"yhat","job":"api"},"values":[[60,"0.5"],[90.5,"+Inf"]]}]'
    """

    def __init__(self) -> None:
        self.n_samples = 0
        self._pieces: dict[Labels, list[tuple[IntArray, FloatArray]]] = {}

    @property
    def n_series(self) -> int:
        """The number of series that have a sample."""
        return len(self._pieces)

    def add(self, labels: Labels, timestamps: IntArray, values: FloatArray) -> None:
        """Add a piece of a series.

        Parameters
        ----------
        labels
            All labels of the series, `__name__` included.
        timestamps : ndarray of int64, shape (T,)
            Unix milliseconds, after those of the pieces before.
        values : ndarray of float64, shape (T,)
        """
        there = ~np.isnan(values)
        n_samples = int(np.count_nonzero(there))
        if not n_samples:
            return
        self.n_samples += n_samples
        self._pieces.setdefault(labels, []).append((timestamps[there], values[there]))

    def json(self) -> Iterator[bytes]:
        """Yield the list of series."""
        separator = b"["
        for labels, pieces in self._pieces.items():
            timestamps = np.concatenate([times for times, _ in pieces])
            values = np.concatenate([values for _, values in pieces])
            samples = [
                list(sample) for sample in zip(_seconds(timestamps), _texts(values), strict=True)
            ]
            yield separator + orjson.dumps({"metric": dict(labels), "values": samples})
            separator = b","
        yield b"[]" if separator == b"[" else b"]"


def _seconds(timestamps: IntArray) -> Iterable[int | float]:
    if (timestamps % 1000).any():
        return [
            milliseconds / 1000 if milliseconds % 1000 else milliseconds // 1000
            for milliseconds in timestamps.tolist()
        ]
    seconds: list[int] = (timestamps // 1000).tolist()
    return seconds


_INFINITE: Mapping[str, str] = {"inf": "+Inf", "-inf": "-Inf"}


def _texts(values: FloatArray) -> list[str]:
    texts = [repr(value) for value in values.tolist()]
    if np.isfinite(values).all():
        return texts
    return [_INFINITE.get(text, text) for text in texts]
