"""A process that forks one child at a time, each to be killed at some moment.

What takes long to import is loaded once, in the process that forks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def say(words: str) -> None:
    """Tell the test something, in the process that forks or in its child."""
    os.write(1, f"{words}\n".encode())


def fork_as_asked(work: Callable[[list[str]], None]) -> None:
    """Fork for every line of the standard input, and have the child do the work with its words."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            say(f"pid {os.getpid()}")
            work(line.split())
            os._exit(0)
        os.waitpid(child, 0)
        say("ended")


class Nursery:
    """Starts children, one at a time."""

    def __init__(self, orders: IO[bytes], said: IO[bytes]) -> None:
        self._orders = orders
        self._said = said

    def start(self, *words: object) -> int:
        """Let a child work with some words; return its process id."""
        self._orders.write((" ".join(map(str, words)) + "\n").encode())
        self._orders.flush()
        what, number = self.next_words()
        assert what == "pid"
        return number

    def next_words(self) -> tuple[str, int]:
        """Return what is said next: something with a number, or `ended`."""
        words = self._said.readline().decode().split()
        assert words, "the nursery has died"
        return words[0], int(words[1]) if len(words) > 1 else 0

    def last(self, what: str, otherwise: int) -> int:
        """Wait for the end of the child; return the last number that it said with a word."""
        last = otherwise
        while (words := self.next_words())[0] == what:
            last = words[1]
        return last


@contextmanager
def nursery(
    module: str, *arguments: str, environ: Mapping[str, str] | None = None, log: Path
) -> Iterator[Nursery]:
    """Run a module that calls `fork_as_asked`; what it logs goes to a file."""
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environ or {})},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield Nursery(process.stdin, process.stdout)
