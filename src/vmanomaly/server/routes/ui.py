"""The web UI: one page, and the files that it loads.

`make ui` builds it into the package.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

import vmanomaly
from vmanomaly.config import Config

BUILT = Path(__file__).parents[1] / "ui"
"""Where `make ui` puts it."""

_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_IMMUTABLE = "private, max-age=31536000, immutable"

_NOT_BUILT = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>vmanomaly</title>
</head>
<body>
<h1>vmanomaly {vmanomaly.__version__}</h1>
<p>The web UI was not built before this was installed. In the checkout, run
<code>packaging/build-ui.sh .venv/bin/python</code>, then <code>pip install --no-deps .</code>
again, and reload the page.</p>
<ul>
<li><a href="../health">Health</a>, <a href="../ready">readiness</a></li>
<li><a href="../metrics">Metrics</a> of the service itself</li>
<li><a href="../presets/">Dashboards and rules</a> of the preset</li>
<li><a href="../docs">API</a>, to try out; <a href="../redoc">the same</a> to read</li>
</ul>
</body>
</html>
"""


def ui_router(path_prefix: str, config: Callable[[], Config], built: Path = BUILT) -> APIRouter:
    """Return `/vmui/`, what it loads, and the redirects to it.

    Redirects and links are relative, so that they work behind a proxy that serves them under
    another path.

    Parameters
    ----------
    path_prefix
        Where the router is served.
    config
        Gives the configuration that runs.
    built
        The folder with the built UI.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def to_ui() -> RedirectResponse:
        return RedirectResponse("vmui/")

    if path_prefix:

        @router.get("")
        async def to_ui_below() -> RedirectResponse:
            return RedirectResponse(f"{path_prefix.rpartition('/')[2]}/vmui/")

    @router.get("/vmui")
    async def to_slash() -> RedirectResponse:
        return RedirectResponse("vmui/")

    @router.get("/vmui/")
    def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        server = config().server
        ancestors = () if server is None else server.ui_frame_ancestors
        headers = {"Content-Security-Policy": _policy(nonce, ancestors)}
        try:
            content = (built / "index.html").read_text(encoding="utf-8")
        except FileNotFoundError:
            return HTMLResponse(_NOT_BUILT, headers=headers)
        state = "" if server is None else server.ui_default_state
        return HTMLResponse(_filled(content, nonce, state), headers=headers)

    @router.get("/vmui/assets/{name}")
    async def asset(name: str) -> FileResponse:
        path = built / "assets" / name
        kind = _TYPES.get(path.suffix)
        if kind is None or path.parent != built / "assets" or not path.is_file():
            raise HTTPException(404)
        # Their names hold a digest of their content.
        return FileResponse(path, headers={"Cache-Control": _IMMUTABLE}, media_type=kind)

    return router


def _filled(content: str, nonce: str, state: str) -> str:
    """Return the page with what differs between answers in it."""
    for name, value in (("style-nonce", nonce), ("default-state", state)):
        empty = f'<meta name="{name}" content="" />'
        filled = f'<meta name="{name}" content="{html.escape(value)}" />'
        content = content.replace(empty, filled)
    return content


def _policy(nonce: str, frame_ancestors: tuple[str, ...]) -> str:
    # The editor and nothing else writes style sheets, with the nonce.
    framed_by = " ".join(frame_ancestors) or "'none'"
    return (
        f"default-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; "
        f"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {framed_by}"
    )
