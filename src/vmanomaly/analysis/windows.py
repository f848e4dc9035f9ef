"""What is known to have happened: windows, from files and from columns."""

from __future__ import annotations

import numpy as np

from vmanomaly.analysis.evaluate import Window
from vmanomaly.series import Labels
from vmanomaly.tables import Layout, Table, TableError, guess_layout, read_files
from vmanomaly.tables.times import times_ms


def read_windows(file: str, tz: str) -> list[Window]:
    """Return the windows in a file.

    Parameters
    ----------
    file
        With columns `start` and `end`, and any labels, or with a column of times and one of 0
        and 1.
    tz
        IANA name of the zone of times that name none.

    Raises
    ------
    TableError
        It holds something else.
    """
    table = read_files([file])
    if {"start", "end"} <= table.columns.keys():
        starts, ends = (
            times_ms(table.columns[name], name, table.source, tz, name in table.zoned)
            for name in ("start", "end")
        )
        names = [name for name in table.columns if name not in ("start", "end")]
        return [
            Window(int(start), int(end), _labels(table, names, row))
            for row, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
    layout = guess_layout(table)
    if not layout.truth and len(layout.values) != 1:
        raise TableError(
            f"{file}: expected columns start and end, or a column of times and one of 0 and 1"
        )
    return windows_of_column(table, layout, (layout.truth or layout.values)[0], tz)


def windows_of_column(table: Table, layout: Layout, column: str, tz: str) -> list[Window]:
    """Return the runs of rows whose value in a column is not 0, series by series.

    Raises
    ------
    TableError
        The column holds something other than numbers.
    """
    times = times_ms(
        table.columns[layout.time], layout.time, table.source, tz, layout.time in table.zoned
    )
    try:
        marks = np.nan_to_num(table.columns[column].astype(np.float64)) != 0
    except (TypeError, ValueError) as error:
        raise TableError(
            f"{table.source}: column {column!r} holds something other than 0 and 1"
        ) from error
    by = [name for name in layout.by if name != column]
    series: dict[Labels, list[int]] = {}
    for row in range(table.n_rows):
        series.setdefault(_labels(table, by, row), []).append(row)
    windows = []
    for labels, members in series.items():
        rows = np.array(members)[np.argsort(times[members], kind="stable")]
        edges = np.flatnonzero(np.diff(marks[rows], prepend=False, append=False))
        for first, stop in zip(edges[::2], edges[1::2], strict=True):
            windows.append(Window(int(times[rows[first]]), int(times[rows[stop - 1]]), labels))
    return windows


def _labels(table: Table, names: list[str], row: int) -> Labels:
    values = ((name, table.columns[name][row]) for name in names)
    return Labels({name: str(value) for name, value in values if value not in (None, "")})
