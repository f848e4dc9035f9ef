"""Pages for a browser: the API, to try out and to read.

Nothing on them comes from another host.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<link rel="icon" href="data:,">
<title>{title}</title>
{head}</head>
<body>
{body}</body>
</html>
"""

_START_SWAGGER = """
SwaggerUIBundle({url: "openapi.json", dom_id: "#api", deepLinking: true});
"""


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


_SWAGGER_POLICY = (
    f"default-src 'self'; script-src 'self' 'sha256-{_hash(_START_SWAGGER)}'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)
_REDOC_POLICY = (
    "default-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "worker-src blob:; frame-ancestors 'none'"
)


def pages_router() -> APIRouter:
    """Return `/docs` and `/redoc`.

    Links are relative, so that they work behind a proxy that serves them under another path.
    """
    router = APIRouter(include_in_schema=False)
    assets = files("fastapi_offline") / "static"

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        body = (
            '<div id="api"></div>\n<script src="docs/swagger-ui-bundle.js"></script>\n'
            f"<script>{_START_SWAGGER}</script>\n"
        )
        head = '<link rel="stylesheet" href="docs/swagger-ui.css">\n'
        return _page("vmanomaly: API", body, _SWAGGER_POLICY, head)

    @router.get("/redoc")
    async def redoc() -> HTMLResponse:
        body = (
            '<redoc spec-url="openapi.json"></redoc>\n'
            '<script src="docs/redoc.standalone.js"></script>\n'
        )
        return _page("vmanomaly: API", body, _REDOC_POLICY)

    @router.get("/docs/{name}")
    async def asset(name: str) -> FileResponse:
        if name not in _ASSETS:
            raise HTTPException(404)
        headers = {"Cache-Control": "private, max-age=86400"}
        return FileResponse(str(assets / name), headers=headers, media_type=_ASSETS[name])

    return router


def _page(title: str, body: str, policy: str, head: str = "") -> HTMLResponse:
    content = _PAGE.format(title=title, head=head, body=body)
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})
