"""The model `prophet`."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vmanomaly.closest import closest
from vmanomaly.config.problems import Findings, wrong_value
from vmanomaly.config.secrets import shown_name
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import ConfigError, SkippedError
from vmanomaly.model.base import LARGEST
from vmanomaly.model.library.chatter import warnings_logged
from vmanomaly.model.library.model import LibraryModel
from vmanomaly.model.library.state import RaggedColumn
from vmanomaly.model.prophet.arguments import check_prophet_arguments, check_terms
from vmanomaly.model.prophet.civil import BUILT_IN, regressors_of
from vmanomaly.model.prophet.library import prophet
from vmanomaly.model.prophet.outputs import (
    COMPONENTS,
    FORECASTED,
    SIDES,
    forecasts,
    metric_name,
)
from vmanomaly.model.prophet.stored import from_document, problem_of_documents, to_document
from vmanomaly.model.scoring import Policy
from vmanomaly.model.state import Array, Column
from vmanomaly.series import FloatArray, IntArray

if TYPE_CHECKING:
    from pandas import DataFrame

    from vmanomaly.config.model.prophet import Downsampling, Seasonality, TzSeasonality

logger = logging.getLogger(__name__)

_SEED = 42
# Bounds are sampled with the generator that all of NumPy shares.
_sampling = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class ProphetModel(LibraryModel):
    r"""Trend with changepoints, seasons and holidays, each fitted by Prophet [1]_.

    Prophet knows neither time zones nor NaN nor infinity: timestamps are given to it in UTC, and
    valid points only. Its bounds are sampled, always with the same seed, for all points and
    forecasts of a run together.

    Parameters
    ----------
    args
        Keyword arguments of `prophet.Prophet`, `holidays` as a list of mappings; and
        `country_holidays`, the name of a country.
    seasonalities
        Seasons in addition to Prophet's own.
    tz_aware
        Whether there are seasons in civil time.
    tz_seasonalities
        These; they are regressors of sines and cosines of the civil time.
    tz_use_cyclical_encoding
        Whether each of these is one sine and one cosine only.
    forecast_at
        How far ahead forecasts are made, such as `1h`.
    compression
        How points are aggregated for the fit; None for not at all.
    provide_series
        The outputs wanted; None for the default ones.
    tz
        IANA name of the time zone of the query.
    policies
        Of the model and the query; `data_range` is what logistic growth lies in.

    Raises
    ------
    ConfigError
        Prophet is not installed, does not take the arguments, or does not give what is wanted.

    References
    ----------
    .. [1] S. J. Taylor, B. Letham, "Forecasting at scale", The American Statistician 72(1), 2018.
    """

    args: Mapping[str, Any]
    seasonalities: tuple[Seasonality, ...]
    tz_aware: bool
    tz_seasonalities: tuple[TzSeasonality, ...]
    tz_use_cyclical_encoding: bool
    forecast_at: tuple[str, ...]
    compression: Downsampling | None
    provide_series: tuple[str, ...] | None
    tz: str
    policies: Mapping[str, Policy]

    ragged: ClassVar[tuple[RaggedColumn, ...]] = (
        RaggedColumn("document", np.uint8, rule=problem_of_documents),
    )
    columns: ClassVar[tuple[Column, ...]] = ()

    def __post_init__(self) -> None:
        self._check_arguments()
        if self.args.get("growth") == "logistic" and not np.isfinite(self._data_range).all():
            raise wrong_value(
                ("args", "growth"), "logistic growth needs a data_range of finite numbers; set it"
            )
        if self.provide_series is not None:
            self._check_outputs(self.provide_series)

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """All that can be asked for: forecasts, and the components that any fit may have."""
        components = (*COMPONENTS, "holidays", *self._named)
        columns = (metric_name(f"{name}{side}") for name in components for side in SIDES)
        return tuple(dict.fromkeys((*LibraryModel.outputs, *columns, *forecasts(self.forecast_at))))

    @property
    def default_outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What is written when `provide_series` is not given."""
        return (*LibraryModel.outputs, "trend", *forecasts(self.forecast_at))

    @property
    def expected(self) -> tuple[str, ...]:
        """The predictions, and the components that are wanted."""
        wanted = self.provide_series or self.default_outputs
        own = {"anomaly_score", "y", "incident_score"}
        return tuple(dict.fromkeys((*FORECASTED, *(name for name in wanted if name not in own))))

    def fit_series(self, timestamps: IntArray, values: FloatArray) -> dict[str, Any]:
        """Fit Prophet to one series."""
        spread = 0.0
        if self.compression is not None:
            timestamps, values, spread = compressed(timestamps, values, self.compression)
            if len(values) < 2:
                raise SkippedError("fewer than 2 points are left after compression")
        fitted = self._build()
        frame = self._frame(timestamps).assign(y=values)
        # Stan writes files, and leaves them.
        with TemporaryDirectory(prefix="vmanomaly-prophet-") as folder:
            fitted.fit(frame, seed=_SEED, output_dir=folder)
        if spread > 0.0:
            fitted.params["sigma_obs"] = np.hypot(
                fitted.params["sigma_obs"], spread / fitted.y_scale
            )
        if not all(np.isfinite(found).all() for found in fitted.params.values()):
            raise ValueError("Prophet found no finite parameters")
        return {"document": to_document(fitted)}

    def infer_series(
        self, learned: Mapping[str, Array], timestamps: IntArray
    ) -> dict[str, FloatArray]:
        """Predict all points and forecasts of a series at once."""
        fitted = from_document(learned["document"])
        # What predictions cost is for the configuration to say, not for what is stored.
        fitted.uncertainty_samples = self._argument("uncertainty_samples")
        fitted.interval_width = self._argument("interval_width")
        fitted.country_holidays = self.args.get("country_holidays")
        fitted.holidays = self._holidays
        horizons = [0, *map(Duration.parse, self.forecast_at)]
        times = np.unique(np.concatenate([timestamps + horizon for horizon in horizons]))
        frame = self._frame(times)
        with _sampling:
            before = np.random.get_state()
            np.random.seed(_SEED)
            try:
                found = fitted.predict(frame)
            finally:
                np.random.set_state(before)
        columns = {str(name): found[name].to_numpy() for name in found.columns if name != "ds"}
        columns |= self._civil_components(fitted, frame)
        _widen(columns)
        outputs = {
            metric_name(name): values[np.searchsorted(times, timestamps)]
            for name, values in columns.items()
        }
        for offset in self.forecast_at:
            there = np.searchsorted(times, timestamps + Duration.parse(offset))
            outputs |= {f"{name}_{offset}": columns[name][there] for name in FORECASTED}
        return {
            name: np.clip(values, -LARGEST, LARGEST)
            for name, values in outputs.items()
            if name in self.expected
        }

    def infer_constant(self, value: float, timestamps: IntArray) -> dict[str, FloatArray]:
        """Expect the same again, of a trend without components."""
        bounds = super().infer_constant(value, timestamps)
        of_trend = {f"trend{side}": bounds["yhat"] for side in SIDES}
        ahead = {f"{name}_{offset}": bounds[name] for offset in self.forecast_at for name in bounds}
        nothing = dict.fromkeys(self.expected, np.zeros(len(timestamps)))
        return nothing | bounds | of_trend | ahead

    def note_absent(self, names: Sequence[str]) -> None:
        """Warn of outputs that are wanted but that no series has, once."""
        _warn_of_absent(tuple(names))

    @property
    def _data_range(self) -> tuple[float, float]:
        return next(iter(self.policies.values())).data_range

    @property
    def _named(self) -> list[str]:
        """Names of seasons and holidays, as Prophet has them."""
        named = [each.name for each in self.seasonalities]
        named += [each.name for each in self.tz_seasonalities]
        named += [str(each["holiday"]) for each in self.args.get("holidays") or ()]
        return named + _holidays_of(self.args.get("country_holidays"))

    @property
    def _holidays(self) -> DataFrame | None:
        """The days of the key `holidays`, as Prophet takes them."""
        import pandas as pd  # noqa: PLC0415 - comes with prophet

        days = self.args.get("holidays")
        if days is None:
            return None
        frame = pd.DataFrame(list(days))
        return frame.assign(ds=pd.to_datetime(frame["ds"]))

    def _argument(self, name: str) -> Any:
        default = inspect.signature(prophet().Prophet).parameters[name].default
        return self.args.get(name, default)

    @property
    def _regressors(self) -> list[tuple[str, TzSeasonality]]:
        of_each = {each.name: each for each in self.tz_seasonalities}
        names = self._civil(np.zeros(1, np.int64))
        return [(name, of_each[name.partition("__")[0]]) for name in names]

    def _civil(self, timestamps: IntArray) -> dict[str, FloatArray]:
        if not self.tz_seasonalities:
            return {}
        return regressors_of(
            self.tz_seasonalities, timestamps, self.tz, cyclical=self.tz_use_cyclical_encoding
        )

    def _frame(self, timestamps: IntArray) -> DataFrame:
        import pandas as pd  # noqa: PLC0415 - comes with prophet

        columns: dict[str, Any] = {"ds": timestamps.astype("datetime64[ms]")}
        columns |= self._civil(timestamps)
        if self.args.get("growth") == "logistic":
            columns["floor"], columns["cap"] = self._data_range
        return pd.DataFrame(columns)

    def _build(self) -> Any:
        """Return a Prophet that is not fitted."""
        args = {name: value for name, value in self.args.items() if name != "country_holidays"}
        args["holidays"] = self._holidays
        for each in self.tz_seasonalities:
            if each.name in BUILT_IN:
                args.setdefault(f"{BUILT_IN[each.name]}_seasonality", False)
        model = prophet().Prophet(**args)
        if self.args.get("country_holidays") is not None:
            model.add_country_holidays(str(self.args["country_holidays"]))
        for season in self.seasonalities:
            model.add_seasonality(
                season.name, season.period, season.fourier_order, season.prior_scale, season.mode
            )
        for name, of in self._regressors:
            scale = of.prior_scale or model.seasonality_prior_scale
            model.add_regressor(name, prior_scale=scale, standardize=False, mode=of.mode)
        return model

    def _civil_components(self, fitted: Any, frame: DataFrame) -> dict[str, FloatArray]:
        """Return the sum of the regressors of each season in civil time, with its bounds."""
        names = [name for name, _ in self._regressors]
        beta = fitted.params["beta"][:, -len(names) :] if names else None
        percents = 50.0 * (1.0 - fitted.interval_width), 50.0 * (1.0 + fitted.interval_width)
        components: dict[str, FloatArray] = {}
        for each in self.tz_seasonalities:
            assert beta is not None  # noqa: S101 - there are regressors then
            own = [place for place, name in enumerate(names) if name.startswith(f"{each.name}__")]
            drawn = frame[[names[place] for place in own]].to_numpy() @ beta[:, own].T
            if (each.mode or fitted.seasonality_mode) == "additive":
                drawn = drawn * fitted.y_scale
            components[each.name] = drawn.mean(axis=1)
            lower, upper = np.percentile(drawn, percents, axis=1)
            components |= {f"{each.name}_lower": lower, f"{each.name}_upper": upper}
        return components

    def _check_arguments(self) -> None:
        check_prophet_arguments(self.args, prophet().Prophet)
        n_waves = 2 * sum(each.fourier_order for each in self.seasonalities)
        check_terms(self.args, n_waves + len(self._regressors))
        try:
            with warnings_logged():
                self._build()
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - what it raises for wrong values is of all kinds
            raise wrong_value(("args",), f"Prophet does not take them: {error}") from None

    def _check_outputs(self, wanted: Sequence[str]) -> None:
        possible = {*self.outputs, "incident_score"}
        findings = Findings()
        for name in wanted:
            if name not in possible:
                close = closest(name, possible)
                hint = f"did you mean {close}?" if close else "it gives the columns of Prophet"
                findings.error(
                    ("provide_series",),
                    f"this model does not produce {shown_name(name)}; {hint}",
                )
        if self.forecast_at and not any(
            name in FORECASTED or name in forecasts(self.forecast_at) for name in wanted
        ):
            findings.error(("provide_series",), "forecast_at needs yhat here, or a bound; add yhat")
        if findings.problems:
            raise findings.as_error()


