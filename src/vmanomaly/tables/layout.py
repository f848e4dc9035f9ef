"""Which columns of a table are times, values and labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmanomaly.errors import TableError
from vmanomaly.tables.table import Table, is_numeric, is_time
from vmanomaly.tables.times import times_ms

_TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts", "ds", "_time", "t", "index")
_VALUE_NAMES = ("value", "y", "val")
_TRUTH_NAMES = frozenset(
    {"anomaly", "is_anomaly", "label", "labels", "changepoint", "outlier", "is_outlier", "target"}
)
_MOST_SERIES = 100_000
_MOST, _NEARLY_ALL = 0.5, 0.9
_MANY_NUMBERS = 20
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d{1,15}(,\d+)?\s*")


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are what.

    Attributes
    ----------
    time : str
        The column of times.
    values : tuple of str
        Columns of numbers: one, or a series each.
    by : tuple of str
        Columns whose values tell series apart: their labels.
    truth : tuple of str
        Columns of 0 and 1 that say what is an anomaly, and are not looked at.
    guessed : tuple of str
        What was not given but guessed, in words.
    """

    time: str
    values: tuple[str, ...]
    by: tuple[str, ...]
    truth: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()


def guess_layout(
    table: Table,
    time: str | None = None,
    value: str | Sequence[str] | None = None,
    by: Sequence[str] | None = None,
) -> Layout:
    """Tell the columns of times, values and labels.

    Parameters
    ----------
    table
        The table.
    time, value, by
        What is given; the rest is guessed.

    Raises
    ------
    TableError
        A column is missing or cannot be told.

    Examples
    --------
    >>> table = Table(
    ...     {"when": np.array(["2026-01-01T00:00"], "datetime64[ms]"), "cpu": np.array([0.5]),
    ...      "host": np.array(["a"], object)}, "x.csv")
    >>> layout = guess_layout(table)
    >>> layout.time, layout.values, layout.by
    ('when', ('cpu',), ('host',))
    """
    if not table.columns:
        raise TableError(f"{table.source} holds no columns")
    guessed: list[str] = []
    if time is None:
        time = _guess_time(table)
        guessed.append(f"time is the column {time!r}")
    else:
        table.column(time)
    given = (value,) if isinstance(value, str) else tuple(value or ())
    labels = tuple(by or ())
    for name in (*given, *labels):
        table.column(name)
    rest = [name for name in table.columns if name not in (time, *given, *labels)]
    truth = tuple(name for name in rest if _is_truth(name, table.columns[name]))
    if truth and not given:
        guessed.append(f"{_listed(truth)} says what is an anomaly, and is not looked at")
    rest = [name for name in rest if name not in truth]
    values = given or _guess_values(table, rest)
    if not given:
        guessed.append(f"the values are in {_listed(values)}")
    if by is None:
        labels = tuple(
            name
            for name in rest
            if name not in values
            and not is_numeric(table.columns[name])
            and not is_time(table.columns[name])
        )
        for name in labels:
            otherwise = "; if the column tells series apart, name it with --by (in Python: by=)"
            _refuse_text_among_numbers(table, name, _NEARLY_ALL, _MANY_NUMBERS, otherwise)
        if labels:
            guessed.append(f"series are told apart by {_listed(labels)}")
    return Layout(time, values, labels, truth, tuple(guessed))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _guess_time(table: Table) -> str:
    times = [name for name, values in table.columns.items() if is_time(values)]
    by_name = [name for name in table.columns if name.strip().lower() in _TIME_NAMES]
    named_times = [name for name in times if name in by_name]
    if len(named_times) == 1 or (named_times and len(times) == len(named_times)):
        best = min(named_times, key=lambda name: _TIME_NAMES.index(name.strip().lower()))
        return best
    if len(times) == 1:
        return times[0]
    if len(times) > 1:
        raise TableError(
            f"{table.source} has several columns of times: {_listed(times)}; name one with --time "
            "(in Python: time=)"
        )
    for name in sorted(by_name, key=lambda name: _TIME_NAMES.index(name.strip().lower())):
        # Raises if it holds something else, and says where.
        times_ms(table.columns[name], name, table.source, "UTC")
        return name
    raise TableError(
        f"{table.source} has no column of times, in ISO 8601 such as 2026-01-31T12:00:00Z or in "
        f"Unix seconds; name that of Unix times with --time (in Python: time=). Its columns are "
        f"{table.shown_columns}"
    )


def _guess_values(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    numeric = [name for name in names if is_numeric(table.columns[name])]
    if numeric:
        named = [name for name in numeric if name.strip().lower() in _VALUE_NAMES]
        return tuple(named[:1]) if len(named) == 1 else tuple(numeric)
    commas = [name for name in names if _has_decimal_commas(table.columns[name])]
    if commas:
        return tuple(commas)
    flags = [name for name in names if table.columns[name].dtype == bool]
    if flags:
        return tuple(flags)
    for name in names:
        _refuse_text_among_numbers(table, name, _MOST)
    raise TableError(
        f"{table.source} has no column of numbers without units. Its columns are "
        f"{table.shown_columns}"
    )


def _refuse_text_among_numbers(
    table: Table, name: str, share: float, n_different: int = 1, otherwise: str = ""
) -> None:
    """Raise where a column is no column of numbers because of a few texts, and name the first.

    Parameters
    ----------
    table, name
        The column.
    share
        At least so much of it has to be numbers,
    n_different
        of which so many have to differ.
    otherwise
        What else to do.
    """
    texts = [(row, str(each)) for row, each in enumerate(table.columns[name]) if each is not None]
    others = [(row, text) for row, text in texts if not _NUMBER.fullmatch(text)]
    if not others or len(others) > (1 - share) * len(texts):
        return
    if len({text for _, text in texts}) - len({text for _, text in others}) < n_different:
        return
    row, text = others[0]
    raise TableError(
        f"{table.source}, row {row + 1}: column {name!r} holds {text[:40]!r}, which is no number; "
        f"remove it, or leave the field empty{otherwise}"
    )


def _has_decimal_commas(values: NDArray[Any]) -> bool:
    texts = [each for each in values[:1000] if each is not None]
    return bool(texts) and all(
        isinstance(each, str) and _DECIMAL_COMMA.fullmatch(each) for each in texts
    )


def _is_truth(name: str, values: NDArray[Any]) -> bool:
    if name.strip().lower() not in _TRUTH_NAMES:
        return False
    if values.dtype == bool:
        return True
    return is_numeric(values) and bool(
        np.isin(values[~np.isnan(values.astype(float))], (0, 1)).all()
    )
