"""Logging in: what excludes what, and which files must be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.config_helpers import changed, load, problems
from vmanomaly.config import resolved_yaml
from vmanomaly.config.reader import VmReaderSection


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "file"
    path.write_text("content")
    return str(path)


def reader(**keys: Any) -> VmReaderSection:
    section = load(changed({f"reader.{key}": value for key, value in keys.items()})).reader
    assert isinstance(section, VmReaderSection)
    return section


def wrong(**keys: Any) -> list[str]:
    return problems(changed({f"reader.{key}": value for key, value in keys.items()}))


def test_defaults() -> None:
    section = reader()
    assert section.verify_tls is True
    assert section.timeout.seconds == section.fetch_timeout.seconds == 30
    assert section.health_path == "health"
    assert section.headers == {}


def test_basic_auth(file: str) -> None:
    section = reader(user="me", password=123)
    assert section.user == "me"
    assert section.password is not None
    assert section.password.get_secret_value() == "123"
    assert "123" not in repr(section)
    assert reader(user="me", password_file=file).password_file == Path(file)
    assert reader(user="me").password is None


def test_bearer_auth(file: str) -> None:
    token = reader(**{"bearer_token": "t"}).bearer_token
    assert token is not None
    assert token.get_secret_value() == "t"
    assert reader(bearer_token_file=file).bearer_token_file == Path(file)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"user": "me", "password": "x", "bearer_token": "y"},
            "reader.bearer_token: conflicts with user; use one authentication method",
        ),
        (
            {"bearer_token": "y", "bearer_token_file": "FILE"},
            "reader.bearer_token_file: conflicts with bearer_token; use one authentication method",
        ),
        (
            {"user": "me", "password": "x", "password_file": "FILE"},
            "reader.password_file: conflicts with password; use one authentication method",
        ),
        ({"password": "x"}, "reader.password: a password without user; set user too"),
        ({"password_file": "FILE"}, "reader.password_file: a password without user; set user too"),
        (
            {"user": "me", "headers": {"authorization": "x"}},
            "reader.headers: conflicts with user; use one authentication method",
        ),
        (
            {"datasource_url": "http://a:b@host", "user": "me"},
            "reader.user: conflicts with the credentials in the URL; use one authentication method",
        ),
        (
            {"tls_key_file": "FILE"},
            "reader.tls_key_file: a key without its certificate; set tls_cert_file too",
        ),
    ],
)
def test_wrong_combinations(keys: dict[str, Any], problem: str, file: str) -> None:
    assert wrong(**{key: file if value == "FILE" else value for key, value in keys.items()}) == [
        problem
    ]


def test_a_wrong_key_is_not_blamed_twice() -> None:
    found = wrong(tls_cert_file="missing.crt", tls_key_file="missing.key")
    assert [line.partition(":")[0] for line in found] == [
        "reader.tls_cert_file",
        "reader.tls_key_file",
    ]
    assert all("No such file or directory" in line for line in found)


def test_verify_tls(file: str) -> None:
    assert reader(verify_tls=False).verify_tls is False
    assert reader(verify_tls="no").verify_tls is False
    assert reader(verify_tls=file).verify_tls == Path(file)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (problem,) = wrong(bearer_token_file=str(tmp_path))
    assert "expected a file that can be read (Is a directory)" in problem


@pytest.mark.parametrize("tenant", ["0", "0:0", "4294967295:7", "multitenant", 5])
def test_tenants(tenant: str | int) -> None:
    section = reader(tenant_id=tenant)
    assert section.tenant_id == str(tenant)
    assert section.queries["cpu"].tenant_id == str(tenant)


def test_timeouts() -> None:
    section = reader(timeout="10s", fetch_timeout="3s")
    assert section.fetch_timeout.seconds == 3
    assert section.processing_timeout.seconds == 10


def test_headers() -> None:
    headers = reader(headers={"X-Scope": 7}).headers
    assert headers["X-Scope"].get_secret_value() == "7"
    assert "7" not in repr(headers)


def test_push() -> None:
    push = load(changed({"monitoring.push": {"url": "http://x", "push_frequency": ""}})).monitoring
    assert push.push is not None
    assert push.push.datasource_url == "http://x"
    assert push.push.push_frequency == 0
    assert push.push.timeout.seconds == 5
    found = problems(changed({"monitoring.push": {"datasource_url": "http://x"}}))
    assert "monitoring.push.url: required, but not set" in found


def test_http_method() -> None:
    assert reader().http_method == "POST"
    assert reader(http_method="get").http_method == "GET"
    assert wrong(http_method="PUT") == ["reader.http_method: expected one of POST, GET, got 'PUT'"]
    assert wrong(http_method=1) == ["reader.http_method: expected one of POST, GET, got 1"]


def test_proxy() -> None:
    assert reader().proxy_url is None
    assert reader(proxy_url="http://me:secret@proxy:3128/").proxy_url is not None
    for key in ("reader", "writer"):
        assert (
            getattr(load(changed({f"{key}.proxy_url": "https://p"})), key).proxy_url == "https://p"
        )
    push = {"url": "http://vm", "proxy_url": "http://p:1"}
    pushing = load(changed({"monitoring": {"push": push}})).monitoring.push
    assert pushing is not None
    assert pushing.proxy_url == "http://p:1"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("proxy:3128", "expected a URL such as"),
        ("socks5://proxy:1080", "write http:// or https:// in front"),
        ("http://me:hunter2@proxy/path", "expected the URL of a proxy such as"),
        ("http://me:hunter2@proxy?x=hunter2", "expected the URL of a proxy such as"),
    ],
)
def test_no_proxy(address: str, problem: str) -> None:
    (found,) = wrong(proxy_url=address)
    assert problem in found
    assert "hunter2" not in found


def test_the_login_of_a_proxy_is_not_written() -> None:
    config = load(changed({"reader.proxy_url": "http://me:hunter2@proxy:3128"}))
    assert "hunter2" not in resolved_yaml(config)
    assert "proxy:3128" in resolved_yaml(config)
