"""A limit on how many threads do something at a time; waiting for it can be cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from vmanomaly.context import RunContext

_PATIENCE_S = 5.0


class Turn:
    """A slot that a thread waits for or holds.

    Parameters
    ----------
    user, group
        As for `Slots.taken`.

    Attributes
    ----------
    timed_out : bool
        Whether what was done with the slot timed out: the user then counts as slow until one of its
        turns does not. Set by whoever holds the slot.
    """

    __slots__ = ("begun_s", "group", "is_next", "is_slow", "timed_out", "user")

    def __init__(self, user: Hashable = None, group: Hashable = None) -> None:
        self.user = user
        self.group = group
        self.timed_out = False
        self.is_slow = False
        self.is_next = threading.Event()
        self.begun_s = 0.0


class Slots:
    """Lets a number of threads in at a time, in the order in which they came.

    Together, users whose last turn timed out hold at most half of the slots, so that the others
    do not wait for them. Turns that take longer than `patience_s` at the moment count among these.

    Parameters
    ----------
    n
        How many.
    patience_s
        The seconds that a turn may take before its user counts as slow.

    Examples
    --------
    >>> slots = Slots(1)
    >>> with slots.taken(RunContext()):
    ...     with slots.taken(RunContext().child(timeout_s=0)):
    ...         pass
    Traceback (most recent call last):
    ...
    vmanomaly.errors.DeadlineExceededError: not done in time
    """

    def __init__(self, n: int, patience_s: float = _PATIENCE_S) -> None:
        self._n = n
        self._patience_s = patience_s
        self._held: list[Turn] = []
        self._waiting: list[Turn] = []
        self._slow_users: set[Hashable] = set()
        self._lock = threading.Lock()

    @contextmanager
    def taken(
        self, context: RunContext, user: Hashable = None, group: Hashable = None
    ) -> Iterator[Turn]:
        """Wait for a slot, and hold it for the time of a `with` block.

        Parameters
        ----------
        context
            May end the wait.
        user
            Who takes the slot; None never counts as slow.
        group
            A member of a group of which nobody holds a slot gets one in any case, so that no group
            waits for another; None for no group.

        Raises
        ------
        CancelledError, DeadlineExceededError
            The work is to stop before there is one.
        """
        turn = Turn(user, group)
        with self._lock:
            self._waiting.append(turn)
            self._admit()
        try:
            if not turn.is_next.is_set():
                context.wait(turn.is_next)
            yield turn
        finally:
            self.give_back(turn)

    def give_back(self, turn: Turn) -> None:
        """Take a slot back before its holder is done, or end its wait."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn in self._held:
                self._held.remove(turn)
                if turn.timed_out:
                    self._slow_users.add(turn.user)
                else:
                    self._slow_users.discard(turn.user)
            self._admit()

    def _admit(self) -> None:
        for turn in list(self._waiting):
            turn.is_slow = turn.user is not None and turn.user in self._slow_users
            if self._has_room(turn):
                self._waiting.remove(turn)
                self._held.append(turn)
                turn.begun_s = time.monotonic()
                turn.is_next.set()

    def _has_room(self, turn: Turn) -> bool:
        if turn.group is not None and all(held.group != turn.group for held in self._held):
            return True
        if len(self._held) >= self._n:
            return False
        if not turn.is_slow:
            return True
        late_s = time.monotonic() - self._patience_s
        n_slow = sum(held.is_slow or held.begun_s < late_s for held in self._held)
        return n_slow < max(1, self._n // 2)
