"""What a detector says about data: scores, incidents, and ways to look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmanomaly.analysis.evaluate import Evaluation, Window, evaluate_incidents
from vmanomaly.config.model import INCIDENT_SCORE, ModelSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.time import format_time
from vmanomaly.detector.result import Failure
from vmanomaly.episodes import counted
from vmanomaly.errors import UsageError
from vmanomaly.incidents import THRESHOLD, Incident, find_incidents
from vmanomaly.output_file import write_file
from vmanomaly.series import FloatArray, IntArray, Labels
from vmanomaly.tables.frames import to_frame

SCORE = "anomaly_score"


@dataclass(frozen=True)
class Detection:
    """What a detector says about some series.

    Attributes
    ----------
    labels : tuple of Labels
        Of S series.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC: what was scored, without the window of the first fit.
    outputs : dict of str to ndarray of float64, shape (S, T)
        `y`, `yhat`, `yhat_lower`, `yhat_upper`, `anomaly_score`, `incident_score`; NaN where
        there is nothing.
    step : Duration
        Milliseconds between two points.
    model : ModelSection
        The model and its settings.
    failures : tuple of Failure
        The series on which the model failed, and why.
    like : object
        A frame of the library that `frame` is to be of.
    """

    labels: tuple[Labels, ...]
    timestamps: IntArray
    outputs: Mapping[str, FloatArray]
    step: Duration
    model: ModelSection
    failures: tuple[Failure, ...] = ()
    like: Any = field(default=None, repr=False)

    @property
    def score_name(self) -> str:
        """The output that tells incidents: `incident_score` where the model gives it."""
        return INCIDENT_SCORE if INCIDENT_SCORE in self.outputs else SCORE

    @cached_property
    def incidents(self) -> list[Incident]:
        """Runs of `incident_score > 1`, in the order of time."""
        return self.incidents_above(THRESHOLD)

    def incidents_above(self, threshold: float) -> list[Incident]:
        """Return the runs of points with a score above a threshold, in the order of time."""
        scores = self.outputs.get(self.score_name)
        if scores is None:
            return []
        return find_incidents(
            self.labels, self.timestamps, scores, int(self.step), threshold, self.outputs
        )

    @property
    def n_points(self) -> int:
        """The points that have a score."""
        scores = self.outputs.get(SCORE)
        return 0 if scores is None else int(np.count_nonzero(~np.isnan(scores)))

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """All that was found, tidy: a row for each series and time, a column for each output.

        Rows in which all outputs are missing are left out.
        """
        n_series, n_times = len(self.labels), len(self.timestamps)
        there = np.zeros(n_series * n_times, bool)
        for values in self.outputs.values():
            there |= ~np.isnan(values).ravel()
        times = np.tile(self.timestamps, n_series)[there].astype("datetime64[ms]")
        columns: dict[str, NDArray[Any]] = {"timestamp": times}
        rows = np.repeat(np.arange(n_series), n_times)[there]
        names = sorted({name for labels in self.labels for name in labels})
        for name in names:
            texts = np.array([labels.get(name, "") for labels in self.labels], object)
            columns[name if name not in self.outputs else f"label_{name}"] = texts[rows]
        for output, values in self.outputs.items():
            columns[output] = values.ravel()[there]
        return columns

    @property
    def frame(self) -> Any:
        """All that was found, tidy, as a frame of the library that the data came in.

        A row for each series and time; columns `timestamp` (UTC), the labels, and the outputs.
        """
        return to_frame(self.columns, self.like)

    def evaluate(self, windows: Sequence[Any]) -> Evaluation:
        """Compare the incidents with what is known to have happened.

        Parameters
        ----------
        windows
            Each a `Window`, or a pair of start and end: anything that NumPy takes for a time, in
            UTC.
        """
        return evaluate_incidents(self.incidents, [_window(each) for each in windows])

    def plot(self, series: Mapping[str, str] | None = None, axes: Any = None) -> Any:
        """Plot values, expected range and scores; needs matplotlib (extra `[plot]`).

        Parameters
        ----------
        series
            Labels of the series to plot; by default the one with the highest score.
        axes
            A pair of axes to plot on; by default a new figure is made.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmanomaly.analysis.plot import plot_series  # noqa: PLC0415 - an extra

        return plot_series(self, self._row(series), axes)

    def report(self, path: str | Path, threshold: float = THRESHOLD) -> Path:
        """Write a page with the incidents, and plots of all series that have any, and others.

        Parameters
        ----------
        path
            An HTML file; it needs nothing else.
        threshold
            A score above it is one of an incident.

        Raises
        ------
        UsageError
            It cannot be written, or nothing was scored.
        """
        from vmanomaly.analysis.report import render_detection  # noqa: PLC0415 - seldom needed

        target = Path(path)
        if not len(self.timestamps) or not self.labels:
            raise UsageError(f"{target}: nothing was scored, so there is nothing to show")
        page = render_detection(self, threshold)
        write_file(target, page)
        return target

    def _row(self, series: Mapping[str, str] | None) -> int:
        if series is not None:
            if not isinstance(series, Mapping | Labels):
                raise UsageError(
                    f"series: expected labels such as {dict(self.labels[0]) if self.labels else {}}"
                    f", got {series!r}"
                )
            wanted = Labels(series)
            if wanted not in self.labels:
                raise KeyError(f"no series {wanted}; there are {list(self.labels[:5])}")
            return self.labels.index(wanted)
        scores = self.outputs.get(self.score_name)
        if scores is None or np.isnan(scores).all():
            return 0
        return int(np.nanargmax(np.nan_to_num(scores, nan=-np.inf).max(axis=1)))

    def __repr__(self) -> str:
        head = (
            f"Detection of {self.model.class_name} on {len(self.labels)} series, "
            f"{len(self.timestamps)} points every {self.step}: "
            f"{counted(len(self.incidents), 'incident')}"
        )
        lines = [
            f"  {format_time(incident.start)} to {format_time(incident.end)}  "
            f"peak {incident.peak:.1f}  {incident.series}"
            for incident in self.incidents[:10]
        ]
        if len(self.incidents) > 10:
            lines.append(f"  and {len(self.incidents) - 10} more")
        return "\n".join([head, *lines])


def _window(given: Any) -> Window:
    if isinstance(given, Window):
        return given
    try:
        start, end = (_time_ms(each) for each in given)
    except (ValueError, TypeError) as error:
        raise UsageError(
            "windows: expected pairs of times, such as "
            f'("2026-01-13T12:00", "2026-01-13T14:00"), got {given!r}'
        ) from error
    return Window(start, end)


def _time_ms(value: Any) -> int:
    return int(np.datetime64(value, "ms").astype(np.int64))
