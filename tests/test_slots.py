from __future__ import annotations

import threading

import pytest

from tests.fakes import eventually
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DeadlineExceededError
from vmanomaly.slots import Slots


def test_no_more_than_n_hold_a_slot() -> None:
    slots, inside, most = Slots(2), 0, 0
    lock, go_on = threading.Lock(), threading.Event()

    def work() -> None:
        nonlocal inside, most
        with slots.taken(RunContext()):
            with lock:
                inside += 1
                most = max(most, inside)
            assert go_on.wait(60)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: inside == 2 and len(slots._waiting) == 4)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert (inside, most) == (0, 2)


def test_who_came_first_is_served_first() -> None:
    slots, order = Slots(1), []

    def work(name: int) -> None:
        with slots.taken(RunContext()):
            order.append(name)

    threads = []
    with slots.taken(RunContext()):
        for name in range(5):
            threads.append(threading.Thread(target=work, args=(name,)))
            threads[-1].start()
            assert eventually(lambda name=name: len(slots._waiting) == name + 1)  # type: ignore[misc]
    for thread in threads:
        thread.join(60)
    assert order == list(range(5))


def test_who_is_told_to_stop_waits_no_longer_and_takes_nothing() -> None:
    slots, context, stopped = Slots(1), RunContext(), threading.Event()

    def work() -> None:
        with pytest.raises(CancelledError), slots.taken(context):
            pass
        stopped.set()

    with slots.taken(RunContext()):
        thread = threading.Thread(target=work)
        thread.start()
        assert eventually(lambda: len(slots._waiting) == 1)
        context.cancel()
        assert stopped.wait(60)
        with pytest.raises(DeadlineExceededError), slots.taken(RunContext().child(0.01)):
            pass
        assert not slots._waiting
    with slots.taken(RunContext().child(0.01)):
        pass


def test_a_slot_given_to_who_stops_at_that_moment_is_not_lost() -> None:
    slots, context = Slots(1), RunContext()

    def take() -> None:
        with pytest.raises(CancelledError), slots.taken(context):
            pass

    slots._take(RunContext())
    thread = threading.Thread(target=take)
    thread.start()
    assert eventually(lambda: len(slots._waiting) == 1)
    with slots._lock:  # So the thread sees both at once.
        slots._waiting.popleft().set()
        context.cancel()
    thread.join(60)
    with slots.taken(RunContext().child(60)):
        pass
