"""Standard output: its reader may be gone, and the disk behind it may be full."""

from __future__ import annotations

import os
import sys

from vmanomaly.errors import VmanomalyError
from vmanomaly.exhaustion import exhausted


class OutputError(VmanomalyError):
    """Standard output cannot be written to."""


def write_output(text: str) -> None:
    """Write text to standard output at once. It is no error if the reader is gone.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_what_is_left()
    except OSError as error:
        _discard_what_is_left()
        reason = exhausted(error) or error.strerror
        raise OutputError(f"cannot write the output: {reason}") from error


def _discard_what_is_left() -> None:
    """Keep Python from writing at exit what could not be written now."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
