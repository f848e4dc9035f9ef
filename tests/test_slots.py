from __future__ import annotations

import threading
from contextlib import ExitStack

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

    with slots.taken(RunContext()) as turn:
        thread = threading.Thread(target=take)
        thread.start()
        assert eventually(lambda: len(slots._waiting) == 1)
        with slots._lock:  # So the thread sees both at once.
            slots._held.remove(turn)
            slots._admit()
            context.cancel()
        thread.join(60)
    with slots.taken(RunContext().child(60)):
        pass


def now() -> RunContext:
    return RunContext().child(timeout_s=0)


def time_out(slots: Slots, *users: str) -> None:
    for user in users:
        with slots.taken(now(), user) as turn:
            turn.timed_out = True


@pytest.mark.parametrize(("n", "most"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_users_that_timed_out_hold_at_most_half(n: int, most: int) -> None:
    slots = Slots(n)
    time_out(slots, *"abcdefgh")
    with ExitStack() as held:
        for user in "abcdefgh"[:most]:
            held.enter_context(slots.taken(now(), user))
        with pytest.raises(DeadlineExceededError):
            held.enter_context(slots.taken(now(), "h"))
        for number in range(n - most):
            held.enter_context(slots.taken(now(), f"good {number}"))
        with pytest.raises(DeadlineExceededError):
            held.enter_context(slots.taken(now(), "good"))


def test_who_is_slow_at_the_moment_counts_among_them() -> None:
    slots = Slots(4, patience_s=0.0)
    time_out(slots, "a", "b")
    with slots.taken(now(), "hangs"), slots.taken(now(), "a"):
        with pytest.raises(DeadlineExceededError), slots.taken(now(), "b"):
            pass
        with slots.taken(now(), "good"):
            pass


def test_a_user_that_is_quick_again_is_as_good_as_any() -> None:
    slots = Slots(2)
    time_out(slots, "a", "b")
    with slots.taken(now(), "a"):
        pass
    with slots.taken(now(), "b"), slots.taken(now(), "a"):
        pass


def test_no_group_waits_for_another() -> None:
    slots = Slots(1)
    with slots.taken(now(), group="a"):
        with pytest.raises(DeadlineExceededError), slots.taken(now(), group="a"):
            pass
        with slots.taken(now(), group="b"):
            pass


def test_a_slot_that_was_taken_back_is_not_given_back_twice() -> None:
    slots = Slots(1)
    with slots.taken(now()) as turn:
        slots.give_back(turn)
        with slots.taken(now()):
            pass
    with (
        slots.taken(now()),
        pytest.raises(DeadlineExceededError),
        slots.taken(now()),
    ):
        pass
