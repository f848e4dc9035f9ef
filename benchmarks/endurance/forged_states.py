"""Starts with states that are damaged, or forged with a right checksum; from a seed.

Every case damages or forges one thing that is stored of one model, or a row, the schema or bytes of
the index, and does what a start does with it: it is read and restored, and new points are scored.
Cases run in a process of their own, so that a crash in native code, an endless loop and a
memory bomb are seen and attributed to their case. What is a failure:

- the process dies, or needs more than 60 s or 4 GiB for a case,
- anything is raised, but a `StateError` or a `ValueError` that says why a state is refused,
- damage without a right checksum is not refused,
- a score or a bound is infinite, or negative, or not in its order,
- a series of which the same is stored as before has other scores than before.

Run it with `python -m benchmarks.endurance.forged_states --cases 100000`; `--first N --cases 1`
repeats the case N. With `NUMBA_BOUNDSCHECK=1` and a new folder as `XDG_CACHE_HOME`, kernels check
every index.
"""

from __future__ import annotations

import argparse
import logging
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.endurance.state_cases import OTHER, REFUSED, SAME, case_of, run_case

_LONGEST_CASE_S = 60.0
_LONGEST_START_S = 900.0
_MOST_BYTES = 4 << 30
_OUTCOMES = (REFUSED, SAME, OTHER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="what a process of cases writes; internal")
    arguments = parser.parse_args()
    first, stop = arguments.first, arguments.first + arguments.cases
    if arguments.log is not None:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        logging.disable(logging.CRITICAL)
        with arguments.log.open("w", buffering=1) as log, tempfile.TemporaryDirectory() as folder:
            for line in run_cases(first, stop, arguments.seed, Path(folder)):
                print(line, file=log)
        return
    counts: Counter[tuple[str, str, str]] = Counter()
    failures: list[str] = []
    while first < stop:
        first = _run_process(first, stop, arguments.seed, counts, failures)
    _report(counts, failures)
    sys.exit(1 if failures else 0)


def run_cases(first: int, stop: int, seed: int, folder: Path) -> Iterator[str]:
    """Yield one line per case: its number, subject, attack and what came of it."""
    for number in range(first, stop):
        rng = np.random.default_rng([seed, number])
        case = case_of(rng)
        try:
            outcome = run_case(case, rng, folder)
        except BaseException as error:  # noqa: BLE001 - reported
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            outcome = f"FAILURE {type(error).__name__}: {error!s:.200} ({where})".replace("\n", " ")
        yield f"{number}\t{case.subject}\t{case.attack}\t{outcome}"


def _run_process(
    first: int, stop: int, seed: int, counts: Counter[tuple[str, str, str]], failures: list[str]
) -> int:
    """Run cases until all are done or one ends the process; return the next one's number."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", __spec__.name, f"--log={log}", f"--seed={seed}"]
        process = subprocess.Popen([*command, f"--first={first}", f"--cases={stop - first}"])
        ended = _wait(process, log)
        lines = log.read_text().splitlines() if log.exists() else []
    for line in lines:
        _number, subject, attack, outcome = line.split("\t")
        if outcome not in _OUTCOMES:
            failures.append(line)
            outcome = "failure"
        counts[subject, attack.partition(" (")[0], outcome] += 1
    done = first + len(lines)
    if ended != 0 or done < stop:
        case = case_of(np.random.default_rng([seed, done]))
        failures.append(f"{done}\t{case.subject}\t{case.attack}\tthe process ended with {ended}")
        counts[case.subject, case.attack.partition(" (")[0], "failure"] += 1
        done += 1
    return done


def _wait(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait for a process, and end it when a case takes too long."""
    size, changed = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now_size = log.stat().st_size if log.exists() else 0
        if now_size != size:
            size, changed = now_size, time.monotonic()
        if time.monotonic() - changed > (_LONGEST_CASE_S if size > 0 else _LONGEST_START_S):
            process.kill()
    return process.wait()


def _report(counts: Counter[tuple[str, str, str]], failures: list[str]) -> None:
    attacks = sorted({(subject == "index", attack) for subject, attack, _ in counts})
    print(f"| {'attack':45} | cases | {' | '.join(_OUTCOMES)} | failures |")
    for is_index, attack in attacks:
        of_attack = {
            outcome: sum(
                n
                for (subject, name, found), n in counts.items()
                if (subject == "index", name, found) == (is_index, attack, outcome)
            )
            for outcome in (*_OUTCOMES, "failure")
        }
        name = f"{'index: ' if is_index else ''}{attack}"
        cells = " | ".join(f"{n:,}" for n in of_attack.values())
        print(f"| {name:45} | {sum(of_attack.values()):,} | {cells} |")
    print(f"{counts.total():,} cases, {len(failures)} failures")
    for failure in failures[:50]:
        print(failure)


if __name__ == "__main__":
    main()
