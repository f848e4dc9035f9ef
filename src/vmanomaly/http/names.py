"""DNS lookups for callers that may be told to stop waiting."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

from urllib3.util.connection import allowed_gai_family

from vmanomaly.context import RunContext

Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

_MOST_AT_ONCE = 16

_under_way: dict[tuple[str, int], Future[Sequence[Address]]] = {}
_lock = threading.Lock()


def look_up(host: str, port: int, context: RunContext) -> Sequence[Address]:
    """Return the addresses of a host, as `socket.getaddrinfo` does.

    A lookup cannot be interrupted. So it is done in a separate thread, one for each host, which is
    abandoned when the caller has to stop.

    Parameters
    ----------
    host, port
        What to look up.
    context
        Says when to stop.

    Raises
    ------
    OSError
        The host is unknown, or too many lookups have no answer yet.
    CancelledError, DeadlineExceededError
        The work is to stop before there is an answer.

    Examples
    --------
    >>> look_up("127.0.0.1", 80, RunContext())[0][4]
    ('127.0.0.1', 80)
    """
    try:
        return _get(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return context.result(_look_up(host, port))


def _look_up(host: str, port: int) -> Future[Sequence[Address]]:
    with _lock:
        answer = _under_way.get((host, port))
        if answer is not None:
            return answer
        if len(_under_way) >= _MOST_AT_ONCE:
            raise socket.gaierror(
                socket.EAI_AGAIN, f"{_MOST_AT_ONCE} lookups of other hosts have no answer yet"
            )
        answer = _under_way[host, port] = Future()
    threading.Thread(
        target=_answer, args=(host, port, answer), name=f"look up {host}", daemon=True
    ).start()
    return answer


def _answer(host: str, port: int, answer: Future[Sequence[Address]]) -> None:
    try:
        addresses = _get(host, port, 0)
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        failure: BaseException | None = error
    else:
        failure = None
    with _lock:
        del _under_way[host, port]
    if failure is None:
        answer.set_result(addresses)
    else:
        answer.set_exception(failure)


def _get(host: str, port: int, flags: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM, 0, flags)
