"""What signals do.

SIGTERM and SIGINT end the process while it starts, and stop the service once it runs; a subcommand
that is interrupted has failed. SIGHUP has the service load its configuration again, as soon as it
can.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_reload_is_asked_for = threading.Event()


def exit_on_stop_signals() -> None:
    """Have a stop signal end the process with status 0: there is nothing to finish yet.

    Outside the main thread, where a program that calls `main` may be, signals are left alone.
    """
    if _is_main_thread():
        for number in _STOP_SIGNALS:
            signal.signal(number, _exit)


def interrupt_on_stop_signals() -> None:
    """Have a stop signal raise `KeyboardInterrupt`: what was asked for will not be done.

    Outside the main thread signals are left alone.
    """
    if _is_main_thread():
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.default_int_handler)


def note_reload_signals() -> None:
    """Have a SIGHUP not end the process, but be noted for `call_on_reload_signals`.

    Outside the main thread it is left alone.
    """
    _reload_is_asked_for.clear()
    if _is_main_thread():
        signal.signal(signal.SIGHUP, lambda *_: _reload_is_asked_for.set())


def call_on_reload_signals(reload: Callable[[], None]) -> None:
    """Have a SIGHUP call `reload` from now on, and at once if there was one already."""
    signal.signal(signal.SIGHUP, lambda *_: reload())
    if _reload_is_asked_for.is_set():
        reload()


def call_on_stop_signals(stop: Callable[[signal.Signals], None]) -> None:
    """Have a stop signal call `stop` from now on, in the main thread."""
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda received, _: stop(signal.Signals(received)))


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _exit(number: int, _: object) -> None:
    raise SystemExit(0)
