"""Files of series, as the options of a subcommand name their columns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from vmanomaly.tables import Layout, Table
    from vmanomaly.tables.batch import Gridded


def read_series(
    files: Sequence[str], options: argparse.Namespace, notes: Console
) -> tuple[Table, Layout, Gridded]:
    """Read files, and say on `notes` what was guessed, unless `options.quiet` is set.

    Raises
    ------
    TableError
        There is no such file, or it cannot be used.
    """
    from vmanomaly.tables import guess_layout, read_files, to_batch
    from vmanomaly.tables.table import is_numeric

    table = read_files(files)
    layout = guess_layout(table, options.time, options.value, options.by)
    gridded = to_batch(table, layout, options.tz, options.step)
    said = [*table.remarks, *layout.guessed, *gridded.notes]
    # Unix times are in UTC.
    is_civil = not is_numeric(table.columns[layout.time]) and layout.time not in table.zoned
    if is_civil and options.tz == "UTC":
        said.append("times without a zone are taken for UTC; see --tz")
    for note in said if not options.quiet else ():
        notes.print(note, style="dim", markup=False, soft_wrap=True)
    return table, layout, gridded
