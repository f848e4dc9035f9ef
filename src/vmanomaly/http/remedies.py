"""What went wrong with a request, in words, and the configuration key that remedies it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.client import IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as failures

from vmanomaly.errors import DatasourceError
from vmanomaly.http.answers import MAX_WORDS, StatusError, seconds_to_wait, without_secrets, words
from vmanomaly.http.urls import redact_url

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection

MAX_REDIRECTS = 5
"""Redirects that are followed."""

_DENIED_STATUSES = frozenset({401, 403, 407})
# nginx answers 400 to a client whose certificate is missing, expired or of another CA.
_CERTIFICATE_DENIED = "SSL certificate"
# What VictoriaMetrics and vmauth answer for a path that they do not serve.
_UNKNOWN_ADDRESS = re.compile("unsupported path requested|missing route for")
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

    def failure(self, url: str, error: Exception) -> DatasourceError:
        """Return what a failure of urllib3 means."""
        where = redact_url(url)
        if isinstance(error, ValueError) and not isinstance(error, failures.HTTPError):
            return DatasourceError(
                f"{where} is not a usable address, or redirects to one that is not: "
                f"{str(error)[:MAX_WORDS]}. {self.wrong_url()}",
                "connection_error",
            )
        if isinstance(error, failures.MaxRetryError):
            error = error.reason or error
        # It may contain what a server sent, and the pattern is slow on long texts.
        reason = _POOL_PREFIX.sub("", str(error)[:MAX_WORDS]).strip("<> ")
        code = "connection_error"
        broken = (IncompleteRead, failures.DecodeError)
        cause = error.args[-1] if error.args else None
        if isinstance(error, failures.TimeoutError) and not isinstance(
            error, failures.NewConnectionError
        ):
            return self.timeout(url)
        if isinstance(error, failures.SSLError):
            code, said = "ssl_error", f": {reason}. {self._tls(reason)}"
        elif isinstance(error, failures.NewConnectionError):
            said = f": {reason}. {self.wrong_url()}"
        elif isinstance(error, failures.ResponseError):
            code = "io_error"
            said = f" redirects more than {MAX_REDIRECTS} times. {self.wrong_url()}"
        elif isinstance(error, broken) or isinstance(cause, broken):
            code, said = "io_error", f": the response is broken or ended too early: {reason}"
        else:
            said = f": {str(cause)[:MAX_WORDS] if isinstance(cause, Exception) else reason}"
        return DatasourceError(where + said, code)

    def timeout(self, url: str) -> DatasourceError:
        """Return what it means that a request is out of time."""
        return DatasourceError(
            f"{redact_url(url)}: no complete response in time. A larger `{self._role}.timeout` "
            f"allows for slow answers",
            "timeout",
        )

    def status_error(
        self,
        response: urllib3.BaseHTTPResponse,
        content: bytes,
        url: str,
        credentials: Mapping[str, str],
    ) -> StatusError:
        """Return what an answer with a status other than 2xx means.

        Parameters
        ----------
        response
            The answer.
        content
            The start of its body.
        url
            What was requested.
        credentials
            The headers of the request that hold secrets.
        """
        status = response.status
        said = words(content, response.headers.get("Content-Type", ""))
        shown = without_secrets(said, credentials, url)[:MAX_WORDS]
        bad_certificate = status == 400 and _CERTIFICATE_DENIED in shown
        # Older vmauth answers 400 to unknown credentials, and repeats them.
        login = credentials.get("Authorization")
        bad_login = status in _DENIED_STATUSES or (
            status == 400 and login is not None and login in said
        )
        message = f"{redact_url(url)} answered {status} {response.reason or ''}".rstrip()
        if shown:
            message += f": {shown}"
        if bad_certificate:
            message += f". {self._client_certificate()}"
        elif bad_login:
            message += f". {self._login()}"
        elif _UNKNOWN_ADDRESS.search(shown):
            message += f". {self._wrong_tenant()}"
        elif status in {404, 405}:
            message += f". {self.wrong_url()}"
        elif status == 413:
            message += (
                ". A proxy in between refuses large bodies: it has to let 8 MiB through "
                "(nginx: client_max_body_size)"
            )
        retry_after = seconds_to_wait(response.headers.get("Retry-After", ""))
        denied = bad_certificate or bad_login
        return StatusError(message, status, shown, retry_after, denied)

    def wrong_url(self) -> str:
        """Return the remedy for an address that is not the server's."""
        return f"Is `{self._url_key}` right?"

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
