"""Servers that several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.servers import VictoriaMetrics


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """An empty VictoriaMetrics of its own for each test."""
    with VictoriaMetrics(tmp_path) as server:
        yield server
