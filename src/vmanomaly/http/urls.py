"""Addresses and the arguments in them: what may be shown of them, and how they are encoded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_SECRET_ARGUMENT = re.compile("auth|key|pass|secret|signature|token|credential", re.IGNORECASE)


def redact_url(url: str) -> str:
    """Return `url` without user, password and the values of arguments that look like secrets.

    Examples
    --------
    >>> redact_url("https://scott:tiger@vm:8428/prefix?authKey=s3cret&a=b")
    'https://***@vm:8428/prefix?authKey=***&a=b'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    arguments = urlencode(
        [
            (name, "***" if _SECRET_ARGUMENT.search(name) else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ],
        safe="*",
    )
    netloc = f"***@{host}" if host != parts.netloc else host
    return urlunsplit(parts._replace(netloc=netloc, query=arguments))


def shown_route(urls: Sequence[str]) -> str:
    """Return what was asked and where redirects have led, without logins and arguments.

    Arguments hold whole queries, and what else is secret is not always told by its name.

    Examples
    --------
    >>> shown_route(["http://vm/api?query=up"])
    'http://vm/api'
    >>> shown_route(["http://vm/api", "http://gateway/api?to=vm"])
    'http://vm/api (redirected to http://gateway/api)'
    """
    asked, *led_to = (redact_url(url).partition("?")[0] for url in urls)
    return f"{asked} (redirected to {led_to[-1]})" if led_to else asked


def with_arguments(url: str, encoded: bytes) -> str:
    """Return an address with further arguments, encoded by `form_encode`.

    Examples
    --------
    >>> with_arguments("http://vm/api?authKey=k", b"query=x")
    'http://vm/api?authKey=k&query=x'
    """
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, encoded.decode("ascii")]))
    return urlunsplit(parts._replace(query=query))


def is_same_host(url: str, other: str) -> bool:
    """Return whether scheme, host and port of two addresses are the same.

    Examples
    --------
    >>> is_same_host("http://vm:8428/a", "http://vm:8428/b"), is_same_host("http://a", "https://a")
    (True, False)
    """
    return urlsplit(url)[:2] == urlsplit(other)[:2]


def secret_arguments(url: str) -> list[str]:
    """Return the arguments of `url` that look like secrets, name and value, as they are in it.

    Examples
    --------
    >>> secret_arguments("https://vm:8428/prefix?authKey=s3cret&a=b")
    ['authKey=s3cret']
    """
    return [
        argument
        for argument in urlsplit(url).query.split("&")
        if _SECRET_ARGUMENT.search(argument.partition("=")[0])
    ]


def form_encode(arguments: list[tuple[str, str]]) -> bytes:
    """Return arguments as the body of a form, `application/x-www-form-urlencoded`.

    Examples
    --------
    >>> form_encode([("query", "sum(x) by (a)"), ("step", "60")])
    b'query=sum%28x%29%20by%20%28a%29&step=60'
    """
    return urlencode(arguments, quote_via=quote).encode("ascii")
