"""Runs classes that take pandas frames behind the contract that every model keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vmanomaly.model import base
from vmanomaly.model.base import BatchT, ModelOutput
from vmanomaly.model.custom import interface
from vmanomaly.model.custom.frames import from_frame, to_frame, to_times
from vmanomaly.model.custom.state import InstanceState
from vmanomaly.model.grouping import GroupedBatch
from vmanomaly.model.online import observe
from vmanomaly.model.scoring import BOUNDS, Policy, adjusted, policed_score
from vmanomaly.model.state import Array, SeriesState
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch


@dataclass(frozen=True, slots=True)
class Subjects:
    """What has one object each: series, or groups of series.

    Attributes
    ----------
    labels : tuple of Labels
        One label set per subject.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC.
    seen : ndarray of float64, shape (R, T)
        Finite where there is a point for the model, NaN elsewhere.
    columns : list of dict of str to ndarray of float64, shape (T,)
        The columns of the frames of each, except `timestamp`.
    """

    labels: tuple[Labels, ...]
    timestamps: IntArray
    seen: FloatArray
    columns: list[dict[str, FloatArray]]

    @classmethod
    def of_series(cls, batch: SeriesBatch) -> Subjects:
        """Take every series by itself."""
        columns = [{"y": values} for values in batch.values]
        return cls(batch.labels, batch.timestamps, batch.values, columns)

    @classmethod
    def of_groups(cls, batch: GroupedBatch) -> Subjects:
        """Take every group; it has a point where all its channels have a finite sample."""
        names = [str(channel) for channel in batch.channels]
        columns = [
            dict(zip(names[rows], batch.values[rows], strict=True)) for rows in batch.slices()
        ]
        seen = np.where(batch.complete, 0.0, np.nan)
        return cls(batch.labels, batch.timestamps, seen, columns)


class Instances:
    """Makes, fits and runs objects of a user's class.

    Parameters
    ----------
    user_class
        The class.
    arguments
        Keyword arguments of its constructor.
    policy
        What is applied to the outputs of a series; None if they are taken as they are.
    provide_series
        The outputs wanted; None for all there are.
    min_n_samples_seen
        How many points an online model must have seen for its score to count.
    """

    def __init__(
        self,
        user_class: type[interface.Model],
        arguments: Mapping[str, Any],
        policy: Policy | None,
        provide_series: tuple[str, ...] | None,
        min_n_samples_seen: int,
    ) -> None:
        self._class = user_class
        self._arguments = arguments
        self._policy = policy
        self._provide_series = provide_series
        self._needed = provide_series and {*provide_series, "anomaly_score", *BOUNDS}
        self._online = user_class.is_online
        self._min_n_samples_seen = min_n_samples_seen if self._online else 0
        self._settings = vars(self.make()).keys() & arguments.keys()

    def make(self) -> interface.Model:
        """Return an object that has learned nothing."""
        return self._class(**deepcopy(dict(self._arguments)))

    def fit(self, subjects: Subjects) -> InstanceState:
        """Fit an object for every subject that has a point."""
        state, errors = InstanceState(), {}
        times = to_times(subjects.timestamps)
        fitted = []
        for row, (labels, columns) in enumerate(
            zip(subjects.labels, subjects.columns, strict=True)
        ):
            known = np.isfinite(subjects.seen[row])
            if not known.any() and not self._online:
                continue
            try:
                instance = self.make()
                if known.any():
                    instance.fit(to_frame(times, columns, known))
            except BaseException as error:  # noqa: BLE001 - reported with the state
                errors[labels] = error
                continue
            _count(instance, int(np.count_nonzero(known)))
            state.instances[labels] = instance
            fitted.append(row)
        rows = state.rows(tuple(subjects.labels[row] for row in fitted))
        observe(
            state,
            rows,
            subjects.timestamps,
            subjects.seen[fitted],
            np.zeros(1, np.int64),
            predicted=False,
        )
        state.errors = errors
        return state

    def infer(
        self, state: SeriesState, subjects: Subjects, micro_batch_starts: IntArray
    ) -> ModelOutput:
        """Infer with the object of every subject; one micro-batch after the other if it is online.

        An object that raises is not called again in this call.
        """
        assert isinstance(state, InstanceState)  # noqa: S101 - of the same model
        rows = state.rows(subjects.labels)
        times = to_times(subjects.timestamps)
        n_timestamps = len(subjects.timestamps)
        outputs = _Outputs(subjects.seen.shape, self._provide_series)
        errors: dict[Labels, BaseException] = {}
        seen = np.array(subjects.seen)
        ends = np.full(len(subjects.labels), n_timestamps)
        starts = micro_batch_starts if self._online else micro_batch_starts[:1]
        for row, (labels, columns) in enumerate(
            zip(subjects.labels, subjects.columns, strict=True)
        ):
            first = np.searchsorted(subjects.timestamps, state.last_seen[rows[row]], side="right")
            n_seen = int(state.n_samples_seen[rows[row]])
            begin = 0
            try:
                instance = state.instances[labels] if labels in state.instances else self.make()
                for begin, end in zip(starts, (*starts[1:], n_timestamps), strict=True):
                    wanted = np.isfinite(subjects.seen[row])
                    wanted[: max(begin, first)] = wanted[end:] = False
                    if not wanted.any():
                        continue
                    _count(instance, n_seen)
                    answer = instance.infer(to_frame(times, columns, wanted))
                    found = from_frame(answer, times[wanted], columns.keys(), self._needed)
                    outputs.put(row, wanted, self._finished(found, columns, wanted))
                    state.instances[labels] = instance
                    n_seen += int(np.count_nonzero(wanted))
                    _count(instance, n_seen)
            except BaseException as error:  # noqa: BLE001 - reported with the output
                errors[labels] = error
                ends[row] = begin
                seen[row, begin:] = np.nan
        _, eligible, trusted = observe(
            state,
            rows,
            subjects.timestamps,
            seen,
            micro_batch_starts,
            min_n_samples_seen=self._min_n_samples_seen,
        )
        eligible &= np.arange(n_timestamps) < ends[:, None]
        never = [row for row, labels in enumerate(state.labels) if labels not in state.instances]
        if never:
            state.remove(np.array(never, np.int64))
        return ModelOutput(outputs.arrays, eligible, trusted, errors=errors)

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> InstanceState:
        """Rebuild a state; every object gets the current settings.

        Raises
        ------
        ValueError
            The arrays are not those of a state of this class.
        """
        return InstanceState.restored(labels, arrays, self._deserialize)

    def _deserialize(self, stored: bytes) -> interface.Model:
        instance = self._class.deserialize(stored)
        if not isinstance(instance, self._class):
            raise TypeError(
                f"it returned {type(instance).__name__}, expected {self._class.__name__}"
            )
        fresh = vars(self.make())
        vars(instance).update({name: fresh[name] for name in self._settings})
        return instance

    def _finished(
        self,
        found: dict[str, FloatArray],
        columns: Mapping[str, FloatArray],
        wanted: Array,
    ) -> dict[str, FloatArray]:
        """Return the outputs that are wanted, policies applied."""
        names = self._provide_series or ("anomaly_score", *found)
        if "anomaly_score" in names:
            found = self._scored(found, columns, wanted)
        missing = [name for name in names if name not in found and name != "y"]
        if missing:
            raise ValueError(
                f"infer returned no {', '.join(missing)}; it returned "
                f"{', '.join(found) or 'no output'}"
            )
        return {name: found[name] for name in dict.fromkeys(names) if name != "y"}

    def _scored(
        self, found: dict[str, FloatArray], columns: Mapping[str, FloatArray], wanted: Array
    ) -> dict[str, FloatArray]:
        if self._policy is None:
            return found
        if "anomaly_score" not in found:
            found = adjusted(found, self._policy)
        return found | {"anomaly_score": policed_score(found, columns["y"][wanted], self._policy)}


class _OfInstances(base.BaseModel[BatchT]):
    outputs: ClassVar[tuple[str, ...]] = ()
    default_outputs: ClassVar[tuple[str, ...]] = ()
    online: ClassVar[bool] = False
    has_kernels: ClassVar[bool] = False
    # An object may take a second to fit, or more.
    block_bytes: ClassVar[int] = 0

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    def fit(self, batch: BatchT) -> SeriesState:
        """Fit an object for every series or group."""
        return self._instances.fit(self._subjects(batch))

    def infer(self, state: SeriesState, batch: BatchT, micro_batch_starts: IntArray) -> ModelOutput:
        """Infer with the object of every series or group."""
        return self._instances.infer(state, self._subjects(batch), micro_batch_starts)

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        """Rebuild a state from what `labels` and `arrays()` of another gave."""
        return self._instances.restore(labels, arrays)

    @abstractmethod
    def _subjects(self, batch: BatchT) -> Subjects:
        """Return the subjects, each of which has an object."""


class PandasModel(_OfInstances[SeriesBatch], base.Model):
    """A user's class that describes one series and learns only at fit.

    Parameters
    ----------
    instances
        Its objects.
    """

    applies_policies: ClassVar[bool] = True

    def _subjects(self, batch: SeriesBatch) -> Subjects:
        return Subjects.of_series(batch)


class OnlinePandasModel(PandasModel):
    """A user's class that describes one series and learns at infer too."""

    online: ClassVar[bool] = True


