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

from tests.integration.ray_nodes import Head, missing, started_nodes
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
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory() as folder:
        gaps = run(Path(folder), options.kills, options.replication, random.Random(options.seed))
    print(f"missing after {options.kills} kills: {gaps or 'nothing'}")
    return 1 if gaps else 0


def run(
    folder: Path, n_kills: int, replication: int, chance: random.Random
) -> dict[str, list[int]]:
    """Kill nodes, print figures, and return the seconds without a score, by query."""
    with VictoriaMetrics(folder, *FLAGS, "-dedup.minScrapeInterval=1ms") as vm:
        with started_nodes(detection={}) as nodes:
            fill(vm)
            content = config(vm, {})
            content["server"]["port"] = free_port()
            arguments = ("--members", "3", "--replication", str(replication))
            head = Head(folder, content, *arguments, "--address", nodes.address)
            began = time.monotonic()
            with head:
                head.wait_until_ready()
                print(f"ready after {time.monotonic() - began:.1f} s")
                megabytes = [float(each) / 2**20 for each in _MEMORY.findall(head.metrics())]
                print("MiB of each member:", ", ".join(f"{each:.0f}" for each in megabytes))
                times = []
                for _ in range(n_kills):
                    time.sleep(chance.uniform(0, _BETWEEN_S))
                    there = {member["node"] for member in head.health()["members"]}
                    killable = sorted(filter(nodes.can_be_killed, there))
                    if not killable:
                        print("all members are on the node that Ray itself needs")
                        break
                    killed, at = time.monotonic(), now_read()
                    nodes.kill(chance.choice(killable))
                    nodes.add()
                    wait_for_scores(vm, at + 2)
                    times.append(time.monotonic() - killed)
                    print(f"scores of all again after {times[-1]:.1f} s")
                    head.wait_until(lambda: head.health()["status"] == "ok", "health", 120)
                print(f"median {statistics.median(times):.1f} s, longest {max(times):.1f} s")
            return missing(scores(vm))


if __name__ == "__main__":
    sys.exit(main())
