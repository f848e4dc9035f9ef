"""The HTTP client that reader, writer and monitoring share: pool, TLS, credentials, errors.

Every failure leaves as a `DatasourceError` whose message names the URL without credentials, what
happened in the server's own words, and the configuration key that remedies it. Requests are
never repeated here: whoever sends one knows whether it may be sent twice.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import orjson
import urllib3
from urllib3 import exceptions as failures

from vmanomaly import __version__
from vmanomaly.errors import DatasourceError

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection

logger = logging.getLogger(__name__)

Signature: TypeAlias = tuple[int, int, int]

_CHUNK_BYTES = 1 << 20
_MAX_BODY_BYTES = 64 << 20
_MAX_WORDS = 500
_MAX_REDIRECTS = 5
_TITLE_WITHIN_BYTES = 4096
_SECRET_ARGUMENT = re.compile("auth|key|pass|secret|signature|token|credential", re.IGNORECASE)
# Shorter values of headers, such as the number of a tenant, are part of many words.
_SHORTEST_SECRET = 8
_DENIED_STATUSES = frozenset({401, 403, 407})
# nginx answers 400 to a client whose certificate is missing, expired or of another CA.
_CERTIFICATE_DENIED = "SSL certificate"
# VictoriaMetrics and vmauth, to an address that they do not serve.
_UNKNOWN_ADDRESS = re.compile("unsupported path requested|missing route for")
_POOL_PREFIX = re.compile(r"^<?[\w.]*(?:Connection|ConnectionPool)\w*[^:]*:\s*")


class StatusError(DatasourceError):
    """A server answered with an HTTP status other than 2xx; `code` is the status.

    Attributes
    ----------
    status : int
        The HTTP status.
    words : str
        The server's own words, at most 500 characters, without the client's credentials.
    retry_after : float or None
        Seconds that the server asks to wait, by its header `Retry-After`.
    denied : bool
        Whether the server minds who asks, and not what is asked: credentials or certificate of
        the client are missing, wrong or out of date.
    """

    def __init__(
        self, message: str, status: int, words: str, retry_after: float | None, denied: bool
    ) -> None:
        super().__init__(message, str(status), out_of_reach=denied)
        self.status = status
        self.words = words
        self.retry_after = retry_after
        self.denied = denied


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer with a 2xx status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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


class HttpClient:
    """A client of one datasource, with a pool of kept connections; safe to use from threads.

    Parameters
    ----------
    section
        The configuration of the datasource.
    role
        Where the section stands in the configuration (`reader`, `writer`, `monitoring.push`),
        for messages. A `reader` reads under `/select/` of a cluster, others write under
        `/insert/`.
    """

    def __init__(self, section: HttpSection, role: str) -> None:
        self._section = section
        self._role = role
        self._cluster_root = "select" if role == "reader" else "insert"
        parts = urlsplit(section.datasource_url)
        userinfo, _, host = parts.netloc.rpartition("@")
        self._base = parts._replace(netloc=host, path=parts.path.rstrip("/"), fragment="")
        self._url_credentials = userinfo
        self._password_file = _optional_file(section.password_file, f"{role}.password_file")
        self._token_file = _optional_file(section.bearer_token_file, f"{role}.bearer_token_file")
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None
        self._tls_signature: tuple[Signature | None, ...] = ()
        if section.verify_tls is False:
            urllib3.disable_warnings(failures.InsecureRequestWarning)

    def url(self, path: str, tenant: str | None = None) -> str:
        """Return the address of `path`, under the tenant's root of a cluster where one is given.

        A `datasource_url` that already holds `/select/` or `/insert/` is used as it is. An empty
        path is the address of the datasource itself.
        """
        root = self._base.path
        if tenant is not None and not re.search(r"/(select|insert)/", root + "/"):
            root = f"{root}/{self._cluster_root}/{tenant}/prometheus"
        return urlunsplit(self._base._replace(path=f"{root}/{path.lstrip('/')}" if path else root))

    def server_url(self, path: str) -> str:
        """Return the address of `path` on the server itself, outside `/select/` and `/insert/`."""
        root = re.split(r"/(?:select|insert)/", self._base.path + "/")[0].rstrip("/")
        return urlunsplit(self._base._replace(path=f"{root}/{path.lstrip('/')}"))

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Send a request and return its whole answer, at most 64 MiB.

        Raises
        ------
        StatusError
            The status is not 2xx.
        DatasourceError
            The server cannot be reached, is too slow, or breaks off.
        """
        deadline = self._deadline(timeout_s)
        response = self._open(method, url, body, headers, deadline)
        try:
            content = self._read_whole(response, url, deadline)
        finally:
            response.close()
        return Response(response.status, response.headers, content)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """Send a request and give its JSON answer in pieces, as they arrive.

        The time-out covers the request and the whole answer.

        Raises
        ------
        StatusError
            The status is not 2xx.
        DatasourceError
            The server cannot be reached, is too slow, breaks off, or answers with HTML.
        """
        deadline = self._deadline(timeout_s)
        accept = {"Accept": "application/json", **(headers or {})}
        response = self._open(method, url, body, accept, deadline)
        try:
            if response.headers.get("Content-Type", "").startswith("text/html"):
                start = next(self._chunks(response, url, deadline), b"")
                raise DatasourceError(
                    f"{redact_url(url)} answered with HTML{_title(start)} where JSON was expected. "
                    f"{self._wrong_url()}",
                    "io_error",
                )
            yield self._chunks(response, url, deadline)
        finally:
            response.close()

    def check_health(self) -> None:
        """Ask `health_path`; any HTTP answer means that the server is there.

        Raises
        ------
        DatasourceError
            There is no answer.
        """
        path = self._section.health_path
        url = path if path.startswith(("http://", "https://")) else self.url(path)
        try:
            self.request("GET", url)
        except StatusError as error:
            logger.debug("%s is there: it answered %s", redact_url(url), error.status)

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            if self._pool is not None:
                self._pool.clear()
                self._pool = None

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (timeout_s or self._section.timeout.seconds)

    def _open(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> urllib3.BaseHTTPResponse:
        credentials = self._credentials(url)
        own = {
            "User-Agent": f"vmanomaly/{__version__}",
            **(headers or {}),
            **credentials,
        }
        policy = urllib3.Retry(
            total=None,
            connect=0,
            read=0,
            status=0,
            other=0,
            redirect=_MAX_REDIRECTS,
            respect_retry_after_header=False,
            remove_headers_on_redirect={"Authorization", "Cookie", *credentials},
        )
        pool = self._current_pool()
        with self._translated(url):
            response = pool.request(
                method,
                url,
                body=body,
                headers=own,
                preload_content=False,
                retries=policy,
                timeout=urllib3.Timeout(total=max(deadline - time.monotonic(), 0.001)),
            )
        if 200 <= response.status < 300:
            return response
        try:
            raise self._status_error(response, url, credentials, deadline)
        finally:
            response.close()

    def _chunks(
        self, response: urllib3.BaseHTTPResponse, url: str, deadline: float
    ) -> Iterator[bytes]:
        while True:
            with self._translated(url):
                chunk = response.read1(_CHUNK_BYTES)
            if not chunk:
                return
            if time.monotonic() > deadline:
                raise self._timeout(url)
            yield chunk

    def _read_whole(self, response: urllib3.BaseHTTPResponse, url: str, deadline: float) -> bytes:
        content = bytearray()
        for chunk in self._chunks(response, url, deadline):
            content += chunk
            if len(content) > _MAX_BODY_BYTES:
                raise DatasourceError(
                    f"{redact_url(url)} answered with more than {_MAX_BODY_BYTES >> 20} MiB. "
                    f"{self._wrong_url()}",
                    "io_error",
                )
        return bytes(content)

    def _credentials(self, url: str) -> dict[str, str]:
        """Return the headers that must not reach any host but the datasource's."""
        if urlsplit(url)[:2] != self._base[:2]:
            return {}
        section = self._section
        headers = {name: secret.get_secret_value() for name, secret in section.headers.items()}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read()}"
        elif section.bearer_token is not None:
            headers["Authorization"] = f"Bearer {section.bearer_token.get_secret_value()}"
        elif section.user is not None:
            password = section.password.get_secret_value() if section.password else ""
            if self._password_file is not None:
                password = self._password_file.read()
            headers["Authorization"] = _basic(section.user, password)
        elif self._url_credentials:
            user, _, password = self._url_credentials.partition(":")
            headers["Authorization"] = _basic(unquote(user), unquote(password))
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise DatasourceError(
                    f"The header {name} for {redact_url(url)} holds a character that no header "
                    f"may hold; check the credentials and `{self._role}.headers`",
                    "io_error",
                )
        return headers

    def _current_pool(self) -> urllib3.PoolManager:
        section = self._section
        bundle = section.verify_tls if isinstance(section.verify_tls, Path) else None
        signature = tuple(
            None if path is None else _signature(path)
            for path in (bundle, section.tls_cert_file, section.tls_key_file)
        )
        with self._lock:
            if self._pool is not None and signature == self._tls_signature:
                return self._pool
            try:
                context = self._tls_context()
            except (OSError, ssl.SSLError) as error:
                problem = (
                    f"Cannot use `{self._role}.verify_tls`, `{self._role}.tls_cert_file` or "
                    f"`{self._role}.tls_key_file` for {redact_url(section.datasource_url)}: {error}"
                )
                if self._pool is None:
                    raise DatasourceError(problem, "ssl_error") from error
                # Certificate and key are replaced one after the other: until both fit, the
                # connections go on with what was loaded before.
                logger.warning("%s; going on with the files read before", problem)
                self._tls_signature = signature
                return self._pool
            if self._pool is not None:
                self._pool.clear()
            self._tls_signature = signature
            self._pool = urllib3.PoolManager(num_pools=4, maxsize=64, ssl_context=context)
            return self._pool

    def _tls_context(self) -> ssl.SSLContext:
        section = self._section
        bundle = section.verify_tls if isinstance(section.verify_tls, Path) else None
        context = ssl.create_default_context(cafile=bundle)
        if section.verify_tls is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if section.tls_cert_file is not None:
            context.load_cert_chain(section.tls_cert_file, section.tls_key_file)
        return context

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        """Turn the failures of urllib3 into `DatasourceError`."""
        try:
            yield
        except failures.MaxRetryError as error:
            raise self._failure(url, error.reason or error) from error
        except failures.HTTPError as error:
            raise self._failure(url, error) from error
        except UnicodeError as error:
            raise DatasourceError(
                f"{redact_url(url)} is not a usable address: {error}. {self._wrong_url()}",
                "connection_error",
            ) from error

    def _failure(self, url: str, error: Exception) -> DatasourceError:
        where = redact_url(url)
        # What a server sent may be part of it, and the pattern takes its time over long texts.
        reason = _POOL_PREFIX.sub("", str(error)[:_MAX_WORDS]).strip("<> ")
        if isinstance(error, failures.SSLError):
            return DatasourceError(f"{where}: {reason}. {self._tls_remedy(reason)}", "ssl_error")
        if isinstance(error, failures.NewConnectionError):
            return DatasourceError(f"{where}: {reason}. {self._wrong_url()}", "connection_error")
        if isinstance(error, failures.TimeoutError):
            return self._timeout(url)
        if isinstance(error, failures.ResponseError):
            return DatasourceError(
                f"{where} redirects more than {_MAX_REDIRECTS} times. {self._wrong_url()}",
                "io_error",
            )
        broken = (IncompleteRead, failures.DecodeError)
        cause = error.args[-1] if error.args else None
        if isinstance(error, broken) or isinstance(cause, broken):
            return DatasourceError(
                f"{where}: the answer is broken or ended too early: {reason}", "io_error"
            )
        if isinstance(cause, Exception):
            reason = str(cause)[:_MAX_WORDS]
        return DatasourceError(f"{where}: {reason}", "connection_error")

    def _timeout(self, url: str) -> DatasourceError:
        return DatasourceError(
            f"{redact_url(url)}: no complete answer in time. A larger `{self._role}.timeout` "
            f"allows for slow answers",
            "timeout",
        )

    def _tls_remedy(self, reason: str) -> str:
        role = self._role
        if "certificate has expired" in reason or "not yet valid" in reason:
            return (
                f"The server's certificate has to be renewed, or a clock is wrong "
                f"(`{role}.verify_tls: false` accepts any certificate)"
            )
        if "not valid for" in reason:
            return (
                f"The server's certificate is for another name: write that name into "
                f"`{self._url_key()}` (`{role}.verify_tls: false` accepts any certificate)"
            )
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return (
                f"The server's certificate is not trusted: set `{role}.verify_tls` to the "
                f"path of the CA bundle that signed it (`false` accepts any certificate)"
            )
        if "WRONG_VERSION_NUMBER" in reason or "record layer failure" in reason:
            return f"Does `{self._url_key()}` need http:// instead of https://?"
        return self._client_certificate_remedy()

    def _client_certificate_remedy(self) -> str:
        role = self._role
        if self._section.tls_cert_file is None:
            return (
                f"Where the server asks for a client certificate, set `{role}.tls_cert_file` "
                f"and `{role}.tls_key_file`"
            )
        return (
            f"Is the certificate in `{role}.tls_cert_file` still valid, and signed by a CA that "
            f"the server trusts?"
        )

    def _login_remedy(self) -> str:
        role, section = self._role, self._section
        if section.bearer_token_file is not None:
            return f"Check the token in `{role}.bearer_token_file`"
        if section.bearer_token is not None:
            return f"Check `{role}.bearer_token`"
        if section.user is not None:
            password = "password" if section.password_file is None else "password_file"
            return f"Check `{role}.user` and `{role}.{password}`"
        if self._url_credentials:
            return f"Check the credentials in `{self._url_key()}`"
        return (
            f"Where the server asks for credentials, set `{role}.user` and `{role}.password`, or "
            f"`{role}.bearer_token`"
        )

    def _status_error(
        self,
        response: urllib3.BaseHTTPResponse,
        url: str,
        credentials: Mapping[str, str],
        deadline: float,
    ) -> StatusError:
        try:
            content = next(self._chunks(response, url, deadline), b"")
        except DatasourceError:
            content = b""
        status = response.status
        said = _words(content, response.headers.get("Content-Type", ""))
        words = _without(_secrets(credentials, url), said)[:_MAX_WORDS]
        bad_certificate = status == 400 and _CERTIFICATE_DENIED in words
        # Older vmauth answers 400 to a login it does not know, and repeats it.
        login = credentials.get("Authorization")
        bad_login = status in _DENIED_STATUSES or (
            status == 400 and login is not None and login in said
        )
        message = f"{redact_url(url)} answered {status} {response.reason or ''}".rstrip()
        if words:
            message += f": {words}"
        if bad_certificate:
            message += f". {self._client_certificate_remedy()}"
        elif bad_login:
            message += f". {self._login_remedy()}"
        elif _UNKNOWN_ADDRESS.search(words):
            message += f". {self._wrong_tenant()}"
        elif status in {404, 405}:
            message += f". {self._wrong_url()}"
        elif status == 413:
            message += (
                ". A server in between refuses large bodies: it has to let 8 MiB through "
                "(nginx: client_max_body_size)"
            )
        retry_after = _seconds_to_wait(response.headers.get("Retry-After", ""))
        return StatusError(
            message,
            status,
            words,
            retry_after,
            denied=bad_certificate or bad_login,
        )

    def _url_key(self) -> str:
        return (
            f"{self._role}.url"
            if self._role == "monitoring.push"
            else (f"{self._role}.datasource_url")
        )

    def _wrong_url(self) -> str:
        return f"Is `{self._url_key()}` right?"

    def _wrong_tenant(self) -> str:
        return (
            f"Is `{self._role}.tenant_id` right, and `{self._url_key()}`? A cluster needs a "
            f"tenant; a single-node server has none"
        )


