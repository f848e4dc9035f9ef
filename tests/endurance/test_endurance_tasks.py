"""A few tasks run as a thousand would, and what grows from task to task is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.endurance.tasks import Outcome, run, verdict


@pytest.mark.slow
def test_a_few_tasks(tmp_path: Path) -> None:
    outcome = run(12, tmp_path, lambda *_: None)
    assert not outcome.failures
    assert {len(values) for values in outcome.measured.values()} == {12}
    assert not {"descriptors", "threads"} & set(outcome.growing), verdict(outcome)


def measured(memory: list[float], **more: list[float]) -> Outcome:
    return Outcome(len(memory), 100, {"memory": memory, **more})


def test_what_grows_is_found() -> None:
    wavy = [300e6 + 20e6 * (number % 7) for number in range(1000)]
    flat = measured(wavy)
    assert flat.is_well
    assert verdict(flat).startswith("tasks: flat. 1,000 tasks")
    assert "320 after 100" in verdict(flat)
    leaking = measured([value + 20e3 * number for number, value in enumerate(wavy)])
    assert leaking.growing == ["memory"]
    assert not leaking.is_well
    assert verdict(leaking).startswith("tasks: MEMORY GROWS. ")


def test_what_is_kept_by_design_is_no_leak() -> None:
    filling = [100e6 + 1e6 * min(number, 100) for number in range(1000)]
    assert measured(filling).is_well


def test_a_failed_task_is_told() -> None:
    failed = measured([1e8] * 200)
    failed.failures.append("task 3: error: the model failed on {}")
    assert not failed.is_well
    assert "1 FAILED, TASK 3" in verdict(failed)
