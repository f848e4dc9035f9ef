"""The settings that Ray reads when it is imported."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

from vmanomaly.executor import ray_connection


@pytest.fixture(autouse=True)
def _not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(ray_connection, "import_module", ModuleType)
    # Set first, so that what the code sets is undone too.
    for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_what_is_started_here_needs_a_token_and_reports_nothing() -> None:
    ray_connection.import_ray(None)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_running_cluster_decides_for_itself_whether_it_has_tokens() -> None:
    ray_connection.import_ray("10.0.0.5:6379")
    assert "RAY_AUTH_MODE" not in os.environ


def test_what_the_user_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    ray_connection.import_ray(None)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_no_token_is_asked_for_once_ray_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    ray_connection.import_ray(None)
    assert "RAY_AUTH_MODE" not in os.environ
