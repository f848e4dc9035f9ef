"""Addresses and the arguments in them: what may be shown of them, and how they are encoded."""

from __future__ import annotations

import re
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
