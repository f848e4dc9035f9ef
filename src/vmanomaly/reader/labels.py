"""Label sets by the bytes in which a server writes them.

A query gives the same series again and again, in the same order. The bytes of the label sets of
its last answer are kept contiguously, and a kernel compares a new answer with them: as long as both
agree, nothing is parsed, looked up or made. From the first difference on, label sets are
looked up by their bytes one by one, and only those never met are parsed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from vmanomaly.errors import TooLargeError
from vmanomaly.printable import shown_size
from vmanomaly.reader import scan
from vmanomaly.reader.parsing import parse_json
from vmanomaly.series import IntArray, Labels

_Bytes: TypeAlias = NDArray[np.uint8]

#: Bytes of a label set in an answer, and labels in it. VictoriaMetrics stores 40 labels of 4 KiB at
#: most unless told otherwise.
MAX_LABEL_SET_BYTES = 1 << 20
MAX_LABELS = 1024

# What the label sets looked up by their bytes may take, roughly, before the older are forgotten.
_MAX_REMEMBERED_BYTES = 128 << 20
_BYTES_OF_A_LABEL_SET = 512

# Answers with a new order of series after which label sets that did not occur are forgotten.
_KEPT_ANSWERS = 16


@dataclass(frozen=True, slots=True)
class _Known:
    """The label sets of an answer, in its order, and their bytes."""

    labels: tuple[Labels, ...]
    texts: list[bytes]
    joined: _Bytes
    ends: IntArray

    @classmethod
    def of(cls, labels: tuple[Labels, ...], texts: list[bytes]) -> _Known:
        joined = np.frombuffer(b"".join([*texts, bytes(scan.PADDING)]), dtype=np.uint8)
        return cls(labels, texts, joined, np.cumsum([len(text) for text in texts], dtype=np.int64))


class LabelCache:
    """The label sets that a query has given, so that a series met again costs no parsing.

    Safe to use from several threads.

    Parameters
    ----------
    extra_labels
        Labels that every series gets; they win over those of the answer.
    adapt
        Makes the labels of a series from those of the answer.
    """

    def __init__(
        self,
        extra_labels: Mapping[str, str] | None = None,
        adapt: Callable[[dict[str, str]], dict[str, str]] = dict,
    ) -> None:
        self._extra = dict(extra_labels or {})
        self._adapt = adapt
        self._lock = threading.Lock()
        self._known = _Known.of((), [])
        self._last_tuple: tuple[Labels, ...] = ()
        self._n_remembered = 0
        self._young_bytes = 0
        self._young: dict[bytes, Labels] = {}
        self._old: dict[bytes, Labels] = {}

    def recogniser(self) -> Recogniser:
        """Return an object that names the series of one answer."""
        return Recogniser(self, self._known)

    def labels(self, texts: Sequence[bytes]) -> list[Labels]:
        """Return the label sets of JSON objects; the same object for the same bytes.

        Raises
        ------
        TooLargeError
            A label set has too many labels, or too long ones.
        ValueError
            One is no object.
        """
        young = self._young
        found = [young.get(text) for text in texts]
        return [
            self._meet(text) if labels is None else labels
            for text, labels in zip(texts, found, strict=True)
        ]

    def remember(self, known: _Known) -> None:
        """Compare the next answer with this one."""
        with self._lock:
            self._known = known
            self._n_remembered += 1
            if self._n_remembered % _KEPT_ANSWERS == 0:
                self._age()

    def as_tuple(self, labels: Sequence[Labels]) -> tuple[Labels, ...]:
        """Return `labels` as a tuple, the same object as the last time if they are the same."""
        wanted, last = tuple(labels), self._last_tuple
        # Tuples compare their elements by identity first.
        if wanted == last:
            return last
        self._last_tuple = wanted
        return wanted

    def _age(self) -> None:
        self._old, self._young = self._young, {}
        self._young_bytes = 0

    def _meet(self, text: bytes) -> Labels:
        with self._lock:
            labels = self._young.get(text) or self._old.get(text)
        if labels is None:
            if len(text) > MAX_LABEL_SET_BYTES:
                raise TooLargeError(f"a label set of {shown_size(len(text))}")
            parsed = parse_json(text)
            if not isinstance(parsed, dict):
                raise ValueError("a label set is not an object")
            if len(parsed) > MAX_LABELS:
                raise TooLargeError(f"a label set of {len(parsed)} labels")
            labels = Labels(self._adapt(_as_texts(parsed)) | self._extra)
        with self._lock:
            if self._young_bytes > _MAX_REMEMBERED_BYTES:
                self._age()
            self._young_bytes += len(text) + _BYTES_OF_A_LABEL_SET
            return self._young.setdefault(text, labels)


def _as_texts(labels: Mapping[str, Any]) -> dict[str, str]:
    """Return labels with values that are strings; null is no label, other values are JSON.

    Examples
    --------
    >>> _as_texts({"a": "b", "n": 1, "flag": True, "none": None})
    {'a': 'b', 'n': '1', 'flag': 'true'}
    """
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in labels.items()
        if value is not None
    }


class Recogniser:
    """Names the series of one answer, in their order.

    Parameters
    ----------
    cache
        Where label sets are looked up.
    known
        The previous answer.
    """

    def __init__(self, cache: LabelCache, known: _Known) -> None:
        self._cache = cache
        self._known = known
        self._n_same = 0
        self._others: list[Labels] = []
        self._other_texts: list[bytes] = []

    def name(self, buffer: _Bytes, bounds: IntArray) -> Sequence[Labels]:
        """Return the label sets that are in a buffer.

        Parameters
        ----------
        buffer : ndarray of uint8
            At least `scan.PADDING` bytes longer than the last label set's end.
        bounds : ndarray of int64, shape (n, 2)
            Start and end of each label set.

        Raises
        ------
        TooLargeError
            A label set has too many labels, or too long ones.
        ValueError
            A label set is no JSON object.
        """
        same: Sequence[Labels] = ()
        if not self._others:
            start, known = self._n_same, self._known
            n_same = scan.count_same(buffer, bounds, known.joined, known.ends, start)
            same = known.labels[start : start + n_same]
            self._n_same += n_same
            if n_same == len(bounds):
                return same
        view = buffer.data
        texts = [bytes(view[a:b]) for a, b in bounds[len(same) :].tolist()]
        return [*same, *self.name_texts(texts)]

    def name_texts(self, texts: list[bytes]) -> list[Labels]:
        """Return the label sets of JSON objects.

        Raises
        ------
        TooLargeError
            A label set has too many labels, or too long ones.
        ValueError
            One is no JSON object.
        """
        labels = self._cache.labels(texts)
        self._others += labels
        self._other_texts += texts
        return labels

    def finish(self) -> None:
        """Have the next answer compared with this one, which is complete."""
        if not self._others and self._n_same == len(self._known.labels):
            return
        labels = self._known.labels[: self._n_same] + tuple(self._others)
        texts = self._known.texts[: self._n_same] + self._other_texts
        self._cache.remember(_Known.of(labels, texts))
