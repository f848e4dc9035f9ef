"""Runs every model through the command line, and keeps what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import yaml

import vmanomaly
from benchmarks.regression.data import write_nab, write_skab
from benchmarks.regression.models import sections

_HERE = Path(__file__).parent
_SOURCE = Path(vmanomaly.__file__).parents[1]
_LOG_LINES = 20
RUNS = ("nab", "skab")
_KEEP = """
COPY (
    SELECT model_alias AS model, metric AS output, CAST(labels AS VARCHAR) AS series,
        list(epoch_us(timestamp) ORDER BY timestamp, value) AS timestamps,
        list(value ORDER BY timestamp, value) AS values
    FROM scores
    GROUP BY ALL
    ORDER BY ALL
) TO $into
"""


def record(folder: Path, nab: Path, skab: Path) -> None:
    """Write what every model says of NAB and SKAB to `nab.parquet` and `skab.parquet`.

    A row is a series: `model` and `output`, the labels of the `series` as JSON, and its
    `timestamps` (Unix microseconds, ascending) and `values`.

    Parameters
    ----------
    folder
        Made if need be.
    nab, skab
        Where the data sets are.
    """
    for path in (nab / "data", skab / "valve1"):
        if not path.is_dir():
            raise SystemExit(f"There is no {path}; set NAB and SKAB, or --nab and --skab")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Running {_SOURCE / 'vmanomaly'}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_nab(nab, work / "nab.parquet")
        write_skab(skab, work / "skab.parquet")
        for run in RUNS:
            _run(run, work)
            keep(work / f"{run}.duckdb", folder / f"{run}.parquet")


def _run(run: str, work: Path) -> None:
    config = yaml.safe_load((_HERE / f"{run}.yaml").read_text(encoding="utf-8"))
    models = sections(config["reader"]["queries"], config["schedulers"], run == "skab")
    print(f"{run}: {len(models)} models", flush=True)
    (work / f"{run}.yaml").write_text(yaml.safe_dump(config | {"models": models}), encoding="utf-8")
    log = work / f"{run}.log"
    with log.open("w", encoding="utf-8") as file:
        ended = subprocess.run(
            [sys.executable, "-m", "vmanomaly", f"{run}.yaml"],
            cwd=work,
            env=_environment(work),
            stdout=file,
            stderr=file,
            check=False,
        )
    if ended.returncode:
        lines = log.read_text(encoding="utf-8").splitlines()
        problems = [line for line in lines if " INFO " not in line][:_LOG_LINES]
        raise SystemExit("\n".join([f"The run of {run}.yaml failed:", *problems]))


def _environment(work: Path) -> dict[str, str]:
    """Return the environment of a run: no stored state, and no machine code of earlier runs.

    Machine code on disk may be that of an older kernel: it is not renewed when only another kernel
    that is called has changed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VMANOMALY_")}
    return kept | {
        "PYTHONPATH": str(_SOURCE),
        "NUMBA_CACHE_DIR": str(work / "compiled"),
        "VMANOMALY_CUSTOM_MODELS_DIR": str(_HERE / "custom_models"),
    }


def keep(scores: Path, into: Path) -> None:
    """Write the table `scores` of a DuckDB file as a record, a Parquet file."""
    with duckdb.connect(str(scores), read_only=True) as connection:
        connection.execute(_KEEP, {"into": str(into)})
