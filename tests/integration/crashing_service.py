"""Services that follow a history with a state, made to be killed.

Run as a program it forks one for each line of its standard input, `CONFIG NOW END`: the service of
a configuration runs from one virtual time to another, and its clock advances whenever it is idle.
What is printed, one line each: `pid N` for a new process, `tick N` when the clock has come to
a time, and `ended`. Forked from a process that has loaded everything, they begin at once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import vmanomaly.service.service
from tests.integration.nursery import fork_as_asked, say
from vmanomaly.clock import SystemClock
from vmanomaly.config import load_config
from vmanomaly.model import warm_up as warm_up_model
from vmanomaly.reader import warm_up as warm_up_reader
from vmanomaly.service import Service
from vmanomaly.service.plan import create_models
from vmanomaly.writer import warm_up as warm_up_writer

# However fast the machine, the history lasts for all kills.
PACE_S = 0.02
# And however slow, the last scores are delivered before the end.
GRACE_S = 300.0


class WorkClock(SystemClock):
    """A clock that advances to whatever is waited for, and stops the service at the end.

    Parameters
    ----------
    now, end
        Unix milliseconds.
    pace_s
        Goes on when there was nothing to do for so long.

    Attributes
    ----------
    time, end : int
        As given; the time goes on.
    stop
        Stops the service.
    """

    def __init__(self, now: int, end: int, pace_s: float = PACE_S) -> None:
        self.time = now
        self.stop: Callable[[], object]
        self.end = end
        self._pace_s = pace_s

    def now(self) -> int:
        return self.time

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        if until is None or wake_up.is_set():
            # A job is under way, or has just ended.
            wake_up.wait()
            return
        if wake_up.wait(self._pace_s):
            return
        if until > self.end:
            self.stop()
            return
        self.time = max(self.time, until)
        say(f"tick {self.time}")


def run(config: Path, now: int, end: int) -> None:
    """Run a service from one virtual time to another."""
    clock = WorkClock(now, end)
    service = Service(load_config([config], os.environ), clock)
    clock.stop = service.stop
    with patch.object(vmanomaly.service.service, "_GRACE_S", GRACE_S):
        service.run()


def main() -> None:
    """Load what the configuration of the first argument needs; fork as asked for."""
    config = load_config([Path(sys.argv[1])], os.environ)
    warm_up_reader(config.reader)
    warm_up_writer(config.writer)
    for model in create_models(config).values():
        warm_up_model(model)
    fork_as_asked(lambda words: run(Path(words[0]), int(words[1]), int(words[2])))


if __name__ == "__main__":
    main()
