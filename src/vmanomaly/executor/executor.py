"""Pieces of work to results, in order, whatever executes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

from vmanomaly.checkpoint import stopped_by
from vmanomaly.context import RunContext
from vmanomaly.errors import StoppedError
from vmanomaly.executor.apart import Apart
from vmanomaly.executor.backends import Backend, Processes, Threads
from vmanomaly.executor.worker import Outcome, death_of

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

Piece: TypeAlias = tuple[Any, ...]
"""The arguments of one call."""

OnResult: TypeAlias = Callable[[int, Any], None]
"""Takes the number of a piece, and what its call returned or raised."""


@dataclass(frozen=True, slots=True)
class Executor:
    """What executes work that consists of many independent pieces. It can be pickled.

    Attributes
    ----------
    kind : {"threads", "processes", "ray", "dask"} or None
        None for what the work itself prefers.
    n_workers : int
        Pieces that are executed at a time, 1 or more. With 1, threads and processes are not
        needed: the calling thread does the work.
    address : str or None
        Of the Ray or Dask cluster; None to start one on this machine.
    native_threads : int
        Threads that BLAS and the like may use in a worker process.
    apart : bool
        Whether processes of its own do the work, also with one worker, unless another kind is set:
        nobody else is to wait for it, and a stop ends it at once.
    memory_bytes : int or None
        What such processes may take together, but each at least 2 GiB; None for no limit.

    Examples
    --------
    >>> Executor().map(divmod, [(7, 2), (1, 0)], RunContext())
    [(3, 1), ZeroDivisionError('integer division or modulo by zero')]
    """

    kind: str | None = None
    n_workers: int = 1
    address: str | None = None
    native_threads: int = 1
    apart: bool = False
    memory_bytes: int | None = None

    def map(
        self,
        function: Callable[..., Result],
        pieces: Sequence[Piece],
        context: RunContext,
        preferred: str = "processes",
        on_result: OnResult = lambda number, result: None,
    ) -> list[Result | BaseException]:
        """Call a function with each of the pieces.

        Parameters
        ----------
        function
            Can be pickled. What it returns must depend on its arguments only.
        pieces
            The arguments of each call.
        context
            May stop the work.
        preferred
            The kind of executor where none is set; `here` for work that is not worth sending,
            which the calling thread does, whatever is set.
        on_result
            Called by this thread with the number of a piece, and what came of it, as soon as that
            is known.

        Returns
        -------
        list
            What the calls returned, in the order of the pieces, or the exception that a call has
            raised. It is a `WorkerDiedError` if the worker died of it.

        Raises
        ------
        CancelledError, DeadlineExceededError
            As the context says. Nothing of the work continues for long.
        VmanomalyError
            The cluster cannot be used.
        """
        kind = preferred if preferred == "here" else self.kind or preferred
        if self.apart and kind != "here" and self.kind in {None, "processes"}:
            kind = "apart"
        if (
            kind == "here"
            or (self.n_workers == 1 and kind in {"threads", "processes"})
            or not pieces
        ):
            return [
                _here(function, number, piece, context, on_result)
                for number, piece in enumerate(pieces)
            ]
        return _Call(self._backend(kind), function, pieces, context, on_result).results()

    def _backend(self, kind: str) -> Backend:
        if kind == "threads":
            return Threads(self.n_workers, self.native_threads)
        if kind == "processes":
            return Processes(self.n_workers, self.native_threads)
        if kind == "apart":
            return Apart(self.n_workers, self.native_threads, self.memory_bytes)
        # Imported where configured only.
        module = import_module(f"vmanomaly.executor.{kind}_backend")
        made = module.Ray if kind == "ray" else module.Dask
        backend: Backend = made(self.n_workers, self.native_threads, self.address)
        return backend


def _here(
    function: Callable[..., Result],
    number: int,
    piece: Piece,
    context: RunContext,
    on_result: OnResult,
) -> Result | BaseException:
    context.check()
    result: Result | BaseException
    try:
        with stopped_by(context.check):
            result = function(*piece)
    except StoppedError as error:
        context.check()
        result = error
    except BaseException as error:  # noqa: BLE001 - returned
        result = error
    on_result(number, result)
    return result


class _Call:
    """One use of an executor: which pieces are out, and which are done."""

    def __init__(
        self,
        backend: Backend,
        function: Callable[..., Any],
        pieces: Sequence[Piece],
        context: RunContext,
        on_result: OnResult,
    ) -> None:
        self._backend = backend
        self._function = function
        self._pieces = pieces
        self._context = context
        self._on_result = on_result
        self._outcomes: dict[int, Outcome] = {}
        self._sent: set[int] = set()

    def results(self) -> list[Any]:
        """Execute all pieces.

        A worker that dies may take results with it that others have computed. So the pieces that
        were sent and did not come back are executed one by one, and what kills its worker then is
        the one to blame. The others continue after that.
        """
        with self._context.calling_when_over(self._backend.interrupt):
            while waiting := self._without_outcome(range(len(self._pieces))):
                self._sent = set()
                if self._survived(waiting):
                    continue
                suspects = self._without_outcome(sorted(self._sent))
                logger.warning(
                    "A worker died; executing %d pieces of work again, one by one", len(suspects)
                )
                for suspect in suspects:
                    if not self._survived([suspect]):
                        self._note(death_of(suspect))
        return [_result(self._outcomes[number]) for number in range(len(self._pieces))]

    def _note(self, outcome: Outcome) -> None:
        self._outcomes[outcome.number] = outcome
        self._on_result(outcome.number, _result(outcome))

    def _without_outcome(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if number not in self._outcomes]

    def _survived(self, numbers: Sequence[int]) -> bool:
        """Execute some pieces; return whether no worker has died of them."""
        try:
            for outcome in self._backend.execute(self._function, self._tasks(numbers)):
                self._note(outcome)
                # Says that the work goes on; after a stop, what is out is waited for.
                with suppress(StoppedError):
                    self._context.check()
        except Exception as error:
            # A stop may kill workers.
            self._context.check()
            if not self._backend.is_death(error):
                raise
            return False
        self._context.check()
        return True

    def _tasks(self, numbers: Sequence[int]) -> Iterator[tuple[int, Piece]]:
        """Yield what each worker takes next; nothing after the work was stopped."""
        for number in numbers:
            if self._context.is_cancelled or self._context.remaining_s == 0.0:
                return
            self._sent.add(number)
            yield number, self._pieces[number]


def _result(outcome: Outcome) -> Any:
    return outcome.result if outcome.error is None else outcome.error
