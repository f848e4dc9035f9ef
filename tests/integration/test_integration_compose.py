"""The files of the Compose example, checked by the programs that read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.servers import Process

FILES = Path(__file__).parents[2] / "examples/compose"


@pytest.mark.parametrize(
    "command",
    [
        ["vmalert", "-dryRun", f"-rule={FILES / 'anomalies.yml'}"],
        ["vmagent", "-dryRun", f"-promscrape.config={FILES / 'scrape.yaml'}"],
    ],
    ids=lambda command: command[0],
)
def test_a_file_is_valid(command: list[str], tmp_path: Path) -> None:
    with Process(command, tmp_path / "log") as program:
        assert program.wait() == 0, program.output
