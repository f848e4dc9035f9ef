"""What a client sends to its datasource, and to nobody else."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from vmanomaly.errors import DatasourceError
from vmanomaly.http.tls import secret_file
from vmanomaly.http.urls import is_same_host, redact_url

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection


class Credentials:
    """The headers of a section of the configuration that hold secrets.

    Parameters
    ----------
    section
        The section.
    role
        Where it is in the configuration, for messages.
    """

    def __init__(self, section: HttpSection, role: str) -> None:
        self._section = section
        self._role = role
        parts = urlsplit(section.datasource_url)
        self._in_url, _, host = parts.netloc.rpartition("@")
        self._root = urlunsplit((parts.scheme, host, "", "", ""))
        self._password_file = secret_file(section.password_file, f"{role}.password_file")
        self._token_file = secret_file(section.bearer_token_file, f"{role}.bearer_token_file")

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers for a request to `url`; none for another host.

        Raises
        ------
        DatasourceError
            They cannot be sent, or a file of theirs cannot be read.
        """
        if not is_same_host(url, self._root):
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
        elif self._in_url:
            headers["Authorization"] = _basic_of_url(self._in_url)
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise DatasourceError(
                    f"The header {name} for {redact_url(url)} holds a character that no header "
                    f"may hold; check the credentials and `{self._role}.headers`",
                    "io_error",
                )
        return headers


def proxy_headers(section: HttpSection) -> dict[str, str]:
    """Return the headers that are for the proxy of a section alone: the login in its address."""
    login, _, _ = urlsplit(section.proxy_url or "").netloc.rpartition("@")
    return {"Proxy-Authorization": _basic_of_url(login)} if login else {}


def _basic_of_url(login: str) -> str:
    user, _, password = login.partition(":")
    return _basic(unquote(user), unquote(password))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
