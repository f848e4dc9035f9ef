"""Arrays to the pandas frames that custom models take, and back. The only user of pandas."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from vmanomaly.config.values.fields import OUTPUT_NAME
from vmanomaly.model.base import LARGEST
from vmanomaly.model.state import Array
from vmanomaly.series import BoolArray, FloatArray, IntArray


def to_times(timestamps: IntArray) -> Array:
    """Return Unix milliseconds as datetime64[ns], UTC."""
    return timestamps.astype("datetime64[ms]").astype("datetime64[ns]")


def to_frame(times: Array, columns: Mapping[str, FloatArray], wanted: BoolArray) -> pd.DataFrame:
    """Return a frame of `timestamp` and other columns, at the wanted points only.

    Examples
    --------
    >>> times = to_times(np.array([0, 60_000]))
    >>> to_frame(times, {"y": np.array([1.5, 2.5])}, np.array([False, True]))
                timestamp    y
    0 1970-01-01 00:01:00  2.5
    """
    values = {name: column[wanted] for name, column in columns.items()}
    return pd.DataFrame({"timestamp": times[wanted], **values})


def from_frame(
    answer: object,
    times: Array,
    given: Collection[str],
    needed: Collection[str] | None = None,
) -> dict[str, FloatArray]:
    """Return the outputs from what a model's `infer` returned.

    Parameters
    ----------
    answer
        What it returned.
    times
        The timestamps of the frame it was given.
    given
        The other columns of that frame, which are no outputs.
    needed
        The columns to read; None for all.

    Returns
    -------
    dict of str to ndarray of float64, shape (len(times),)
        In the order of the columns; what is infinite is the largest float.

    Raises
    ------
    ValueError
        It is not a frame, has other timestamps, or holds something other than numbers.
    """
    if not isinstance(answer, pd.DataFrame):
        raise ValueError(f"infer returned {type(answer).__name__}, expected a pandas DataFrame")
    if not answer.columns.is_unique:
        raise ValueError(f"infer returned a column twice: {', '.join(map(str, answer.columns))}")
    if "timestamp" not in answer.columns:
        raise ValueError(
            f"infer returned no column timestamp; it returned {', '.join(map(str, answer.columns))}"
        )
    if len(answer) != len(times):
        raise ValueError(f"infer returned {len(answer)} rows for {len(times)} points")
    if not np.array_equal(answer["timestamp"].to_numpy(), times):
        raise ValueError(
            "infer returned other timestamps than it was given; "
            "return the column timestamp as it was, in the same order"
        )
    return {
        name: _numbers(name, answer[name])
        for name in answer.columns
        if name != "timestamp" and name not in given and (needed is None or name in needed)
    }


def _numbers(name: object, column: pd.Series) -> FloatArray:
    if not isinstance(name, str) or not OUTPUT_NAME.fullmatch(name):
        raise ValueError(
            f"infer returned a column {name!r}, which cannot be the name of an output; "
            "letters, digits and _ are allowed, not starting with a digit"
        )
    try:
        values: FloatArray = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"infer returned the column {name} that contains something other than numbers: {error}"
        ) from error
    return np.clip(values, -LARGEST, LARGEST)