def compressed(
    timestamps: IntArray, values: FloatArray, compression: Downsampling
) -> tuple[IntArray, FloatArray, float]:
    """Return one point for each window in which there are points.

    Returns
    -------
    timestamps : ndarray of int64
        The mean timestamps.
    values : ndarray of float64
        Their means or medians.
    spread : float
        The standard deviation within windows that is lost, the root of the mean variance; 0 if
        it is not wanted.

    Examples
    --------
    >>> from vmanomaly.config.model.prophet import Downsampling
    >>> minutes = 60_000 * np.arange(4)
    >>> compressed(minutes, np.array([1.0, 3.0, 5.0, 7.0]), Downsampling(window="2m"))
    (array([ 30000, 150000]), array([2., 6.]), 1.0)
    """
    window = int(compression.window)
    starts = np.flatnonzero(np.diff(timestamps // window, prepend=timestamps[0] // window - 1))
    windows = list(zip(starts, [*starts[1:], len(values)], strict=True))
    aggregate = np.median if compression.agg_method == "median" else np.mean
    spread = 0.0
    if compression.adjust_boundaries:
        spread = math.sqrt(np.mean([np.var(values[begin:end]) for begin, end in windows]))
    return (
        np.array([int(timestamps[begin:end].mean()) for begin, end in windows], np.int64),
        np.array([aggregate(values[begin:end]) for begin, end in windows], np.float64),
        spread,
    )


def _widen(columns: dict[str, FloatArray]) -> None:
    """Move bounds away from `yhat` where they are too close, or on its other side."""
    yhat = columns["yhat"]
    least = np.maximum(1e-9 * np.abs(yhat), 1e-12)
    columns["yhat_lower"] = np.minimum(columns["yhat_lower"], yhat - least)
    columns["yhat_upper"] = np.maximum(columns["yhat_upper"], yhat + least)


def _holidays_of(country: object) -> list[str]:
    if country is None:
        return []
    names = import_module("prophet.make_holidays").get_holiday_names(str(country))
    return sorted(map(str, names))


@cache
def _warn_of_absent(names: tuple[str, ...]) -> None:
    logger.warning(
        "provide_series asks for %s, which the last fit does not have: the history is too short, "
        "or it is switched off; they are not written",
        ", ".join(names),
    )