class PandasMultivariateModel(_OfInstances[GroupedBatch], base.MultivariateModel):
    """A user's class that describes a group of series and learns only at fit.

    Parameters
    ----------
    instances
        Its objects.
    """

    def _subjects(self, batch: GroupedBatch) -> Subjects:
        return Subjects.of_groups(batch)


class OnlinePandasMultivariateModel(PandasMultivariateModel):
    """A user's class that describes a group of series and learns at infer too."""

    online: ClassVar[bool] = True


class _Outputs:
    """Outputs of R subjects at T timestamps, NaN where none was set."""

    def __init__(self, shape: tuple[int, ...], names: tuple[str, ...] | None) -> None:
        self._shape = shape
        self.arrays: dict[str, FloatArray] = {}
        for name in names or ("anomaly_score",):
            if name != "y":
                self._of(name)

    def put(self, row: int, points: Array, outputs: Mapping[str, FloatArray]) -> None:
        for name, values in outputs.items():
            self._of(name)[row, points] = values

    def _of(self, name: str) -> FloatArray:
        if name not in self.arrays:
            self.arrays[name] = np.full(self._shape, np.nan)
        return self.arrays[name]


def _count(instance: interface.Model, n_samples_seen: int) -> None:
    """Tell an object how many points it has learned, unless its class counts by itself."""
    if isinstance(instance, interface.OnlineModel) and not isinstance(
        getattr(type(instance), "n_samples_seen_", None), property
    ):
        instance.n_samples_seen_ = n_samples_seen
