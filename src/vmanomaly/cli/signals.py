"""What SIGTERM and SIGINT do: end the process while it starts, stop the service once it runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_stop_signals() -> None:
    """Have a stop signal end the process with status 0: there is nothing to finish yet.

    Outside the main thread, where a program that calls `main` may be, signals are left alone.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _STOP_SIGNALS:
            signal.signal(number, _exit)


def call_on_stop_signals(stop: Callable[[signal.Signals], None]) -> None:
    """Have a stop signal call `stop` from now on, in the main thread."""
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda received, _: stop(signal.Signals(received)))


def _exit(number: int, _: object) -> None:
    raise SystemExit(0)
