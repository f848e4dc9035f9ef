"""The command `vmanomaly` on a clock that can be set, made to be killed.

Run as a program it forks one for each line of its standard input, `CONFIG NOW END PACE STEP`: the
command runs on a configuration from one virtual time to another, waits PACE seconds where there is
nothing to do, and sets its clock by the milliseconds in the file STEP, when there is one. At the
end it is stopped; with the word `hold` after these, its clock stands still there. What is printed
is that of `tests.integration.crashing_service`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

# Loaded before the forks, as all that the command loads.
import vmanomaly.application
import vmanomaly.cli.run
import vmanomaly.service.service
from tests.integration.crashing_service import WorkClock
from tests.integration.nursery import fork_as_asked, say
from vmanomaly.cli import main as vmanomaly_command
from vmanomaly.cli.signals import exit_on_stop_signals, note_reload_signals
from vmanomaly.config import load_config
from vmanomaly.model import warm_up as warm_up_model
from vmanomaly.reader import warm_up as warm_up_reader
from vmanomaly.service.plan import create_models
from vmanomaly.writer import warm_up as warm_up_writer


class SetClock(WorkClock):
    """A clock that is set, forward or back, by what is in a file.

    Parameters
    ----------
    now, end, pace_s
        As for `WorkClock`.
    step
        The file; it is removed when the clock is set.
    holds
        Whether the clock stands still at the end, which is moved when it is set.
    """

    def __init__(self, now: int, end: int, pace_s: float, step: Path, holds: bool) -> None:
        super().__init__(now, end, pace_s)
        self._step = step
        self._holds = holds
        self._setting = threading.Lock()

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        """Return as the contract says, also when the clock was set."""
        with self._setting, suppress(FileNotFoundError):
            step = int(self._step.read_text())
            self._step.unlink()
            self.time += step
            self.end += step
            say(f"tick {self.time}")
            return
        if self._holds and until is not None and until > self.end:
            wake_up.wait(self._pace_s)
        else:
            super().wait(wake_up, until)


def run(config: str, now: int, end: int, pace_s: float, step: Path, *hold: str) -> int:
    """Run the command from one virtual time to another; return its exit status."""
    clock = SetClock(now, end, pace_s, step, bool(hold))
    clock.stop = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with patch.object(vmanomaly.service.service, "SystemClock", lambda: clock):
        return vmanomaly_command([config])


def main() -> None:
    """Load what the configuration of the first argument needs; fork as asked for."""
    # A file would be subject to the limit of the size of files, which is to hold for others only.
    log = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=sys.stderr.fileno())
    assert log.stdin is not None
    os.dup2(log.stdin.fileno(), sys.stderr.fileno())
    log.stdin.close()
    config = load_config([Path(sys.argv[1])], os.environ)
    warm_up_reader(config.reader)
    warm_up_writer(config.writer)
    for model in create_models(config).values():
        warm_up_model(model)
    # The children have it from the first moment on, as a process has it a moment later.
    exit_on_stop_signals()
    note_reload_signals()
    fork_as_asked(
        lambda words: run(
            words[0], int(words[1]), int(words[2]), float(words[3]), Path(words[4]), *words[5:]
        )
    )


if __name__ == "__main__":
    main()
