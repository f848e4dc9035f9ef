"""The Python API: anomalies in a frame, in a file, or in what a database holds.

>>> import numpy as np
>>> import vmanomaly as va
>>> hours = np.arange("2026-01-01", "2026-01-15", dtype="datetime64[h]")
>>> load = 10 + np.sin(np.arange(len(hours)) * 2 * np.pi / 24)
>>> load[300] = 30
>>> found = va.detect((hours, load), model="mad_online", fit="7d")
>>> found.incidents[0].peak > 1
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from vmanomaly.analysis import Detection, detect_batch
from vmanomaly.analysis.run import DEFAULT_MODEL, collect, create_detector_of, read_section_of
from vmanomaly.analysis.tuning import Tuning, tune_batch
from vmanomaly.config.problems import Findings
from vmanomaly.config.reader import HttpQuery, VmReaderSection
from vmanomaly.config.section import read_section
from vmanomaly.config.values.duration import EXPECTED, Duration
from vmanomaly.config.values.time import parse_time
from vmanomaly.context import RunContext
from vmanomaly.detector import Learned
from vmanomaly.errors import UsageError
from vmanomaly.http.terms import in_terms_of, told_in_terms
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.series import TimeRange
from vmanomaly.tables import TableError, guess_layout, read_files, to_batch
from vmanomaly.tables.batch import Gridded
from vmanomaly.tables.frames import from_frame, to_frame
from vmanomaly.tasks.history import Piece

__all__ = ["Detection", "Detector", "TableError", "Tuning", "detect", "read", "tune"]

Time: TypeAlias = "datetime | np.datetime64 | str | int | float"


def detect(
    data: Any,
    model: str = DEFAULT_MODEL,
    *,
    fit: str | timedelta | None = None,
    fit_every: str | timedelta | None = None,
    time: str | None = None,
    value: str | Sequence[str] | None = None,
    by: Sequence[str] | None = None,
    step: str | timedelta | None = None,
    tz: str = "UTC",
    context: RunContext | None = None,
    **settings: Any,
) -> Detection:
    """Fit a model on the beginning of the data, and score the rest as it would have been live.

    Every point is scored by what was known before it.

    Parameters
    ----------
    data
        A frame of pandas or polars, long or wide; an Arrow table; a pair of arrays, times and
        values; or the path of a CSV, Parquet or JSON file.
    model
        The class of the model, such as `temporal_envelope`, `mad_online`, `quantile_online`.
    fit
        Length of the window that the model is fitted on, such as `7d` or a `timedelta`; a third
        of the data, at most two weeks, by default.
    fit_every
        How often it is fitted again; once for models that learn with every point, else daily.
    time, value, by
        Names of the columns of times, of values, and of those that tell series apart; guessed
        where they are left out.
    step
        Distance of the points, such as `5m` or a `timedelta`; the most frequent one by default.
    tz
        IANA name of the zone of times that name none, and of calendar patterns.
    context
        May stop the work, and is told of its progress.
    **settings
        Keys of the model, and policies: `detection_direction`, `data_range`,
        `min_dev_from_expected`, `min_rel_dev_from_expected`, `scale`, `clip_predictions`.

    Returns
    -------
    Detection
        With `frame`, `incidents`, `plot`, `report` and `evaluate`.

    Raises
    ------
    TableError
        The data cannot be used as it is; the message says where and what to do.
    ConfigError
        Model or settings are wrong.
    UsageError
        There is too little data for the fit window.
    """
    gridded = _gridded(data, time, value, by, _duration("step", step), tz)
    detection = detect_batch(
        gridded.batch,
        gridded.step,
        model,
        fit=_duration("fit", fit),
        fit_every=_duration("fit_every", fit_every),
        tz=tz,
        settings=settings,
        context=context,
    )
    return replace(detection, like=_like(data))


def tune(
    data: Any,
    model: str = DEFAULT_MODEL,
    *,
    anomaly_percentage: float = 0.01,
    n_trials: int = 128,
    timeout: float | None = None,
    optimization: Mapping[str, Any] | None = None,
    time: str | None = None,
    value: str | Sequence[str] | None = None,
    by: Sequence[str] | None = None,
    step: str | timedelta | None = None,
    tz: str = "UTC",
    context: RunContext | None = None,
    **frozen: Any,
) -> Tuning:
    """Find one set of parameters of a model for all series of the data.

    Parameters
    ----------
    data, time, value, by, step, tz
        As for `detect`.
    model
        The class of the model.
    anomaly_percentage
        The largest share of points that may be anomalies, such as 0.01; a limit, not a goal.
    n_trials, timeout
        How many parameter sets are tried, and for how many seconds; None for no limit.
    optimization
        More keys of `optimization_params` of the model `auto`, such as `n_splits`, `seed`.
    context
        May stop the work, and is told of its progress.
    **frozen
        Keys of the model, and policies, that stay as they are given.

    Returns
    -------
    Tuning
        With `settings` for `detect`, and `yaml` for a configuration.

    Raises
    ------
    TableError
        The data cannot be used as it is.
    ConfigError
        Model or settings are wrong, or Optuna is not installed.

    Examples
    --------
    >>> minutes = np.arange("2026-01-01T00:00", "2026-01-01T05:00", dtype="datetime64[m]")
    >>> load = np.tile([1.0, 2.0, 3.0, 2.0], 75)
    >>> found = tune((minutes, load), "zscore_online", n_trials=10, decay=1.0)
    >>> found.settings["decay"], found.evaluation.loss <= found.defaults.loss
    (1.0, True)
    """
    gridded = _gridded(data, time, value, by, _duration("step", step), tz)
    given = {"anomaly_percentage": anomaly_percentage, "n_trials": n_trials, "timeout": timeout}
    wanted = {**given, **(optimization or {})}
    context = context or RunContext()
    context.expect(n_trials)
    n_noted = 0

    def note(share: float, message: str, counts: Mapping[str, int]) -> None:
        nonlocal n_noted
        for _ in range(counts["trials"] - n_noted):
            context.step("trial")
        n_noted = counts["trials"]

    return tune_batch(gridded.batch, gridded.step, model, wanted, frozen, tz, context, note)


class Detector:
    """A model that is fitted once and then scores what comes, and learns from it.

    Parameters
    ----------
    model
        The class of the model.
    time, value, by, step, tz, **settings
        As for `detect`.

    Examples
    --------
    >>> minutes = np.arange("2026-01-01T00:00", "2026-01-01T02:00", dtype="datetime64[m]")
    >>> load = np.tile([1.0, 2.0, 3.0, 2.0], 30)
    >>> detector = Detector("zscore_online").fit((minutes[:100], load[:100]))
    >>> scored = detector.score((minutes[100:], np.append(load[100:-1], 40.0)))
    >>> scored.outputs["anomaly_score"][0, -1] > 1
    np.True_
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        time: str | None = None,
        value: str | Sequence[str] | None = None,
        by: Sequence[str] | None = None,
        step: str | timedelta | None = None,
        tz: str = "UTC",
        **settings: Any,
    ) -> None:
        self._section = read_section_of(model, settings)
        self._columns = (time, value, by)
        self._step = _duration("step", step)
        self._tz = tz
        self._learned: Learned | None = None

    def fit(self, data: Any) -> Self:
        """Learn from scratch.

        Parameters
        ----------
        data
            As for `detect`.

        Raises
        ------
        TableError
            The data cannot be used as it is.
        """
        gridded = self._read(data)
        self._step = gridded.step
        self._detector = create_detector_of(self._section, self._step, self._tz)
        self._learned, _ = self._detector.fit([gridded.batch])
        return self

    def score(self, data: Any) -> Detection:
        """Score points that come after those before, each by what is known before it.

        Parameters
        ----------
        data
            As for `detect`.

        Raises
        ------
        TableError
            The data cannot be used as it is.
        UsageError
            The detector has not been fitted.
        """
        if self._learned is None:
            raise UsageError("fit the detector first: Detector(...).fit(data)")
        gridded = self._read(data)
        batch = gridded.batch
        starts = np.arange(len(batch.timestamps))
        self._learned, result = self._detector.infer(self._learned, [batch], starts)
        piece = Piece(batch.timestamps, (batch,), result.parts, result.failures, result.left_out)
        return replace(collect([piece], self._section, gridded.step), like=_like(data))

    def _read(self, data: Any) -> Gridded:
        time, value, by = self._columns
        return _gridded(data, time, value, by, self._step, self._tz)


