"""Kill one node of a Ray cluster after another under `vmanomaly cluster`; no score may be missing.

    python -m benchmarks.endurance.node_kills --kills 20 --replication 1

The death of a node is noticed as Ray does it by default, so that the times are those that users
see.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.ray_nodes import Head, Nodes, missing, started_nodes
from tests.integration.servers import VictoriaMetrics, free_port
from tests.integration.test_integration_members import (
    FLAGS,
    config,
    fill,
    now_read,
    scores,
    wait_for_scores,
)

_BETWEEN_S = 8.0
_MEMORY = re.compile(r'process_resident_memory_bytes\{member="\d+"\} (\S+)')


def main() -> int:
    """Run the command line; return 1 if a score is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--replication", type=int, default=1)
    parser.add_argument("--restore-state", action="store_true", help="from a folder all share")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory() as folder:
        if options.restore_state:
            os.environ["VMANOMALY_MODEL_DUMPS_DIR"] = str(Path(folder, "states"))
        gaps = run(Path(folder), options)
    print(f"missing after {options.kills} kills: {gaps or 'nothing'}")
    return 1 if gaps else 0


def run(folder: Path, options: argparse.Namespace) -> dict[str, list[int]]:
    """Kill nodes, print figures, and return the seconds without a score, by query."""
    chance = random.Random(options.seed)  # noqa: S311 - no secret
    # As replicas ask for it.
    database = VictoriaMetrics(folder, *FLAGS, "-dedup.minScrapeInterval=1ms")
    with database as vm, started_nodes(detection={}) as nodes:
        fill(vm)
        content = config(vm, {})
        content["server"]["port"] = free_port()
        content["settings"] = {"restore_state": options.restore_state}
        arguments = ["--members", "3", "--replication", str(options.replication)]
        head = Head(folder, content, *arguments, "--address", nodes.address)
        began = time.monotonic()
        with head:
            head.wait_until_ready()
            print(f"ready after {time.monotonic() - began:.1f} s")
            mebibytes = [float(each) / 2**20 for each in _MEMORY.findall(head.metrics())]
            print("MiB of each member:", ", ".join(f"{each:.0f}" for each in mebibytes))
            times = []
            for _ in range(options.kills):
                time.sleep(chance.uniform(0, _BETWEEN_S))
                times.append(kill_one(vm, nodes, head, chance))
                print(f"scores of all again after {times[-1]:.1f} s")
            print(f"median {statistics.median(times):.1f} s, longest {max(times):.1f} s")
        return missing(scores(vm))


def kill_one(vm: VictoriaMetrics, nodes: Nodes, head: Head, chance: random.Random) -> float:
    """Kill a node with a member on it, add another node, and return how long scores took, s."""
    used = {member["node"] for member in head.health()["members"]}
    killable = sorted(filter(nodes.can_be_killed, used))
    began, at = time.monotonic(), now_read()
    nodes.kill(chance.choice(killable))
    nodes.add()
    wait_for_scores(vm, at + 2)
    took = time.monotonic() - began
    head.wait_until_healthy()
    return took


if __name__ == "__main__":
    sys.exit(main())
