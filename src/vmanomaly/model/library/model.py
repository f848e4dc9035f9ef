"""The framework of models whose library fits one series at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np

from vmanomaly.errors import SkippedError
from vmanomaly.model.base import LARGEST, Model, ModelOutput
from vmanomaly.model.library.chatter import warnings_logged
from vmanomaly.model.library.state import RaggedColumn, RaggedState
from vmanomaly.model.online import observe
from vmanomaly.model.parallel import ParallelModel, Run, in_turn
from vmanomaly.model.state import FINITE, Array, Column, Range, SeriesState
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch

StateT = TypeVar("StateT", bound=RaggedState)

CONSTANT = (
    Column("is_constant", np.bool_, within=Range(0, 1)),
    Column("constant", np.float64, within=FINITE),
)
"""Whether all points of a series were equal, and their value then."""


class LibraryModel(ParallelModel[SeriesBatch], Model):
    """A model that learns each series at fit only, with a library.

    A subclass says what is learned of one series, and what is expected of its points. It holds
    parameters only, and can be pickled: `run` may send it to other processes. A series whose
    points are all equal never reaches the library: what was always the same is expected to stay.

    Attributes
    ----------
    columns : tuple of Column
        The columns of the state, in addition to those of all such models.
    ragged : tuple of RaggedColumn
        Its ragged columns.
    executor : {"processes", "threads"}
        What executes the library's work best.
    predicts_here : bool
        Whether predictions take so little that the calling thread makes them.
    """

    columns: ClassVar[tuple[Column, ...]] = ()
    ragged: ClassVar[tuple[RaggedColumn, ...]] = ()
    executor: ClassVar[str] = "processes"
    predicts_here: ClassVar[bool] = False

    online: ClassVar[bool] = False
    has_kernels: ClassVar[bool] = False

    @property
    def expected(self) -> tuple[str, ...]:
        """The names of what `infer_series` returns, in the order in which they are written."""
        return ("yhat", "yhat_lower", "yhat_upper")

    @abstractmethod
    def fit_series(self, timestamps: IntArray, values: FloatArray) -> dict[str, Any]:
        """Learn one series.

        Parameters
        ----------
        timestamps
            int64, shape (N,), Unix milliseconds, UTC, ascending; N is 2 or more.
        values
            float64, shape (N,), finite, and not all equal.

        Returns
        -------
        dict
            The value of every column, ragged ones included, by name.

        Raises
        ------
        SkippedError
            There is too little data, or it is not such that the library can learn it.
        """

    @abstractmethod
    def infer_series(
        self, learned: Mapping[str, Array], timestamps: IntArray
    ) -> dict[str, FloatArray]:
        """Return what is expected of a series at points in time.

        Parameters
        ----------
        learned
            What `fit_series` returned.
        timestamps
            int64, shape (N,), Unix milliseconds, UTC, ascending; N is 1 or more.

        Returns
        -------
        dict of str to ndarray of float64, shape (N,)
            By the names of `expected`; NaN where one is missing.
        """

    def infer_constant(self, value: float, timestamps: IntArray) -> dict[str, FloatArray]:
        """Return what is expected of a series that was always the same; as `infer_series`."""
        half_width = max(1e-9 * abs(value), 1e-12)
        n = len(timestamps)
        return {
            "yhat": np.full(n, value),
            "yhat_lower": np.full(n, max(value - half_width, -LARGEST)),
            "yhat_upper": np.full(n, min(value + half_width, LARGEST)),
        }

    def note_absent(self, names: Sequence[str]) -> None:
        """Take note of outputs of `expected` that no series has."""

    def fit(self, batch: SeriesBatch, run: Run = in_turn) -> RaggedState:
        """Learn every series by itself.

        Parameters
        ----------
        batch
            S series on T timestamps.
        run
            Executes the fits.
        """
        pieces = [(batch.timestamps, values) for values in batch.values]
        found = run(partial(_fit, self), pieces, self.executor)
        state = fitted_state(
            RaggedState, (*CONSTANT, *self.columns), self.ragged, batch.labels, found
        )
        fitted = [row for row, labels in enumerate(batch.labels) if labels in state]
        _observe(state, batch.keep(fitted), np.zeros(1, np.int64), predicted=False)
        return state

    def infer(
        self,
        state: SeriesState,
        batch: SeriesBatch,
        micro_batch_starts: IntArray,
        run: Run = in_turn,
    ) -> ModelOutput:
        """Return what is expected at every valid point that is later than the last one seen.

        Parameters
        ----------
        state, batch, micro_batch_starts
            As for every model. The series are those of the fit.
        run
            Executes the predictions.
        """
        assert isinstance(state, RaggedState)  # noqa: S101 - from `fit`
        rows = state.rows(batch.labels)
        wanted = np.isfinite(batch.values)
        wanted &= batch.timestamps > state.last_seen[rows][:, None]
        asked = np.flatnonzero(wanted.any(axis=1))
        pieces = [(state.row(rows[s]), batch.timestamps[wanted[s]]) for s in asked]
        run = in_turn if self.predicts_here else run
        found = run(partial(_infer, self), pieces, self.executor)
        outputs = {name: np.full(batch.values.shape, np.nan) for name in self.expected}
        errors: dict[Labels, BaseException] = {}
        for s, each in zip(asked, found, strict=True):
            if isinstance(each, BaseException):
                errors[batch.labels[s]] = each
                continue
            for name in outputs.keys() & each.keys():
                outputs[name][s, wanted[s]] = each[name]
        predicted = [each for each in found if not isinstance(each, BaseException)]
        absent = [name for name in outputs if not any(name in each for each in predicted)]
        if predicted and absent:
            self.note_absent(absent)
        # The points of those that failed are as if they had not come.
        failed = np.array([labels in errors for labels in batch.labels], np.bool_)[:, None]
        values = np.where(failed, np.nan, batch.values) if errors else batch.values
        seen = SeriesBatch(batch.labels, batch.timestamps, values)
        _, eligible, trusted = _observe(state, seen, micro_batch_starts, predicted=True)
        eligible &= ~failed
        return ModelOutput(outputs, eligible, trusted, errors=errors)

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> RaggedState:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            The arrays are not those of a state of this model.
        """
        return RaggedState.restored((*CONSTANT, *self.columns), self.ragged, labels, arrays)


