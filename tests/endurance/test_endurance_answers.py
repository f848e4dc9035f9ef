"""The search for differences finds none in the scanner, and those that are put into it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.endurance import answers
from benchmarks.endurance.answer_cases import GRID, STEP, Case, answer, cases
from benchmarks.endurance.answers import DifferenceFound, Done, check, check_chunk
from benchmarks.endurance.oracle import RefusedError, read
from tests.reader.scanning import Answer, scan
from vmanomaly.errors import DatasourceError
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.scanner import warm_up
from vmanomaly.series import Labels, SeriesBatch

PLAIN = Case(
    b'{"status":"success","data":{"resultType":"matrix","result":['
    b'{"metric":{"a":"b"},"values":[[%d,"1.5"],[1,"2"]]}]}}' % (GRID[0] // 1000),
    (70,),
)
BROKEN = Case(PLAIN.body[:-1], ())


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    warm_up()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(2))
def test_no_difference_in_thousands_of_answers(chunk: int) -> None:
    counts = check_chunk(seed=0, chunk=chunk, n_cases=5_000)
    assert sum(counts.values()) == 5_000
    assert min(counts["read"], counts["refused"]) > 1_000


def nudged(read: Answer) -> Answer:
    values = read.batch.values.copy()
    values[0, 0] = np.nextafter(values[0, 0], 2)
    return of(read, read.batch.labels, values)


def of(read: Answer, labels: tuple[Labels, ...], values: Any) -> Answer:
    return dataclasses.replace(read, batch=SeriesBatch(labels, read.batch.timestamps, values))


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (nudged, "other values"),
        (lambda read: of(read, (Labels({"a": "c"}),), read.batch.values), "other label sets"),
        (lambda read: dataclasses.replace(read, n_off_grid=0), "other counts"),
        (lambda read: dataclasses.replace(read, is_partial=True), "other isPartial"),
    ],
)
def test_what_is_read_wrongly_is_found(
    monkeypatch: pytest.MonkeyPatch, harm: Callable[[Answer], Answer], what: str
) -> None:
    assert check(PLAIN, LabelCache()) == "read"
    monkeypatch.setattr(answers, "scan", lambda *arguments: harm(scan(*arguments)))
    with pytest.raises(DifferenceFound, match=what):
        check(PLAIN, LabelCache())


@pytest.mark.parametrize(
    ("case", "error", "what"),
    [
        (PLAIN, DatasourceError("no", "io_error"), "but it can be read"),
        (BROKEN, None, "it is to be refused"),
        (BROKEN, IndexError("beyond"), "raised IndexError"),
    ],
)
def test_what_is_judged_wrongly_is_found(
    monkeypatch: pytest.MonkeyPatch, case: Case, error: Exception | None, what: str
) -> None:
    assert check(BROKEN, LabelCache()) == "refused"
    right = scan(PLAIN.body, GRID, STEP)

    def misjudge(*_: object) -> Answer:
        if error is not None:
            raise error
        return right

    monkeypatch.setattr(answers, "scan", misjudge)
    with pytest.raises(DifferenceFound, match=what):
        check(case, LabelCache())


def test_a_difference_is_told_with_what_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(answers, "scan", fail)
    with pytest.raises(DifferenceFound, match=r"case 0 of --seed 3 --chunk 4$"):
        check_chunk(seed=3, chunk=4, n_cases=10)


@pytest.mark.parametrize("seed", range(3))
def test_cases_are_those_of_their_seed(seed: int) -> None:
    first, second = (list(cases(random.Random(seed), 200)) for _ in range(2))  # noqa: S311
    assert first == second
    assert len(set(first)) > 150
    assert all(sum(case.sizes) <= len(case.body) for case in first)


def test_most_answers_that_are_not_damaged_can_be_read() -> None:
    chance = random.Random(1)  # noqa: S311
    n_read = 0
    for _ in range(300):
        try:
            n_read += bool(read(answer(chance), GRID).labels)
        except RefusedError:
            continue
    assert n_read > 150


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "done"
    whole = {"read": answers.CASES_PER_CHUNK - 5, "refused": 5}
    Done(path, seed=1).note(7, whole)
    Done(path, seed=1).note(8, {"read": 5})
    Done(path, seed=2).note(9, whole)
    assert Done(path, seed=1).counts == {7: whole}
    assert Done(None, seed=1).counts == {}