def read(
    url: str,
    query: str,
    start: Time,
    end: Time | None = None,
    step: str | timedelta = "1m",
    *,
    like: Any = None,
    **connection: Any,
) -> Any:
    """Read series from VictoriaMetrics or Prometheus.

    Parameters
    ----------
    url
        Of the server, such as `http://localhost:8428`.
    query
        MetricsQL or PromQL.
    start, end
        Points after the start, up to and including the end, which is now by default: a
        `datetime`, text in ISO 8601 or Unix seconds; UTC where no zone is named.
    step
        Distance of the points.
    like
        `pandas` or `polars`, or a frame of the library that is wanted; whichever is installed by
        default, and else a mapping of names to arrays.
    **connection
        Keys of the section `reader`: `tenant_id`, `user`, `password`, `bearer_token`, `headers`,
        `verify_tls`, `timeout` and the like.

    Returns
    -------
    frame
        A row for each sample: `timestamp` (UTC), the labels of its series, `value`.

    Raises
    ------
    ConfigError
        An argument is wrong.
    DatasourceError
        The server cannot be reached or refuses the query.
    """
    findings = Findings()
    given = {"class": "vm", "datasource_url": url, **connection}
    section = read_section(VmReaderSection, given, (), findings, {"queries": {}})
    if section is None:
        raise findings.as_error()
    grid_step = _duration("step", step)
    assert grid_step is not None  # noqa: S101 - it was given
    asked = HttpQuery(alias="query", expr=query, step=grid_step, tenant_id=section.tenant_id)
    last = datetime.now().timestamp() * 1000 if end is None else _time_ms("end", end)
    reader = create_reader(section, Metrics())
    try:
        time_range = TimeRange(_time_ms("start", start), round(last))
        with told_in_terms(_in_terms_of_arguments):
            batch = reader.read(asked, time_range, "read", stage="fit")
    finally:
        reader.close()
    there = ~np.isnan(batch.values)
    rows, columns = np.nonzero(there)
    names = sorted({name for labels in batch.labels for name in labels})
    frame: dict[str, Any] = {"timestamp": batch.timestamps[columns].astype("datetime64[ms]")}
    for name in names:
        texts = np.array([labels.get(name, "") for labels in batch.labels], object)
        frame[name] = texts[rows]
    frame["value"] = batch.values[there]
    return to_frame(frame, like)


