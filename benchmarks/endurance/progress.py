"""How far a long run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console

from vmanomaly.progress import progress_bar

Show: TypeAlias = Callable[[int, int, str], None]
"""Takes the number of steps done, the number of all, and what has happened so far."""

_LINE_EVERY_S = 30.0


@contextmanager
def progress(first: str) -> Iterator[Show]:
    """Show the progress of a run while the block runs, on standard error.

    Parameters
    ----------
    first
        What is shown until the first step.
    """
    if sys.stderr.isatty():
        with progress_bar(Console(stderr=True), first) as show:
            yield show
        return
    print(first, file=sys.stderr, flush=True)
    last_line = time.monotonic()

    def line(done: int, total: int, text: str) -> None:
        nonlocal last_line
        now = time.monotonic()
        if now - last_line >= _LINE_EVERY_S:
            last_line = now
            print(f"{done:,} of {total:,}: {text}", file=sys.stderr, flush=True)

    yield line
