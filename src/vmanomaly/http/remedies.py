"""What went wrong with a request, in words, and the configuration key that remedies it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as failures

from vmanomaly.errors import DatasourceError, TooLargeError
from vmanomaly.http.answers import (
    MAX_WORDS,
    StatusError,
    seconds_to_wait,
    shown_words,
    title,
    without_secrets,
    words,
)
from vmanomaly.http.credentials import proxy_headers
from vmanomaly.http.urls import is_same_host, redact_url, shown_route
from vmanomaly.printable import shown_size

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection

MAX_REDIRECTS = 5
"""Redirects that are followed."""

_DENIED_STATUSES = frozenset({401, 403, 407})
# nginx answers 400 to a client whose certificate is missing, expired or of another CA.
_CERTIFICATE_DENIED = "SSL certificate"
# What VictoriaMetrics and vmauth answer for a path that they do not serve.
_UNKNOWN_ADDRESS = re.compile("unsupported path requested|missing route for")
_CLOSED = "The log of the server, or of a proxy in between, may say why"
_POOL_PREFIX = re.compile(r"^<?[\w.]*(?:Connection|ConnectionPool)\w*[^:]*:\s*")


class Remedies:
    """Turns what goes wrong with the requests of a section of the configuration into errors.

    Parameters
    ----------
    section
        The section.
    role
        Where it is in the configuration (`reader`, `writer`, `monitoring.push`).
    """

    def __init__(self, section: HttpSection, role: str) -> None:
        self._section = section
        self._role = role
        self._has_login_in_url = "@" in urlsplit(section.datasource_url).netloc
        key = "url" if role == "monitoring.push" else "datasource_url"
        self._url_key = f"{role}.{key}"
        self._method = getattr(section, "http_method", None)
        proxy = section.proxy_url
        self._through = "" if proxy is None else f" (through the proxy {redact_url(proxy)})"

    def failure(self, urls: Sequence[str], error: Exception) -> DatasourceError:
        """Return what a failure of urllib3 means."""
        where = self._where(urls)
        if isinstance(error, ValueError) and not isinstance(error, failures.HTTPError):
            return DatasourceError(
                f"{where} is not a usable address, or redirects to one that is not: "
                f"{str(error)[:MAX_WORDS]}. {self.wrong_url()}",
                "connection_error",
            )
        if isinstance(error, failures.MaxRetryError):
            error = error.reason or error
        if isinstance(error, failures.ProxyError):
            return self._proxy_failure(where, error.original_error)
        reason = _reason(error)
        code = "connection_error"
        broken = (IncompleteRead, failures.DecodeError)
        cause = error.args[-1] if error.args else None
        if isinstance(error, failures.TimeoutError) and not isinstance(
            error, failures.NewConnectionError
        ):
            return self.timeout(urls)
        if isinstance(error, failures.SSLError):
            code, said = "ssl_error", f": {reason}. {self._tls(reason)}"
        elif isinstance(error, failures.NewConnectionError):
            said = f": {reason}. {self.wrong_url()}"
        elif isinstance(error, broken) or isinstance(cause, broken):
            code, said = "io_error", f": the response {_damage(error, cause)}"
        else:
            said = f": {_words(cause) if isinstance(cause, Exception) else reason}. {_CLOSED}"
        return DatasourceError(where + said, code)

    def timeout(self, urls: Sequence[str]) -> DatasourceError:
        """Return what it means that the time of a request is over."""
        return DatasourceError(
            f"{self._where(urls)}: no complete response in time. A larger `{self._role}.timeout` "
            f"allows for slow answers",
            "timeout",
        )

    def too_many_redirects(self, urls: Sequence[str]) -> DatasourceError:
        """Return what it means that redirects do not end."""
        return DatasourceError(
            f"{self._where(urls)} redirects more than {MAX_REDIRECTS} times. {self.wrong_url()}",
            "io_error",
        )

    def too_long(self, urls: Sequence[str], max_bytes: int) -> TooLargeError:
        """Return what it means that an answer is longer than any should be."""
        return TooLargeError(
            f"{self._where(urls)} answered with more than {shown_size(max_bytes)}. "
            f"{self.wrong_url()}"
        )

    def html(self, urls: Sequence[str], start: bytes) -> DatasourceError:
        """Return what a page means that starts so, and where a redirect has led to it."""
        remedy = self._foreign_host(urls) if self._has_left(urls) else self.wrong_url()
        return DatasourceError(
            f"{self._where(urls)} answered with HTML{title(start)} where JSON was expected. "
            f"{remedy}",
            "io_error",
        )

    def status_error(
        self,
        response: urllib3.BaseHTTPResponse,
        content: bytes,
        urls: Sequence[str],
        credentials: Mapping[str, str],
    ) -> StatusError:
        """Return what an answer with a status other than 2xx means.

        Parameters
        ----------
        response
            The answer.
        content
            The start of its body.
        urls
            What was asked, and where redirects have led.
        credentials
            The headers of the request that hold secrets.
        """
        status = response.status
        said = words(content, response.headers.get("Content-Type", ""))
        secrets = {**credentials, **proxy_headers(self._section)}
        said_safely = without_secrets(said, secrets, urls)
        shown = shown_words(said_safely)
        bad_certificate = status == 400 and _CERTIFICATE_DENIED in shown
        # Older vmauth answers 400 to unknown credentials, and repeats them.
        login = credentials.get("Authorization")
        bad_login = status in _DENIED_STATUSES or (
            status == 400 and login is not None and login in said
        )
        message = f"{self._where(urls)} answered {status} {response.reason or ''}".rstrip()
        if shown:
            message += f": {shown}"
        if bad_certificate:
            message += f". {self._client_certificate()}"
        elif status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            message += f". {self._proxy_login()}"
        elif bad_login:
            remedy = self._foreign_host(urls) if self._has_left(urls) else self._login()
            message += f". {remedy}"
        elif _UNKNOWN_ADDRESS.search(shown):
            message += f". {self._wrong_tenant()}"
        elif status == HTTPStatus.METHOD_NOT_ALLOWED and self._method == "POST":
            message += (
                f". {self.wrong_url()} For a gateway that allows only GET, set "
                f"`{self._role}.http_method` to GET"
            )
        elif status in {404, 405}:
            message += f". {self.wrong_url()}"
        elif status == HTTPStatus.REQUEST_URI_TOO_LONG and self._method == "GET":
            message += (
                f". Set `{self._role}.http_method` to POST, or let longer addresses through "
                f"(nginx: large_client_header_buffers)"
            )
        elif status == 413:
            message += (
                ". A proxy in between refuses large bodies: it has to let 8 MiB through "
                "(nginx: client_max_body_size)"
            )
        retry_after = seconds_to_wait(response.headers.get("Retry-After", ""))
        denied = bad_certificate or bad_login
        return StatusError(message, status, said_safely, retry_after, denied)

    def wrong_url(self) -> str:
        """Return the remedy for an address that is not the server's."""
        return f"Is `{self._url_key}` right?"

    def _where(self, urls: Sequence[str]) -> str:
        return shown_route(urls) + self._through

    @staticmethod
    def _has_left(urls: Sequence[str]) -> bool:
        return not is_same_host(urls[0], urls[-1])

    def _foreign_host(self, urls: Sequence[str]) -> str:
        host = urlsplit(redact_url(urls[-1])).netloc
        return (
            f"Credentials are not sent to another host. If {host} is the right one, write its "
            f"address into `{self._url_key}`; if not, log in with `{self._role}.bearer_token`, or "
            f"`{self._role}.user` and `{self._role}.password`"
        )

    def _proxy_failure(self, where: str, error: Exception) -> DatasourceError:
        reason = _reason(error)
        remedy = f"Is `{self._role}.proxy_url` right?"
        if f" {HTTPStatus.PROXY_AUTHENTICATION_REQUIRED} " in reason:
            remedy = self._proxy_login()
        return DatasourceError(f"{where}: {reason}. {remedy}", "connection_error")

    def _proxy_login(self) -> str:
        return (
            f"The proxy asks for credentials: check those in `{self._role}.proxy_url` "
            f"(http://user:password@host:port)"
        )

    def _wrong_tenant(self) -> str:
        return (
            f"Is `{self._role}.tenant_id` right, and `{self._url_key}`? A cluster needs a "
            f"tenant; a single-node server has none"
        )

    def _tls(self, reason: str) -> str:
        role = self._role
        if "certificate has expired" in reason or "not yet valid" in reason:
            return (
                f"The server's certificate has to be renewed, or a clock is wrong "
                f"(`{role}.verify_tls: false` accepts any certificate)"
            )
        if "not valid for" in reason:
            return (
                f"The server's certificate is for another name: write that name into "
                f"`{self._url_key}` (`{role}.verify_tls: false` accepts any certificate)"
            )
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return (
                f"The server's certificate is not trusted: set `{role}.verify_tls` to the "
                f"path of the CA bundle that signed it (`false` accepts any certificate)"
            )
        if "WRONG_VERSION_NUMBER" in reason or "record layer failure" in reason:
            return f"Does `{self._url_key}` need http:// instead of https://?"
        return self._client_certificate()

    def _client_certificate(self) -> str:
        role = self._role
        if self._section.tls_cert_file is None:
            return (
                f"If the server requires a client certificate, set `{role}.tls_cert_file` "
                f"and `{role}.tls_key_file`"
            )
        return (
            f"Is the certificate in `{role}.tls_cert_file` still valid, and signed by a CA that "
            f"the server trusts?"
        )

    def _login(self) -> str:
        role, section = self._role, self._section
        if section.bearer_token_file is not None:
            return f"Check the token in `{role}.bearer_token_file`"
        if section.bearer_token is not None:
            return f"Check `{role}.bearer_token`"
        if section.user is not None:
            password = "password" if section.password_file is None else "password_file"
            return f"Check `{role}.user` and `{role}.{password}`"
        if self._has_login_in_url:
            return f"Check the credentials in `{self._url_key}`"
        return (
            f"If the server requires credentials, set `{role}.user` and `{role}.password`, or "
            f"`{role}.bearer_token`"
        )


def _damage(error: Exception, cause: object) -> str:
    """Return what is wrong with an answer that broke off, or cannot be decompressed."""
    for each in (error, cause):
        # Of an answer in chunks, the second number is not known.
        if isinstance(each, IncompleteRead) and each.expected:
            partial: int | bytes = each.partial  # a number where urllib3 raises it
            n_bytes = partial if isinstance(partial, int) else len(partial)
            return f"broke off after {n_bytes:,} of {n_bytes + each.expected:,} bytes. {_CLOSED}"
    if isinstance(error, failures.DecodeError) or isinstance(cause, failures.DecodeError):
        return f"cannot be decompressed: {_reason(error)}"
    return f"broke off. {_CLOSED}"


def _words(error: Exception) -> str:
    """Return the words of an error, without the number of one of the operating system."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:MAX_WORDS]


def _reason(error: Exception) -> str:
    # What a server sent may be part of it, and the pattern takes its time over long texts.
    return _POOL_PREFIX.sub("", str(error)[:MAX_WORDS]).strip("<> ")
