"""A process that forks one child at a time, each to be killed at some moment.

What takes long to import is loaded once, in the process that forks.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_TIMEOUT_S = 300.0


def say(words: str) -> None:
    """Tell the test something, in the process that forks or in its child."""
    os.write(1, f"{words}\n".encode())


def fork_as_asked(work: Callable[[list[str]], int | None]) -> None:
    """Fork for every line of the standard input, and have the child do the work with its words.

    What the work returns is the exit status.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            say(f"pid {os.getpid()}")
            os._exit(work(line.split()) or 0)
        _, status = os.waitpid(child, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")


class Nursery:
    """Starts children, one at a time.

    Attributes
    ----------
    exit_status : int or None
        Of the child that was heard to end last.
    """

    def __init__(self, orders: IO[bytes], said: IO[bytes]) -> None:
        self._orders = orders
        self._said = said
        self._heard = b""
        self._child: int | None = None
        self.exit_status: int | None = None

    def start(self, *words: object) -> int:
        """Let a child work with some words; return its process id."""
        self._orders.write((" ".join(map(str, words)) + "\n").encode())
        self._orders.flush()
        what, number = self.next_words()
        assert what == "pid"
        self._child = number
        return number

    def kill(self) -> None:
        """End the child that was started last, if it has not been heard to end."""
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)

    def next_words(self, timeout_s: float = _TIMEOUT_S) -> tuple[str, int]:
        """Return what is said next, a word with a number; `ended` comes with the exit status.

        Raises
        ------
        TimeoutError
            Nothing is said for so long.
        """
        while b"\n" not in self._heard:
            if not select.select([self._said], [], [], timeout_s)[0]:
                raise TimeoutError(f"the child has said nothing for {timeout_s:g} s")
            piece = os.read(self._said.fileno(), 4096)
            assert piece, "the nursery has died"
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        word, number = line.decode().split()
        if word == "ended":
            self._child, self.exit_status = None, int(number)
        return word, int(number)

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
        children = Nursery(process.stdin, process.stdout)
        try:
            yield children
        finally:
            children.kill()
