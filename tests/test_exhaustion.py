"""Limits of the process: each is named, with its remedy, and without a trace."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from vmanomaly import exhaustion, logs
from vmanomaly.failures import reason_of
from vmanomaly.state.errors import StateError

NUMPY_CANNOT_BE_LOADED = ImportError("numpy: libx.so: failed to map segment from shared object")


def with_cause(error: Exception) -> Exception:
    wrapped = OSError("Could not find/load shared object file")
    wrapped.__context__ = error
    return wrapped


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (MemoryError(), "ulimit -v"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "ulimit -v"),
        (NUMPY_CANNOT_BE_LOADED, "ulimit -v"),
        (with_cause(NUMPY_CANNOT_BE_LOADED), "ulimit -v"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), "ulimit -f"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n"),
    ],
)
def test_the_limit_is_named(error: Exception, limit: str) -> None:
    remedy = exhaustion.exhausted(error)
    assert remedy is not None
    assert limit in remedy
    assert reason_of(error) == remedy


@pytest.mark.parametrize(
    "error",
    [
        None,
        RuntimeError("of a model"),
        OSError(errno.ENOENT, "No such file"),
        OSError("without a number"),
        ImportError("No module named 'x'"),
    ],
)
def test_other_errors_keep_their_trace(error: BaseException | None) -> None:
    assert exhaustion.exhausted(error) is None


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert exhaustion.exhausted(first) is None


def test_a_state_that_is_too_long_names_the_limit() -> None:
    error = StateError.of(OSError(errno.EFBIG, os.strerror(errno.EFBIG)))
    assert "ulimit -f" in str(error)
    assert error.reason == "io_error"


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, hook, level = root.handlers[:], threading.excepthook, root.level
    yield
    root.handlers[:], threading.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_logging_as_it_was")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_trace_is_logged(log_format: logs.LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging("INFO", log_format)
    logger = logging.getLogger("vmanomaly.x")
    logger.error("Model %s failed", "m", exc_info=MemoryError())
    logger.error("Another", exc_info=ValueError("bug"))
    first, *others = capsys.readouterr().err.splitlines()
    assert "Model m failed: out of memory; raise the limit (ulimit -v" in first
    if log_format == "json":
        assert "trace" not in json.loads(first)
        assert "ValueError: bug" in json.loads(others[0])["trace"]
    else:
        assert others[-1] == "ValueError: bug"


@pytest.mark.usefixtures("_logging_as_it_was")
def test_a_thread_that_runs_out_of_memory(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging("INFO")

    def work() -> None:
        raise MemoryError

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("The thread 'worker' ended with an error: " + exhaustion._MEMORY)


CONFIG = {
    "reader": {
        "datasource_url": "http://localhost:1",
        "sampling_period": "1m",
        "queries": {"q": {"expr": "up"}},
    },
    "models": {"m": {"class": "zscore_online"}},
    "schedulers": {"s": {"fit_window": "1h", "infer_every": "1m"}},
    "writer": {"datasource_url": "http://localhost:1"},
    "server": {"port": 0},
}


def run_limited(folder: Path, limit: Callable[[], None], *options: str) -> tuple[int, str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    done = subprocess.run(
        [sys.executable, "-m", "vmanomaly", str(path), *options],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mib", [60, 200, 300])
def test_a_start_without_memory_is_one_line(tmp_path: Path, mib: int) -> None:
    limit = mib << 20
    status, errors = run_limited(
        tmp_path, lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)), "--dryRun"
    )
    assert status == 1
    assert "Traceback" not in errors
    assert "ulimit -v" in errors.splitlines()[-1]


@pytest.mark.slow
def test_a_file_that_may_not_be_longer(tmp_path: Path) -> None:
    status, errors = run_limited(
        tmp_path,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        "--dryRun",
        f"--outputSpec={tmp_path / 'spec.yaml'}",
    )
    assert status == 1
    assert "Traceback" not in errors
    assert "spec.yaml: a file is as large as allowed" in errors.splitlines()[-1]
    assert "ulimit -f" in errors
