"""Answers of any form, each read by the scanner in pieces and by the standard library as a whole.

Both must agree: the same series with the same values to the bit, or a refusal. Cases come in
chunks, each with a seed of its own, which several processes share; with `--resume FILE` a run that
was stopped goes on where it was.

    python -m benchmarks.endurance.answers --cases 10000000 --seed 1

The exit status is 1 at the first difference, which is told with the chunk that repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.endurance.answer_cases import GRID, STEP, Case, cases, large_case
from benchmarks.endurance.oracle import Reading, RefusedError, read
from benchmarks.endurance.progress import progress
from tests.reader.scanning import Answer, scan
from vmanomaly.errors import DatasourceError
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.scanner import warm_up
from vmanomaly.series import FloatArray

CASES_PER_CHUNK = 10_000


class DifferenceFound(Exception):  # noqa: N818 - it is what is looked for
    """The scanner and the standard library do not agree."""


class Done:
    """The chunks of a seed that are done, noted in a file, if there is one.

    Parameters
    ----------
    path
        The file, which a former run may have begun; None for none.
    seed
        What is noted for another seed is left alone.

    Attributes
    ----------
    counts : dict of int to dict of str to int
        What came of the cases of each chunk.
    """

    def __init__(self, path: Path | None, seed: int) -> None:
        self.counts: dict[int, dict[str, int]] = {}
        self._path = path
        self._seed = seed
        if path is not None and path.exists():
            for entry in map(json.loads, path.read_text().splitlines()):
                if entry["seed"] == seed and entry["cases"] == CASES_PER_CHUNK:
                    self.counts[entry["chunk"]] = entry["counts"]

    def note(self, chunk: int, counts: dict[str, int]) -> None:
        """Note that a chunk is done."""
        if self._path is not None:
            entry = {"seed": self._seed, "chunk": chunk, "counts": counts}
            with self._path.open("a") as file:
                file.write(json.dumps({**entry, "cases": sum(counts.values())}) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--resume", type=Path, help="notes the chunks that are done; kept")
    parser.add_argument("--chunk", type=int, help="only this one, in this process")
    options = parser.parse_args()
    # The processes that share the work are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = time.monotonic()
    try:
        if options.chunk is not None:
            warm_up()
            counts = Counter(check_chunk(options.seed, options.chunk, CASES_PER_CHUNK))
        else:
            done = Done(options.resume, options.seed)
            counts = _check_chunks(options.seed, options.cases, options.processes, done)
    except DifferenceFound as difference:
        print(f"answers: DIFFERENCE: {difference}")
        return 1
    took = time.monotonic() - started
    print(
        f"answers: no difference in {counts.total():,} ({counts['read']:,} read, "
        f"{counts['refused']:,} refused, {counts['ambiguous']:,} ambiguous and refused) "
        f"in {took:,.0f} s; --seed {options.seed}"
    )
    return 0


def check_chunk(seed: int, chunk: int, n_cases: int) -> dict[str, int]:
    """Check the cases of a chunk; return how many were read and how many refused.

    Raises
    ------
    DifferenceFound
        At the first that is read differently.
    """
    chance = random.Random(f"{seed} {chunk}")  # noqa: S311 - reproducible
    counts: Counter[str] = Counter()
    # As for a query that is asked again and again.
    cache = LabelCache()
    for number, case in enumerate(cases(chance, n_cases - 1)):
        try:
            counts[check(case, cache)] += 1
        except DifferenceFound as difference:
            raise DifferenceFound(
                f"{difference}; case {number} of --seed {seed} --chunk {chunk}"
            ) from None
    try:
        counts[check(large_case(chance), cache)] += 1
    except DifferenceFound as difference:
        raise DifferenceFound(
            f"the large case of --seed {seed} --chunk {chunk}: {difference!s:.500}"
        ) from None
    return counts


def check(case: Case, cache: LabelCache) -> str:
    """Read an answer both ways; return what came of it.

    Raises
    ------
    DifferenceFound
        They do not agree.
    """
    expected: Reading | None
    try:
        expected = read(case.body, GRID)
    except RefusedError:
        expected = None
    try:
        answer = scan(case.body, GRID, STEP, cache, *case.sizes)
    except DatasourceError as error:
        if expected is None:
            return "refused"
        if expected.is_ambiguous:
            return "ambiguous"
        raise DifferenceFound(f"refused ({error}), but it can be read: {_shown(case)}") from None
    except Exception as error:
        raise DifferenceFound(f"raised {error!r}: {_shown(case)}") from error
    if expected is None:
        raise DifferenceFound(f"read, but it is to be refused: {_shown(case)}")
    if what := _differing(answer, expected):
        raise DifferenceFound(f"other {what} than the standard library: {_shown(case)}")
    return "read"


def _differing(answer: Answer, expected: Reading) -> str:
    """Return what is not the same, nothing where all is."""
    if expected.names_vary:
        return ""
    if list(answer.batch.labels) != expected.labels:
        return "label sets"
    if _bits(answer.batch.values) != _bits(expected.values):
        return "values"
    if (answer.n_samples, answer.n_off_grid) != (expected.n_samples, expected.n_off_grid):
        return "counts"
    if expected.is_partial is not None and answer.is_partial != expected.is_partial:
        return "isPartial"
    return ""


def _bits(values: FloatArray) -> bytes:
    """Return the values to the bit, but for the sign of NaN, which says nothing."""
    return np.where(np.isnan(values), np.nan, values).tobytes()


def _shown(case: Case) -> str:
    return f"{case.body!r} in pieces of {case.sizes}"


def _check_chunks(seed: int, n_cases: int, n_processes: int, done: Done) -> Counter[str]:
    """Check the chunks that are not done, in so many processes; return the counts of all."""
    n_chunks = -(-n_cases // CASES_PER_CHUNK)
    counts = Counter[str]()
    for chunk, of_chunk in done.counts.items():
        if chunk < n_chunks:
            counts.update(of_chunk)
    left = iter([chunk for chunk in range(n_chunks) if chunk not in done.counts])
    pool = ProcessPoolExecutor(n_processes, get_context("spawn"), warm_up)
    under_way: dict[Future[dict[str, int]], int] = {}
    with progress(f"{n_cases:,} answers, seed {seed}") as show, pool:
        try:
            while True:
                # One more than there are processes, so that none has to wait for the next.
                for chunk in islice(left, n_processes + 1 - len(under_way)):
                    size = min(CASES_PER_CHUNK, n_cases - chunk * CASES_PER_CHUNK)
                    under_way[pool.submit(check_chunk, seed, chunk, size)] = chunk
                if not under_way:
                    return counts
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    chunk = under_way[future]
                    counts.update(future.result())
                    done.note(chunk, future.result())
                    del under_way[future]
                show(counts.total(), n_cases, f"answers; {counts['read']:,} read")
        except BrokenProcessPool:
            chunks = ", ".join(map(str, sorted(under_way.values())))
            raise DifferenceFound(
                f"a process has crashed; --seed {seed}, --chunk one of {chunks}"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main())
