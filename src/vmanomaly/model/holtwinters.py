"""Holt-Winters exponential smoothing, fitted by statsmodels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vmanomaly.checkpoint import checkpoint
from vmanomaly.config.problems import wrong_value
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import ConfigError, SkippedError
from vmanomaly.model.base import LARGEST
from vmanomaly.model.library.arguments import LEFT_TO_LIBRARY, Bounds, check_arguments
from vmanomaly.model.library.chatter import warnings_logged
from vmanomaly.model.library.extras import required
from vmanomaly.model.library.model import LibraryModel
from vmanomaly.model.library.state import RaggedColumn
from vmanomaly.model.state import FINITE, NOT_NEGATIVE, Array, Column, Range
from vmanomaly.series import FloatArray, IntArray

_MOST_POINTS = 1_000_000
# Two seasons are the least for a fit.
_BOUNDS = {"seasonal_periods": Bounds(2, _MOST_POINTS // 2, others=LEFT_TO_LIBRARY)}
_DEFAULTS = {"seasonal": "add", "initialization_method": "estimated"}
_REFUSED = {
    "endog": "these are the samples of the query; remove it",
    "dates": "set frequency instead",
    "freq": "set frequency instead",
    "missing": "gaps are interpolated; remove it",
}


@dataclass(frozen=True, kw_only=True)
class HoltWinters(LibraryModel):
    r"""Level, trend and season by exponential smoothing.

    statsmodels fits the smoothing parameters. Its samples must be evenly spaced, so those of the
    fit are averaged over a grid of `frequency` that begins with the first of them, and gaps are
    interpolated. What is stored is the last level :math:`l`, trend :math:`b` and season :math:`s`
    of `m` points, which begins with the phase of the last sample. The forecast :math:`h` points
    later follows from them,

    .. math:: yhat_h = l + (\varphi + \dots + \varphi^h) b + s_{h \bmod m},

    or with factors instead of summands where `trend` or `seasonal` is `mul`. Between points of the
    grid, forecasts are interpolated. The bounds are `z_threshold` standard deviations of the
    residuals of the fit away.

    Parameters
    ----------
    z_threshold
        Half width of the expected range in standard deviations, > 0.
    frequency
        Distance of the points of the grid, milliseconds; None for the median gap of the samples.
    seasonality
        Length of the season, milliseconds; None for `args.seasonal_periods` points.
    args
        Keyword arguments of `statsmodels.tsa.holtwinters.ExponentialSmoothing`.

    Raises
    ------
    ConfigError
        statsmodels is not installed, or does not take the arguments.
    """

    z_threshold: float
    frequency: int | None
    seasonality: int | None
    args: Mapping[str, Any]

    columns: ClassVar[tuple[Column, ...]] = (
        Column("origin", np.int64, within=Range(-(2**53), 2**53)),
        Column("spacing", np.float64, within=Range(1.0, 2.0**53), initial=1.0),
        Column("level", np.float64, within=FINITE),
        Column("trend", np.float64, within=FINITE),
        Column("damping", np.float64, within=Range(0.0, 1.0), initial=1.0),
        Column("box_cox", np.float64, initial=math.nan, within=Range(-1e3, 1e3, or_nan=True)),
        Column("deviation", np.float64, within=NOT_NEGATIVE),
        Column("unit", np.float64, within=Range(0.0), initial=1.0),
    )
    ragged: ClassVar[tuple[RaggedColumn, ...]] = (
        RaggedColumn("season", np.float64, within=FINITE),
    )
    predicts_here: ClassVar[bool] = True

    def __post_init__(self) -> None:
        constructor = _constructor()
        check_arguments(self.args, constructor, refused=_REFUSED, bounds=_BOUNDS)
        arguments = self._arguments
        if self._is_seasonal and self.seasonality is None and "seasonal_periods" not in self.args:
            remedy = "set it, such as 1d, or args.seasonal_periods, or args.seasonal: null for none"
            raise wrong_value(("seasonality",), f"required, but not set; {remedy}")
        if self.frequency is not None and self.seasonality is not None:
            _n_periods(self.seasonality, self.frequency, ConfigError)
        if self._is_seasonal:
            arguments.setdefault("seasonal_periods", 2)
        n_points = 2 * _as_count(arguments.get("seasonal_periods")) + 10
        try:
            with warnings_logged():
                constructor(np.arange(1.0, n_points + 1.0), **arguments)
        except (TypeError, ValueError) as error:
            raise wrong_value(("args",), f"statsmodels does not take them: {error}") from None

    @property
    def _arguments(self) -> dict[str, Any]:
        return {**_DEFAULTS, **self.args}

    @property
    def _is_seasonal(self) -> bool:
        return self._arguments["seasonal"] is not None

    @property
    def _is_of_factors(self) -> bool:
        arguments = self._arguments
        kinds = (arguments["seasonal"], arguments.get("trend"))
        return any(str(kind).startswith("mul") for kind in kinds) or bool(
            arguments.get("use_boxcox")
        )

    def _fewest_points(self, n_periods: int) -> int:
        """Return what statsmodels needs at least: two seasons, and a little more for heuristics."""
        least = 2 * n_periods if self._is_seasonal else 2
        if self._arguments["initialization_method"] == "heuristic":
            return max(least, 10 + 2 * (n_periods // 2))
        return least

    def fit_series(self, timestamps: IntArray, values: FloatArray) -> dict[str, Any]:
        """Fit the smoothing parameters, and return what forecasts start from."""
        spacing = float(self.frequency or np.median(np.diff(timestamps)))
        samples = _on_grid(timestamps, values, spacing)
        arguments = self._arguments
        if self._is_seasonal and "seasonal_periods" not in self.args:
            assert self.seasonality is not None  # noqa: S101 - checked when made
            arguments["seasonal_periods"] = _n_periods(self.seasonality, spacing, SkippedError)
        least = self._fewest_points(_as_count(arguments.get("seasonal_periods")))
        if len(samples) < least:
            raise SkippedError(f"{len(samples)} points on the grid, but the fit needs {least}")
        if self._is_of_factors and samples.min() <= 0.0:
            raise SkippedError("values of 0 or less, which mul and use_boxcox do not take")
        unit = _unit(samples)
        # With a long season, an iteration takes part of a second, and a fit minutes.
        fitted = _constructor()(samples / unit, **arguments).fit(
            minimize_kwargs={"callback": lambda *_: checkpoint()}
        )
        return _learned(fitted, int(arguments.get("seasonal_periods") or 0)) | {
            "origin": int(timestamps[0] + round((len(samples) - 1) * spacing)),
            "spacing": spacing,
            "unit": unit,
        }

    def infer_series(
        self, learned: Mapping[str, Array], timestamps: IntArray
    ) -> dict[str, FloatArray]:
        """Forecast on the grid, and interpolate."""
        place = np.maximum((timestamps - int(learned["origin"])) / float(learned["spacing"]), 0.0)
        before = np.floor(place)
        share = place - before
        with np.errstate(over="ignore", invalid="ignore"):
            yhat = self._forecast(learned, before)
            after = self._forecast(learned, before + 1.0)
            yhat = np.where(share > 0.0, yhat + share * (after - yhat), yhat)
            yhat = np.clip(yhat * float(learned["unit"]), -LARGEST, LARGEST)
            half_width = self.z_threshold * float(learned["deviation"]) * float(learned["unit"])
            half = np.maximum(np.maximum(half_width, 1e-9 * np.abs(yhat)), 1e-12)
            return {
                "yhat": yhat,
                "yhat_lower": np.clip(yhat - half, -LARGEST, LARGEST),
                "yhat_upper": np.clip(yhat + half, -LARGEST, LARGEST),
            }

    def _forecast(self, learned: Mapping[str, Array], horizon: FloatArray) -> FloatArray:
        """Return the forecasts a whole number of points ahead."""
        arguments = self._arguments
        level, trend, season = float(learned["level"]), float(learned["trend"]), learned["season"]
        yhat = np.full(horizon.shape, level)
        if arguments.get("trend") is not None:
            travelled = _damped(horizon, float(learned["damping"]))
            is_factor = str(arguments["trend"]).startswith("mul")
            yhat = yhat * trend**travelled if is_factor else yhat + trend * travelled
        if len(season):
            of_phase = season[horizon.astype(np.int64) % len(season)]
            is_factor = str(arguments["seasonal"]).startswith("mul")
            yhat = yhat * of_phase if is_factor else yhat + of_phase
        power = float(learned["box_cox"])
        return yhat if math.isnan(power) else _inverse_box_cox(yhat, power)


def _constructor() -> Any:
    module = required("statsmodels.tsa.holtwinters", "the model class holtwinters", "statsmodels")
    return module.ExponentialSmoothing


def _learned(fitted: Any, n_periods: int) -> dict[str, Any]:
    """Return what forecasts start from.

    Raises
    ------
    ValueError
        The fit gave something that is not finite.
    """
    damping, power = fitted.params["damping_trend"], fitted.params["lamda"]
    found: dict[str, Any] = {
        "level": float(fitted.level[-1]),
        "trend": float(fitted.trend[-1]),
        "damping": 1.0 if damping is None or math.isnan(damping) else float(damping),
        "box_cox": math.nan if power is None else float(power),
        "deviation": float(np.std(fitted.resid)),
        # As in statsmodels, the last sample does not move the season of its own phase.
        "season": np.array(fitted.season[-n_periods - 1 : -1] if n_periods else [], np.float64),
    }
    numbers = [found[name] for name in ("level", "trend", "deviation")]
    if not (np.isfinite(numbers).all() and np.isfinite(found["season"]).all()):
        raise ValueError("statsmodels found no finite parameters")
    return found


def _on_grid(timestamps: IntArray, values: FloatArray, spacing: float) -> FloatArray:
    """Return the means around the points of a grid that begins with the first timestamp.

    Points of the grid around which there is nothing are interpolated.

    Examples
    --------
    >>> _on_grid(np.array([0, 10, 20, 50]), np.array([1.0, 2.0, 3.0, 6.0]), 10.0)
    array([1., 2., 3., 4., 5., 6.])
    """
    place = np.floor((timestamps - timestamps[0]) / spacing + 0.5).astype(np.int64)
    n_points = int(place[-1]) + 1
    if n_points > _MOST_POINTS:
        raise SkippedError(f"a grid of {n_points} points; set a frequency that is not so fine")
    counts = np.bincount(place, minlength=n_points)
    known = np.flatnonzero(counts)
    # Divided first, as the sum may be infinite.
    sums = np.bincount(place, values / counts[place], minlength=n_points)
    return np.interp(np.arange(n_points), known, sums[known])


def _unit(samples: FloatArray) -> float:
    """Return a power of 2, to divide samples by whose squares would overflow or vanish; else 1."""
    largest = float(np.abs(samples).max())
    if 1e-100 < largest < 1e100:
        return 1.0
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1022), 1023))


def _damped(horizon: FloatArray, damping: float) -> FloatArray:
    """Return the sum of the powers of `damping` from 1 to `horizon`."""
    if damping == 1.0:
        return horizon
    result: FloatArray = damping * (1.0 - damping**horizon) / (1.0 - damping)
    return result


def _inverse_box_cox(values: FloatArray, power: float) -> FloatArray:
    if power == 0.0:
        return np.exp(values)
    return np.maximum(power * values + 1.0, 0.0) ** (1.0 / power)


def _as_count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _n_periods(
    seasonality: float, spacing: float, error: type[ConfigError] | type[SkippedError]
) -> int:
    """Return the points in a season, a whole number of 2 or more."""
    periods = seasonality / spacing
    if periods >= 2 and periods.is_integer():
        return int(periods)
    problem = (
        f"{Duration(int(seasonality))} is not a multiple of {Duration(int(spacing))}, "
        "the distance of the points, by 2 or more; change it, or set frequency"
    )
    if error is ConfigError:
        raise wrong_value(("seasonality",), problem)
    raise SkippedError(f"seasonality: {problem}")
