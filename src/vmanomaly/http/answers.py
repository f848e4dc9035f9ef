"""Answers of servers, and what those say that report no success."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from vmanomaly.errors import DatasourceError
from vmanomaly.http.urls import secret_arguments

MAX_WORDS = 500
"""How many characters of a server's own words are shown, at most."""

_TITLE_WITHIN_BYTES = 4096
# Shorter values of headers, such as the number of a tenant, are part of many words.
_SHORTEST_SECRET = 8
_LONGEST_WAIT_S = 86_400.0


class StatusError(DatasourceError):
    """A server answered with an HTTP status other than 2xx; `code` is the status.

    Attributes
    ----------
    status : int
        The HTTP status.
    words : str
        The server's own words, without the client's credentials. The message has the start and
        the end of long ones.
    retry_after : float or None
        Seconds that the server asks to wait, by its header `Retry-After`.
    denied : bool
        Whether the server objects to who asks, not to what is asked: credentials or certificate of
        the client are missing, wrong or expired.
    """

    def __init__(
        self, message: str, status: int, words: str, retry_after: float | None, denied: bool
    ) -> None:
        super().__init__(message, str(status), out_of_reach=denied)
        self.status = status
        self.words = words
        self.retry_after = retry_after
        self.denied = denied


class BrokenAnswerError(DatasourceError):
    """A server answered with a 2xx status, and its answer broke off or is damaged."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer with a 2xx status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def data_of(response: Response, url: str) -> Any:
    """Return `data` of an answer of the Prometheus API.

    Parameters
    ----------
    response
        The answer.
    url
        What was asked, as it may be shown.

    Raises
    ------
    DatasourceError
        It is another answer or only a part of one, reports an error, or says that data is missing.

    Examples
    --------
    >>> data_of(Response(200, {}, b'{"status": "success", "data": ["up"]}'), "http://vm:8428")
    ['up']
    """
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise DatasourceError(
            f"{url} answered with something other than complete JSON. Was the answer cut off, or "
            "is `reader.datasource_url` wrong?",
            "io_error",
        ) from error
    if isinstance(answer, dict) and answer.get("status") == "error":
        said = " ".join(str(answer.get("error") or "no reason was given").split())
        raise DatasourceError(f"{url} answered with an error: {said[:MAX_WORDS]}", "io_error")
    if not isinstance(answer, dict) or answer.get("status") != "success" or "data" not in answer:
        raise DatasourceError(
            f"{url} answered with JSON that is no answer of the Prometheus API. Is "
            "`reader.datasource_url` right?",
            "io_error",
        )
    if answer.get("isPartial") is True:
        raise DatasourceError(
            f"{url} says that data is missing (isPartial). Are all storage nodes up?", "io_error"
        )
    return answer["data"]


def seconds_to_wait(retry_after: str) -> float | None:
    """Return the seconds that a header `Retry-After`, a number or a date, asks for.

    At most a day; None where the value is neither.

    Examples
    --------
    >>> seconds_to_wait("7"), seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT")
    (7.0, 0.0)
    """
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), _LONGEST_WAIT_S)
    try:
        seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT_S)


def words(content: bytes, content_type: str) -> str:
    """Return what the body of an error says, on one line.

    Examples
    --------
    >>> words(b'{"status": "error", "error": "cannot parse"}', "application/json")
    'cannot parse'
    """
    if content_type.startswith("text/html") or content.lstrip()[:1] == b"<":
        return f"HTML{title(content)}"
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    text = content.decode("utf-8", "replace")
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        text = answer["error"]
    return " ".join(text.split())


def shown_words(text: str) -> str:
    """Return what is shown of a server's own words: of long ones the start and the end.

    Databases repeat the query first, and give the reason last.

    Examples
    --------
    >>> shown_words("cannot parse")
    'cannot parse'
    >>> shown_words("query " + 1000 * "x" + ": not enough memory")[-25:]
    'xxxxxx: not enough memory'
    """
    if len(text) <= MAX_WORDS:
        return text
    half = (MAX_WORDS - 3) // 2
    return f"{text[:half].rstrip()} … {text[-half:].lstrip()}"


def title(content: bytes) -> str:
    """Return the title of a page, in brackets, if it is near its start.

    Examples
    --------
    >>> title(b"<html><title>Log in</title></html>")
    ' (“Log in”)'
    """
    head = content[:_TITLE_WITHIN_BYTES]
    lowered = head.lower()
    tag = lowered.find(b"<title")
    start = lowered.find(b">", tag) + 1 if tag >= 0 else 0
    end = lowered.find(b"</title", start) if start else -1
    if end < 0:
        return ""
    return f" (“{' '.join(head[start:end].decode('utf-8', 'replace').split())[:100]}”)"


def without_secrets(text: str, credentials: Mapping[str, str], urls: Sequence[str]) -> str:
    """Return what a server says without what it repeats of a request and no log may show.

    Parameters
    ----------
    text
        What the server says.
    credentials
        The headers of the request that hold secrets.
    urls
        Where it was sent.

    Examples
    --------
    >>> without_secrets("no user scott:tiger", {"X-Login": "scott:tiger"}, ["http://vm"])
    'no user ***'
    """
    headers = {part for value in credentials.values() for part in (value, value.split(" ")[-1])}
    long = {secret for secret in headers if len(secret) >= _SHORTEST_SECRET}
    long.update(*map(secret_arguments, urls))
    for secret in sorted(long, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