class _SecretFile:
    """The content of a small file, read again when the file changes."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._read: tuple[Signature | None, str] = (None, "")

    def read(self) -> str:
        signature, content = self._read
        current = _signature(self._path)
        if current is None or current != signature:
            try:
                content = self._path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise DatasourceError(
                    f"Cannot read `{self._key}` {self._path}: {error}", "io_error"
                ) from error
            if not content:
                raise DatasourceError(f"`{self._key}` {self._path} is empty", "io_error")
            self._read = (current, content)
        return content


def _optional_file(path: Path | None, key: str) -> _SecretFile | None:
    return None if path is None else _SecretFile(path, key)


def _signature(path: Path) -> Signature | None:
    """Return what changes when a file is replaced, or None when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _seconds_to_wait(retry_after: str) -> float | None:
    """Return what the value of a header `Retry-After`, a number or a date, asks for."""
    if retry_after.isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _secrets(credentials: Mapping[str, str], url: str) -> list[str]:
    """Return what a server may repeat of a request and no log may show, the longest first."""
    headers = {part for value in credentials.values() for part in (value, value.split(" ")[-1])}
    arguments = {
        argument
        for argument in urlsplit(url).query.split("&")
        if _SECRET_ARGUMENT.search(argument.partition("=")[0])
    }
    long = {text for text in headers if len(text) >= _SHORTEST_SECRET}
    return sorted(long | arguments, key=len, reverse=True)


def _without(secrets: list[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _words(content: bytes, content_type: str) -> str:
    """Return what an error's body says, on one line."""
    if content_type.startswith("text/html") or content.lstrip()[:1] == b"<":
        return f"HTML{_title(content)}"
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    text = content.decode("utf-8", "replace")
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        text = answer["error"]
    return " ".join(text.split())


def _title(content: bytes) -> str:
    """Return the title of a page, in brackets, if it is near its start."""
    head = content[:_TITLE_WITHIN_BYTES]
    lowered = head.lower()
    tag = lowered.find(b"<title")
    start = lowered.find(b">", tag) + 1 if tag >= 0 else 0
    end = lowered.find(b"</title", start) if start else -1
    if end < 0:
        return ""
    return f" (“{' '.join(head[start:end].decode('utf-8', 'replace').split())[:100]}”)"


def form_encode(arguments: list[tuple[str, str]]) -> bytes:
    """Return arguments as the body of a form, `application/x-www-form-urlencoded`.

    Examples
    --------
    >>> form_encode([("query", "sum(x) by (a)"), ("step", "60")])
    b'query=sum%28x%29%20by%20%28a%29&step=60'
    """
    return urlencode(arguments, quote_via=quote).encode("ascii")
