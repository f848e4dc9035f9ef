"""The demo's folder: what it writes there, and what it must leave alone."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from vmanomaly.errors import UsageError

CONFIG = "config.yaml"
TELEMETRY = "telemetry.duckdb"
SCORES = "scores.duckdb"
REPORT = "report.html"
_MARKER = ".vmanomaly-demo"


def prepare(directory: Path) -> bool:
    """Make the folder ready, with a config file in it.

    A marker in the folder says that a demo made it, and holds the checksum of the config file it
    wrote. Data and report of an earlier demo may be replaced; a config file that was edited since
    is kept.

    Parameters
    ----------
    directory
        Made when it does not exist.

    Returns
    -------
    bool
        Whether an edited config file was kept.

    Raises
    ------
    UsageError
        When the folder cannot be written to, or holds files of these names that no demo wrote.
    """
    marker, config = directory / _MARKER, directory / CONFIG
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            _refuse_foreign_files(directory)
        elif config.exists() and _checksum(config.read_bytes()) != marker.read_text().strip():
            return True
        content = files("vmanomaly.demo").joinpath(CONFIG).read_bytes()
        config.write_bytes(content)
        marker.write_text(_checksum(content) + "\n")
    except OSError as error:
        raise UsageError(
            f"The demo cannot write into '{directory}': {error.strerror}; choose another folder"
        ) from error
    return False


def _refuse_foreign_files(directory: Path) -> None:
    foreign = [name for name in (CONFIG, TELEMETRY, SCORES, REPORT) if (directory / name).exists()]
    if foreign:
        raise UsageError(
            f"'{directory}' holds files that no demo wrote ({', '.join(foreign)}); "
            "choose another folder"
        )


def _checksum(content: bytes) -> str:
    return sha256(content).hexdigest()
