"""Who may send requests."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vmanomaly.config.server import AuthSection
from vmanomaly.episodes import Episodes
from vmanomaly.server.errors import error_response

logger = logging.getLogger(__name__)


class Authentication:
    """Lets requests with the right credentials through.

    Parameters
    ----------
    app
        The application behind.
    section
        The credentials they need.
    open_paths
        Paths that everybody may request.
    """

    def __init__(self, app: ASGIApp, section: AuthSection, open_paths: Collection[str]) -> None:
        self._app = app
        self._section = section
        self._open_paths = frozenset(open_paths)
        self._scheme = "Bearer" if section.user is None else "Basic"
        self._episodes = Episodes(logger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            given = Headers(scope=scope).get("authorization", "")
            if not self._is_right(given):
                challenge = {"WWW-Authenticate": f'{self._scheme} realm="vmanomaly"'}
                answer = error_response(401, "wrong or missing credentials", headers=challenge)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_right(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        secret = self._secret()
        if scheme.lower() != self._scheme.lower() or not secret:
            return False
        expected = secret.encode()
        if self._section.user is not None:
            expected = base64.b64encode(f"{self._section.user}:{secret}".encode())
        # The server decodes headers as Latin-1, whatever they are.
        return secrets.compare_digest(credentials.strip().encode("latin-1"), expected)

    def _secret(self) -> str:
        """Return the password or the token; nothing while its file cannot be read."""
        try:
            secret = self._section.secret()
        except (OSError, UnicodeDecodeError) as error:
            self._episodes.begin(
                "secret",
                f"Cannot read `server.auth.bearer_token_file`, so all logins are rejected: {error}",
                logging.ERROR,
            )
            return ""
        self._episodes.end("secret", "`server.auth.bearer_token_file` can be read again")
        return secret