def _in_terms_of_arguments(message: str) -> str:
    """Return a message with the arguments of `read` where it names keys of a reader."""

    def argument(key: str, value: str | None) -> str:
        name = "url" if key == "datasource_url" else key
        return f"`{name}`" if value is None else f"`{name}={value.capitalize()}`"

    return in_terms_of(message, argument, ", ".join)


def _gridded(
    data: Any,
    time: str | None,
    value: str | Sequence[str] | None,
    by: Sequence[str] | None,
    step: Duration | None,
    tz: str,
) -> Gridded:
    table = read_files([str(data)]) if isinstance(data, str | Path) else from_frame(data)
    layout = guess_layout(table, time, value, by)
    return to_batch(table, layout, tz, step)


def _like(data: Any) -> Any:
    return None if isinstance(data, str | Path | tuple | Mapping) else data


def _duration(name: str, given: str | timedelta | None) -> Duration | None:
    if given is None:
        return None
    try:
        if isinstance(given, timedelta):
            duration = Duration(round(given.total_seconds() * 1000))
        elif isinstance(given, str):
            duration = Duration.parse(given)
        else:
            raise ValueError(f"{EXPECTED}, or a timedelta, got {given!r}")
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    if duration <= 0:
        raise UsageError(f"{name}: expected a duration above 0, got {given}")
    return duration


def _time_ms(name: str, value: Time) -> int:
    if isinstance(value, int | float):
        return round(value * 1000)
    if isinstance(value, datetime | np.datetime64):
        value = str(value)
    try:
        return parse_time(value, "UTC")
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
