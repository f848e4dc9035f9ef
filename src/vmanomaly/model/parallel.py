"""Models whose work consists of pieces that do not depend on each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from vmanomaly.model.base import BaseModel, BatchT, ModelOutput
from vmanomaly.model.state import SeriesState
from vmanomaly.series import IntArray


class Run(Protocol):
    """Calls a function with each of some pieces of work."""

    def __call__(
        self, function: Callable[..., Any], pieces: Sequence[tuple[Any, ...]], preferred: str, /
    ) -> list[Any]:
        """Return what each call returned, in order, or the exception that it raised.

        Parameters
        ----------
        function
            Can be pickled.
        pieces
            The arguments of each call.
        preferred
            The kind of executor that suits the function: `processes` or `threads`, or `here` for
            the calling thread, whatever the settings say.
        """


def in_turn(
    function: Callable[..., Any], pieces: Sequence[tuple[Any, ...]], preferred: str = ""
) -> list[Any]:
    """Call the function with one piece after the other, in this thread: the simplest `Run`.

    Examples
    --------
    >>> in_turn(divmod, [(7, 2), (9, 5)])
    [(3, 1), (1, 4)]
    """
    results: list[Any] = []
    for piece in pieces:
        try:
            results.append(function(*piece))
        except BaseException as error:  # noqa: BLE001 - returned
            results.append(error)
    return results


class ParallelModel(BaseModel[BatchT]):
    """A model that computes each series, or each group, by itself, and has others execute that.

    `run` stops a fit or an infer, so a batch is not cut into blocks before.
    """

    block_bytes: ClassVar[int] = 1 << 62

    @abstractmethod
    def fit(self, batch: BatchT, run: Run = in_turn) -> SeriesState:
        """Learn the batch from scratch and return the state; `run` executes it."""

    @abstractmethod
    def infer(
        self,
        state: SeriesState,
        batch: BatchT,
        micro_batch_starts: IntArray,
        run: Run = in_turn,
    ) -> ModelOutput:
        """Return what is expected at every point of the batch; `run` executes it."""
