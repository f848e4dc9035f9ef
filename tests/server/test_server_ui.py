"""The web UI as it is served: paths, headers, and what the server writes into the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.config_helpers import MINIMAL, load
from vmanomaly.config.server import ServerSection
from vmanomaly.server.app import create_app
from vmanomaly.server.listener import Listener
from vmanomaly.server.routes.ui import ui_router

PAGE = """<!doctype html>
<head>
<meta name="default-state" content="" />
<meta name="style-nonce" content="" />
<script type="module" src="./assets/index-Ab12.js"></script>
</head>
"""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "ui"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "assets/index-Ab12.js").write_text("hello()")
    (folder / "assets/notes.txt").write_text("not for browsers")
    return folder


@contextmanager
def serving(built: Path, keys: Mapping[str, Any] | None = None, prefix: str = "") -> Iterator[str]:
    section = ServerSection.model_validate(keys or {})
    config = replace(load(MINIMAL), server=section)
    app = create_app([ui_router(prefix, lambda: config, built)], [prefix], section.auth)
    listener = Listener("server", "127.0.0.1", 0, app, {})
    listener.start()
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        listener.stop()


def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, redirect=False, headers=headers, timeout=60)


def metas(page: str) -> dict[str, str]:
    found = {}

    class Metas(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            if tag == "meta":
                found[given["name"] or ""] = given["content"] or ""

    Metas().feed(page)
    return found


@pytest.mark.parametrize("prefix", ["", "/p", "/a/b"])
def test_everything_leads_to_the_page_by_relative_redirects(built: Path, prefix: str) -> None:
    with serving(built, prefix=prefix) as url:
        for path in ("", "/", "/vmui"):
            if not prefix and not path:
                continue
            answer = get(f"{url}{prefix}{path}")
            assert answer.status == 307
            location = answer.headers["Location"]
            assert not location.startswith("/")
            assert ":" not in location
            folder = f"{prefix}{path}".rpartition("/")[0]
            assert f"{folder}/{location}" == f"{prefix}/vmui/"
        page = get(f"{url}{prefix}/vmui/")
        assert page.status == 200
        (asset,) = re.findall(r'src="\./([^"]+)"', page.data.decode())
        assert get(f"{url}{prefix}/vmui/{asset}").data == b"hello()"


def test_the_page_is_never_cached_and_its_files_are_for_good(built: Path) -> None:
    with serving(built) as url:
        assert get(f"{url}/vmui/").headers["Cache-Control"] == "no-store"
        script = get(f"{url}/vmui/assets/index-Ab12.js")
    assert "immutable" in script.headers["Cache-Control"]
    assert script.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("name", ["nope.js", "notes.txt", "..%2findex.html", "a%2fb.js"])
def test_other_files_are_not_served(built: Path, name: str) -> None:
    with serving(built) as url:
        assert get(f"{url}/vmui/assets/{name}").status == 404


def test_the_default_state_and_the_nonce_are_in_the_page(built: Path) -> None:
    state = '#/?g0.expr=a{b="<c>"}&x=%22'
    with serving(built, {"ui_default_state": state}) as url:
        answers = [get(f"{url}/vmui/") for _ in range(2)]
    nonces = set()
    for answer in answers:
        found = metas(answer.data.decode())
        assert found["default-state"] == state
        nonces.add(found["style-nonce"])
        policy = answer.headers["Content-Security-Policy"]
        assert f"style-src 'self' 'nonce-{found['style-nonce']}'" in policy
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
    assert len(nonces) == 2, "each answer has its own"


@pytest.mark.parametrize(
    ("origins", "expected"),
    [([], "'none'"), (["https://grafana.example.com"], "https://grafana.example.com")],
)
def test_which_pages_may_show_it_in_a_frame(built: Path, origins: list[str], expected: str) -> None:
    with serving(built, {"ui_frame_ancestors": origins}) as url:
        policy = get(f"{url}/vmui/").headers["Content-Security-Policy"]
    assert policy.endswith(f"frame-ancestors {expected}")


def test_it_needs_the_login_of_the_server(built: Path) -> None:
    with serving(built, {"auth": {"user": "u", "password": "p"}}) as url:
        refused = get(f"{url}/vmui/")
        login = urllib3.make_headers(basic_auth="u:p")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic")
        assert get(f"{url}/vmui/", **login).status == 200


def test_a_checkout_without_it_says_how_to_build_it(tmp_path: Path) -> None:
    with serving(tmp_path / "none") as url:
        page = get(f"{url}/vmui/").data.decode()
    assert "packaging/build-ui.sh" in page
    links = set(re.findall(r'href="\.\./([^"]+)"', page))
    assert links == {"health", "ready", "metrics", "presets/", "docs", "redoc"}
