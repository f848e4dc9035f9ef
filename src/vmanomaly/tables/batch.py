"""From a table to series on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.time import format_time
from vmanomaly.errors import TableError
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch
from vmanomaly.tables.layout import Layout
from vmanomaly.tables.table import Table, is_numeric
from vmanomaly.tables.times import times_ms

COLUMN_LABEL = "series"
"""The label that holds the name of the column, where there are several."""

_MOST_SERIES = 100_000
_MOST_CELLS = 500_000_000
_SHORTEST_STEP = Duration(1000)


@dataclass(frozen=True, slots=True)
class Gridded:
    """Series on one grid, and what had to be done for that.

    Attributes
    ----------
    batch : SeriesBatch
        The series.
    step : Duration
        The distance of the grid's timestamps.
    notes : tuple of str
        What was guessed or changed, in words.
    """

    batch: SeriesBatch
    step: Duration
    notes: tuple[str, ...]


def to_batch(
    table: Table, layout: Layout, tz: str = "UTC", step: Duration | None = None
) -> Gridded:
    """Put the series of a table on one grid.

    Parameters
    ----------
    table, layout
        The table, and which columns are what.
    tz
        IANA name of the zone of times that name none.
    step
        The distance of the grid's timestamps; None for the most frequent one.

    Raises
    ------
    TableError
        A value is no number, a time is no time, or the grid would be too large.

    Examples
    --------
    >>> table = Table({"t": np.array([0, 60, 180]), "v": np.array([1.0, 2.0, 4.0])}, "x.csv")
    >>> gridded = to_batch(table, Layout("t", ("v",), ()))
    >>> gridded.batch.values, str(gridded.step)
    (array([[ 1.,  2., nan,  4.]]), '1m')
    """
    if not table.n_rows:
        raise TableError(f"{table.source} holds no rows")
    times = times_ms(
        table.columns[layout.time], layout.time, table.source, tz, layout.time in table.zoned
    )
    keys, row_keys = _series_of(table, layout)
    notes = []
    first = int(times.min())
    if step is None:
        step = _guess_step(times, row_keys, table.source)
        notes.append(f"the step is {step}")
    if step < _SHORTEST_STEP:
        raise TableError(
            f"{table.source}: the times in column {layout.time!r}, from {format_time(first)}, are "
            f"{step} apart, and the shortest step is {_SHORTEST_STEP}; name another column with "
            "--time, or a longer step with --step (in Python: time=, step=)"
        )
    columns = np.round((times - first) / int(step)).astype(np.int64)
    n_columns = int(columns.max()) + 1
    n_off_grid = int(np.count_nonzero((times - first) % int(step)))
    if n_off_grid:
        notes.append(
            f"{n_off_grid:,} of {len(times):,} times are moved to the nearest of those every "
            f"{step} from {format_time(first)}"
        )
    many = len(layout.values) > 1
    if len(keys) * len(layout.values) * n_columns > _MOST_CELLS:
        raise TableError(
            f"{table.source}: {len(keys) * len(layout.values):,} series of {n_columns:,} steps of "
            f"{step} are too many; choose a longer step with --step, or fewer series with --value "
            "and --by (in Python: step=, value=, by=)"
        )
    labels: list[Labels] = []
    rows: list[FloatArray] = []
    n_repeated = 0
    cell = row_keys * n_columns + columns
    for name in layout.values:
        numbers = _numbers(table.columns[name], name, table.source)
        grid = np.full(len(keys) * n_columns, np.nan)
        present = ~np.isnan(numbers)
        n_repeated += int(present.sum()) - len(np.unique(cell[present]))
        grid[cell[present]] = numbers[present]
        matrix = grid.reshape(len(keys), n_columns)
        for key, values in zip(keys, matrix, strict=True):
            if not np.isnan(values).all():
                labels.append(Labels({**key, **({COLUMN_LABEL: name} if many else {})}))
                rows.append(values)
    if n_repeated:
        notes.append(f"of {n_repeated:,} repeated times of a series the last value counts")
    if not rows:
        raise TableError(f"{table.source}: no column of values holds a number")
    timestamps: IntArray = first + int(step) * np.arange(n_columns, dtype=np.int64)
    return Gridded(SeriesBatch(tuple(labels), timestamps, np.array(rows)), step, tuple(notes))


def _series_of(table: Table, layout: Layout) -> tuple[list[dict[str, str]], IntArray]:
    """Return the labels of the series, and which of them each row belongs to."""
    if not layout.by:
        return [{}], np.zeros(table.n_rows, np.int64)
    columns = [np.array([_text(each) for each in table.columns[name]]) for name in layout.by]
    combined = np.zeros(table.n_rows, np.int64)
    for column in columns:
        _, codes = np.unique(column, return_inverse=True)
        combined = combined * (int(codes.max()) + 1) + codes
        _, combined = np.unique(combined, return_inverse=True)
    _, firsts, row_keys = np.unique(combined, return_index=True, return_inverse=True)
    if len(firsts) > _MOST_SERIES:
        raise TableError(
            f"{table.source} has {len(firsts):,} combinations of {', '.join(layout.by)}, which are "
            f"more than {_MOST_SERIES:,} series; name the columns that tell series apart with --by "
            "(in Python: by=)"
        )
    keys = [
        {name: str(column[row]) for name, column in zip(layout.by, columns, strict=True)}
        for row in firsts
    ]
    return keys, row_keys.astype(np.int64)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _numbers(values: NDArray[Any], name: str, source: str) -> FloatArray:
    if is_numeric(values) or values.dtype == bool:
        return np.asarray(values, np.float64)
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None or value == "":
            continue
        try:
            # Decimal commas, which no column of numbers has any other use for.
            numbers[row] = float(str(value).replace(",", "."))
        except ValueError:
            raise TableError(
                f"{source}, row {row + 1}: column {name!r} holds {str(value)[:40]!r}, which is no "
                "number; remove it, or leave the field empty"
            ) from None
    return numbers


def _guess_step(times: IntArray, row_keys: IntArray, source: str) -> Duration:
    """Return the most frequent distance between neighbouring times of a series."""
    order = np.lexsort((times, row_keys))
    distances = np.diff(times[order])
    within = (np.diff(row_keys[order]) == 0) & (distances > 0)
    if not within.any():
        raise TableError(
            f"{source} has only one time"
            + (" of each series" if row_keys.any() else "")
            + "; two are the least, and a day or more is useful"
        )
    found, counts = np.unique(distances[within], return_counts=True)
    most = int(found[counts.argmax()])
    if counts.max() < 0.1 * counts.sum():
        most = int(np.median(distances[within]))
    # Times that jitter are those of whole seconds.
    return Duration(most if most < 1000 or most % 1000 == 0 else round(most / 1000) * 1000)
