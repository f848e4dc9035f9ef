"""A short form of `benchmarks.endurance.forged_states`, whose long one is run by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_state_that_is_damaged_or_forged_does_any_harm() -> None:
    command = [sys.executable, "-m", "benchmarks.endurance.forged_states", "--cases=1000"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1200, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,000 cases, 0 failures" in done.stdout
    rows = {
        cells[0]: [int(cell) for cell in cells[1:]]
        for line in done.stdout.splitlines()
        if line.startswith("| ") and "attack" not in line
        for cells in [[cell.strip() for cell in line.strip("| ").split("|")]]
    }
    # Otherwise nothing was attacked: most forgeries are refused, and some are states.
    n_cases, n_refused, n_same, n_other, _ = rows["forged elements, right checksum"]
    assert n_refused > n_cases / 3
    assert n_same > 0
    assert n_other > 0
    for name in ("damaged arrays", "damaged members"):
        assert rows[name][0] == rows[name][1] > 0
    assert re.search("index: forged schema", done.stdout)
