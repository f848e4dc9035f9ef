"""The progress bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(console: Console, first: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar while the block runs.

    Parameters
    ----------
    console
        A terminal.
    first
        Text shown until the first step.

    Yields
    ------
    callable
        Takes the number of steps done, the number of all steps, and the name of the last one.
    """
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(first, total=None)

        def show(done: int, total: int, description: str) -> None:
            progress.update(task, completed=done, total=total, description=description)

        yield show