def fitted_state(
    cls: type[StateT],
    columns: Sequence[Column],
    ragged: Sequence[RaggedColumn],
    labels: Sequence[Labels],
    found: Sequence[Any],
) -> StateT:
    """Return the state that fits give; those that failed or were skipped have no row.

    Parameters
    ----------
    cls
        The class of the state.
    columns, ragged
        Of the state.
    labels
        The series or groups that were to be fitted.
    found
        For each of them the value of every column by name, or an exception.
    """
    pairs = list(zip(labels, found, strict=True))
    fitted = [(each, values) for each, values in pairs if not isinstance(values, BaseException)]
    state = cls.of(columns, ragged, [each for each, _ in fitted], [values for _, values in fitted])
    failed = {each: error for each, error in pairs if isinstance(error, BaseException)}
    state.skipped = {k: str(v) for k, v in failed.items() if isinstance(v, SkippedError)}
    state.errors = {k: v for k, v in failed.items() if not isinstance(v, SkippedError)}
    return state


def _observe(
    state: RaggedState, batch: SeriesBatch, starts: IntArray, *, predicted: bool
) -> tuple[Any, Any, Any]:
    rows = state.rows(batch.labels)
    return observe(state, rows, batch.timestamps, batch.values, starts, predicted=predicted)


def _fit(model: LibraryModel, timestamps: IntArray, values: FloatArray) -> dict[str, Any]:
    known = np.isfinite(values)
    if not known.any():
        raise SkippedError("no valid points")
    timestamps, values = timestamps[known], values[known]
    if (values == values[0]).all():
        blank: dict[str, Any] = {column.name: column.initial for column in model.columns}
        blank |= {each.name: np.empty(0, each.dtype) for each in model.ragged}
        return blank | {"is_constant": True, "constant": values[0]}
    with warnings_logged():
        learned = model.fit_series(timestamps, values)
    return learned | {"is_constant": False, "constant": 0.0}


def _infer(
    model: LibraryModel, learned: Mapping[str, Array], timestamps: IntArray
) -> dict[str, FloatArray]:
    if learned["is_constant"]:
        return model.infer_constant(float(learned["constant"]), timestamps)
    with warnings_logged():
        return model.infer_series(learned, timestamps)
