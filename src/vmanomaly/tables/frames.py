"""Frames of pandas and polars, Arrow tables and NumPy arrays as tables, and back.

narwhals knows the libraries of frames, and needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from vmanomaly.errors import TableError
from vmanomaly.tables.table import Table
from vmanomaly.tables.text import dates_of_text

INDEX = "index"
"""The column of times of a pandas frame whose index holds them without a name."""


def from_frame(frame: Any) -> Table:
    """Return what a frame, or a series of a frame's library, holds.

    Parameters
    ----------
    frame
        Of pandas, polars or Arrow; a `pandas.Series` or frame with a `DatetimeIndex`; a mapping of
        names to arrays; or a pair of arrays, times and values.

    Raises
    ------
    TableError
        It is something else.

    Examples
    --------
    >>> from_frame((np.array([0, 60]), np.array([1.0, 2.0]))).columns.keys()
    dict_keys(['time', 'value'])
    """
    if isinstance(frame, tuple) and len(frame) == 2:
        return from_frame({"time": np.asarray(frame[0]), "value": np.asarray(frame[1])})
    if isinstance(frame, Mapping):
        columns = {str(name): np.asarray(values) for name, values in frame.items()}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1 or any(values.ndim != 1 for values in columns.values()):
            raise TableError("the arrays differ in length, or have more than one dimension")
        return Table(columns, "the data")
    try:
        given = nw.from_native(_with_index(frame), eager_only=True, pass_through=True)
    except DuplicateError as error:
        raise TableError("the frame has several columns of the same name; rename them") from error
    if not isinstance(given, nw.DataFrame):
        remedy = "; collect() it first" if hasattr(frame, "collect") else ""
        raise TableError(
            "expected a frame of pandas or polars, an Arrow table, a pair of arrays (times, "
            f"values) or the path of a file, got {type(frame).__name__}{remedy}"
        )
    zoned = []
    columns = {}
    for name in given.columns:
        column = given[name]
        if isinstance(column.dtype, nw.Datetime) and column.dtype.time_zone is not None:
            zoned.append(name)
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        columns[str(name)] = _array(column)
    return Table(columns, "the frame", frozenset(map(str, zoned)))


def to_frame(columns: Mapping[str, NDArray[Any]], like: Any = None) -> Any:
    """Return a table as a frame.

    Parameters
    ----------
    columns
        Arrays by name; times as datetime64, in UTC.
    like
        A frame of the library that is wanted, or its name; None for pandas or else polars, or
        else the mapping itself, whichever is installed.
    """
    backend = _backend(like)
    if backend is None:
        return dict(columns)
    plain = {
        name: values.tolist() if values.dtype == object else values
        for name, values in columns.items()
    }
    frame = nw.from_dict(plain, backend=backend)
    times = [name for name, values in columns.items() if np.issubdtype(values.dtype, np.datetime64)]
    zoned = [nw.col(name).dt.replace_time_zone("UTC") for name in times]
    return frame.with_columns(*zoned).to_native()


def _with_index(frame: Any) -> Any:
    """Return a frame of pandas with its index as a column, where that holds something."""
    kind = type(frame)
    if kind.__module__.partition(".")[0] != "pandas":
        return frame
    if kind.__name__ == "Series":
        frame = frame.to_frame(frame.name if frame.name is not None else "value")
    if not hasattr(frame, "columns"):
        return frame
    # pandas allows anything as a name, such as a number or, on several levels, a tuple.
    frame = frame.set_axis([_name(each) for each in frame.columns], axis="columns")
    index = frame.index
    kind_of_index = type(index).__name__
    if kind_of_index == "MultiIndex":
        return frame.reset_index()
    if kind_of_index == "RangeIndex" or (kind_of_index != "DatetimeIndex" and index.name is None):
        return frame
    return frame.reset_index(names=None if index.name is not None else INDEX)


def _name(name: object) -> str:
    levels = name if isinstance(name, tuple) else (name,)
    return " ".join(str(level) for level in levels if str(level))


def _array(column: nw.Series[Any]) -> NDArray[Any]:
    dtype = column.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        if column.is_null().any() or dtype == nw.Decimal:
            return np.asarray(column.cast(nw.Float64).to_numpy(), np.float64)
        return np.asarray(column.to_numpy())
    if isinstance(dtype, nw.Datetime) or dtype == nw.Date:
        return np.asarray(column.to_numpy()).astype("datetime64[ms]")
    texts = np.array([None if each is None else str(each) for each in column.to_list()], object)
    dates = dates_of_text(texts)
    return texts if dates is None else dates


def _backend(like: Any) -> Any:
    if isinstance(like, str):
        return like
    if like is not None:
        native = nw.from_native(like, pass_through=True, allow_series=True)
        if isinstance(native, nw.DataFrame | nw.Series):
            return native.implementation
    for name in ("pandas", "polars"):
        try:
            __import__(name)
        except ImportError:
            continue
        return name
    return None
