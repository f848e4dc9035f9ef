"""The command as a process: signals that come early, and outputs that take nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes import eventually

pytestmark = pytest.mark.slow

CONFIG = {
    "reader": {
        "class": "duckdb",
        "path": ":memory:",
        "sampling_period": "1m",
        "queries": {"q": {"expr": "SELECT now() AS timestamp, 1 AS value"}},
    },
    "models": {"m": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
    "schedulers": {"s": {"fit_window": "1h", "infer_every": "1m"}},
    "writer": {"class": "duckdb", "path": "scores.duckdb"},
    "server": {"port": 0},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vmanomaly", *map(str, arguments)]


def catches(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert found is not None
    return bool(int(found[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_process_starts_ends_it_well(
    config: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        command(config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=config.parent
    ) as process:
        # SIGTERM has a handler before anything is loaded; Python has one of its own for SIGINT.
        assert eventually(lambda: catches(process, signal.SIGTERM))
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, b"", b"")


def test_a_reload_that_is_asked_for_while_the_process_starts_is_made_up(
    config: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command(config), stderr=errors, cwd=config.parent) as process,
    ):
        assert eventually(lambda: catches(process, signal.SIGHUP))
        process.send_signal(signal.SIGHUP)
        try:
            assert eventually(lambda: "nothing to apply" in log.read_text())
        finally:
            process.terminate()
            process.wait(60)
    assert process.returncode == 0
    # Noted before the configuration was loaded, and done once there was something to reload.
    told = log.read_text()
    assert told.index("Config has been loaded successfully") < told.index("nothing to apply")


def test_a_reader_of_the_output_that_has_seen_enough_is_no_error(config: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command(config, "--dryRun"), stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_an_output_on_a_full_disk_is_one_line(config: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(config, "--dryRun"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        b"vmanomaly: cannot write the output: No space left on device"
    )


@pytest.mark.parametrize("option", ["-h", "--version"])
def test_help_on_a_full_disk_is_one_line(option: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(option), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"vmanomaly: cannot write the output: No space left on device\n"


def test_a_configuration_may_come_through_a_pipe(config: Path) -> None:
    content = config.read_bytes()
    done = subprocess.run(
        command("/dev/stdin", "--dryRun"), input=content, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"model m (zscore_online) on q under s" in done.stdout


def test_a_device_that_never_ends_is_refused() -> None:
    done = subprocess.run(
        command("/dev/zero", "--dryRun"), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert b"/dev/zero: larger than 8 MiB" in done.stderr


def test_a_pipe_in_a_folder_of_configurations_is_not_waited_for(config: Path) -> None:
    os.mkfifo(config.parent / "z.yaml")
    (config.parent / "zero.yaml").symlink_to("/dev/zero")
    done = subprocess.run(
        command(config.parent, "--dryRun"), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
