"""Kill nodes of a Ray cluster, and workers, while they execute work; no result may be missing.

    python -m benchmarks.endurance.executor_kills --kills 20

Each kill hits a node that executes pieces of work, which are executed again elsewhere; some pieces
also kill their worker, always, and only these may be lost. The death of a node is noticed as Ray
does it by default.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from typing import Any

import ray

from tests.integration.ray_nodes import N_NODES, started_nodes
from vmanomaly.context import RunContext
from vmanomaly.errors import WorkerDiedError
from vmanomaly.executor import Executor

_PIECE_S = 1.0
_PIECES = 60
_BETWEEN_S = 20.0
_DEADLY = 17


def work(number: int) -> tuple[int, str]:
    """Take a moment; one piece of a call kills its worker instead."""
    if number == _DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(_PIECE_S)
    return number, ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]


def main() -> int:
    """Run the command line; return 1 if a result is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - no secret
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with started_nodes(detection={}) as nodes:
        calls = Calls(nodes.address)
        calls.start()
        for _ in range(options.kills):
            time.sleep(_BETWEEN_S * chance.uniform(0.75, 1.25))
            killed = chance.choice(nodes.others)
            print(f"killing {killed}, with {calls.n_on(killed)} results so far", flush=True)
            nodes.kill(killed)
            nodes.add()
        calls.is_last.set()
        calls.join()
        ray.shutdown()
    took = calls.took_s
    print(
        f"{len(took)} calls of {_PIECES} pieces of {_PIECE_S:g} s with {N_NODES} workers took "
        f"{min(took):.0f} to {max(took):.0f} s, {statistics.median(took):.0f} s mostly; "
        f"{options.kills} nodes were killed; {len(calls.missing)} results are missing"
    )
    for number, result in calls.missing:
        print(f"{number}: {result!r}")
    return 1 if calls.missing else 0


class Calls(threading.Thread):
    """Uses the executor again and again, until `is_last` is set."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._executor = Executor("ray", N_NODES, address)
        self.is_last = threading.Event()
        self.took_s: list[float] = []
        self.missing: list[tuple[int, Any]] = []
        self._nodes: Counter[str] = Counter()

    def run(self) -> None:
        """Compare all results with those expected."""
        while not self.is_last.is_set():
            started = time.monotonic()
            pieces = [(number,) for number in range(_PIECES)]
            found = self._executor.map(work, pieces, RunContext(), on_result=self._note)
            self.took_s.append(time.monotonic() - started)
            for number, result in enumerate(found):
                is_dead = isinstance(result, WorkerDiedError)
                is_right = isinstance(result, tuple) and result[0] == number
                if is_dead != (number == _DEADLY) or not (is_dead or is_right):
                    self.missing.append((number, result))

    def n_on(self, address: str) -> int:
        """Return how many results a node has given."""
        return self._nodes[address]

    def _note(self, _: int, result: Any) -> None:
        if isinstance(result, tuple):
            self._nodes[result[1]] += 1


if __name__ == "__main__":
    sys.exit(main())
