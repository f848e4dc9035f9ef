"""Servers whose answers never end although bytes keep arriving, and those that stop in between."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_OK = b"HTTP/1.1 200 OK\r\n"
_LONG = b"Content-Length: 1000000\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_GZIP = b"Content-Encoding: gzip\r\n"
_DEFLATE = b"Content-Encoding: deflate\r\n"
_END = b"\r\n"
# The head of a gzip member, its flags to be filled in, and a stored block without content.
_MEMBER = b"\x1f\x8b\x08%c\x00\x00\x00\x00\x00\xff"
_EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"


@dataclass(frozen=True)
class Drip:
    """What is sent at once, what is sent again and again after it, and what that is part of."""

    at_once: bytes
    again: bytes


DRIPS: dict[str, Drip] = {
    "nothing": Drip(b"", b""),
    "protocol": Drip(b"HTTP/1", b""),
    "status line": Drip(b"HTTP/1.1 200 O", b"K"),
    "continue": Drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header of a continue": Drip(b"HTTP/1.1 100 Continue\r\nX: ", b"y"),
    "name of a header": Drip(_OK + b"X", b"y"),
    "value of a header": Drip(_OK + b"X: ", b"y"),
    "folded header": Drip(_OK + b"X: y\r\n", b" y\r\n"),
    "headers": Drip(_OK, b"X: y\r\n"),
    "no end of headers": Drip(_OK + _LONG, b""),
    "body": Drip(_OK + _LONG + _END, b" "),
    "no body": Drip(_OK + _LONG + _END, b""),
    "body until the end": Drip(_OK + _END, b" "),
    "body of HTTP/1.0": Drip(b"HTTP/1.0 200 OK\r\n\r\n", b" "),
    "no chunk": Drip(_OK + _CHUNKED + _END, b""),
    "chunk size": Drip(_OK + _CHUNKED + _END, b"0"),
    "space after a chunk size": Drip(_OK + _CHUNKED + _END + b"1", b" "),
    "chunk extension": Drip(_OK + _CHUNKED + _END + b"1;", b"x"),
    "large chunk": Drip(_OK + _CHUNKED + _END + b"fffff\r\n", b" "),
    "small chunks": Drip(_OK + _CHUNKED + _END, b"1\r\n \r\n"),
    "no end of a chunk": Drip(_OK + _CHUNKED + _END + b"1\r\n ", b""),
    "trailers": Drip(_OK + _CHUNKED + _END + b"0\r\n", b"X: y\r\n"),
    "value of a trailer": Drip(_OK + _CHUNKED + _END + b"0\r\nX: ", b"y"),
    "no trailers": Drip(_OK + _CHUNKED + _END + b"0\r\n", b""),
    "file name in gzip": Drip(_OK + _LONG + _GZIP + _END + _MEMBER % 8, b"x"),
    "comment in gzip": Drip(_OK + _LONG + _GZIP + _END + _MEMBER % 16, b"x"),
    "extra field in gzip": Drip(_OK + _LONG + _GZIP + _END + _MEMBER % 4 + b"\xff\xff", b"x"),
    "empty blocks of gzip": Drip(_OK + _LONG + _GZIP + _END + _MEMBER % 0, _EMPTY_BLOCK),
    "empty blocks of gzip in chunks": Drip(
        _OK + _CHUNKED + _GZIP + _END + b"a\r\n" + _MEMBER % 0 + b"\r\n",
        b"5\r\n" + _EMPTY_BLOCK + b"\r\n",
    ),
    "empty blocks of gzip until the end": Drip(_OK + _GZIP + _END + _MEMBER % 0, _EMPTY_BLOCK),
    "empty members of gzip": Drip(_OK + _LONG + _GZIP + _END, gzip.compress(b"")),
    "blocks of gzip": Drip(_OK + _LONG + _GZIP + _END + _MEMBER % 0, b"\x00\x01\x00\xfe\xff "),
    "empty blocks of deflate": Drip(_OK + _LONG + _DEFLATE + _END + b"\x78\x9c", _EMPTY_BLOCK),
    "body of a redirect": Drip(
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\n" + _LONG + _END, b" "
    ),
    "header of a redirect": Drip(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /", b"x"),
}

# What a server may do where TLS is expected: say nothing, or begin a record and never end it.
TLS_DRIPS: dict[str, Drip] = {
    "nothing": Drip(b"", b""),
    "record": Drip(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03", b"\x00"),
}


@contextmanager
def dripping(
    drip: Drip, every_s: float = 0.02, context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, threading.Event]]:
    """Serve an answer that does not end.

    Parameters
    ----------
    drip
        The answer.
    every_s
        Seconds between two pieces of it.
    context
        With one, it is sent through TLS once the handshake is done.

    Yields
    ------
    tuple of str and Event
        The address, and what is set once the head of a request has come in.
    """
    stopped, asked = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                connection.recv(65536)
                asked.set()
                connection.sendall(drip.at_once)
                while not stopped.wait(every_s):
                    connection.sendall(drip.again)
                    readable = select.select([connection], [], [], 0)[0]
                    if readable and not connection.recv(65536):
                        return  # The client has hung up.

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in [acceptor, *threads]:
                thread.join()


@contextmanager
def not_accepting() -> Iterator[str]:
    """Listen, with a queue of connections that is full: one more is never established."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        contextlib.ExitStack() as own,
    ):
        address = listener.getsockname()
        for _ in range(3):
            filler = own.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"127.0.0.1:{address[1]}"
