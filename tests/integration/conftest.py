"""Servers that several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import disturbed
from tests.integration.servers import VictoriaMetrics
from tests.integration.tls import Certificates


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """An empty VictoriaMetrics of its own for each test."""
    with VictoriaMetrics(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    """What the runs of `disturbed` read."""
    with VictoriaMetrics(tmp_path_factory.mktemp("source")) as server:
        disturbed.fill(server)
        yield server


@pytest.fixture(scope="session")
def undisturbed(
    source: VictoriaMetrics, tmp_path_factory: pytest.TempPathFactory
) -> disturbed.Arrived:
    """What such a run writes when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with VictoriaMetrics(folder) as target:
        assert disturbed.run(source, folder, {"datasource_url": target.url}, {}) == disturbed.Run(0)
        arrived = disturbed.Arrived.at(target)
    assert arrived.n_points == disturbed.N_POINTS
    assert arrived.n_duplicates == 0
    return arrived


@pytest.fixture
def trial(
    source: VictoriaMetrics,
    undisturbed: disturbed.Arrived,
    vm: VictoriaMetrics,
    tmp_path: Path,
) -> disturbed.Trial:
    """A run that is going to be disturbed, and the empty database that it is to reach."""
    return disturbed.Trial(source, undisturbed, vm, tmp_path)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Certificates(folder)
