"""What is searched: for every class, the keys that are tuned and the values that they may take.

All values are ones that a person would write. So series that are tuned alike have equal
parameters, and are scored together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from vmanomaly.config.values.mappings import leaf_paths

Option: TypeAlias = Mapping[str, Any]
"""Keys of a class and their values; several keys where they belong together."""

_DAY = 86_400_000
_HOUR = 3_600_000
_CYCLES = 2


@dataclass(frozen=True)
class Dimension:
    """Values of one key, or of some keys that belong together.

    Attributes
    ----------
    name
        Of the dimension, unique in a space.
    options
        What may be chosen.
    default
        The number of the option that is the default of the class, or where it starts.
    is_ordered
        Whether neighbouring options are similar.
    """

    name: str
    options: tuple[Option, ...]
    default: int
    is_ordered: bool = True


@dataclass(frozen=True)
class Facts:
    """What is known of the data before the search.

    Attributes
    ----------
    step
        Milliseconds between two points.
    n_points
        The points that each fit of the validation learns from.
    tz
        IANA name of the zone of calendar patterns.
    limit
        The largest share of anomalies.
    spread
        Of the values, as `objective.spreads` measures it.
    profile
        What the series are like, as the characteristics of the API say; None where that is
        unknown, or is not to be used.
    """

    step: int
    n_points: int
    tz: str = "UTC"
    limit: float = 0.0
    spread: float = 1.0
    profile: Mapping[str, Any] | None = None

    def covers(self, cycle: int) -> bool:
        """Tell whether the points cover a cycle of so many milliseconds twice, in many steps."""
        return self.n_points * self.step >= _CYCLES * cycle and cycle >= 4 * self.step

    def may_have(self, pattern: str) -> bool:
        """Tell whether there may be a pattern: `hod`, `dow` or `month`."""
        if self.profile is None or pattern in self.profile["not_measured"]:
            return True
        return bool(self.profile["seasonalities"][pattern]["share"] > 0)


def space_of(
    class_name: str, facts: Facts, frozen: Mapping[str, Any], business: Sequence[str] = ()
) -> tuple[Dimension, ...]:
    """Return what is searched for a class.

    Parameters
    ----------
    class_name
        The canonical name of the class.
    facts
        What is known of the data.
    frozen
        Keys that are not tuned, and all that belongs to them.
    business
        Policies that are tuned too.

    Examples
    --------
    >>> facts = Facts(step=60_000, n_points=2000)
    >>> [each.name for each in space_of("mad_online", facts, {"decay": 1.0})]
    ['threshold']
    """
    dimensions = [*_SPACES[class_name](facts), *_business(facts, business)]
    kept_back = list(leaf_paths(frozen))
    return tuple(
        each
        for each in dimensions
        if len(each.options) > 1
        and not any(
            _overlap(path, other)
            for option in each.options
            for path in leaf_paths(option)
            for other in kept_back
        )
    )


def _overlap(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


def _key(name: str, values: Sequence[Any], default: Any, is_ordered: bool = True) -> Dimension:
    options = tuple(_at(name, value) for value in values)
    return Dimension(name, options, list(values).index(default), is_ordered)


def _at(name: str, value: Any) -> Option:
    """Return the option that sets one key; a dot leads into a mapping.

    Examples
    --------
    >>> _at("args.n_estimators", 50)
    {'args': {'n_estimators': 50}}
    """
    first, dot, rest = name.partition(".")
    return {first: _at(rest, value) if dot else value}


def _steps(first: float, last: float, step: float) -> list[float]:
    """Return evenly spaced values, both ends included.

    Examples
    --------
    >>> _steps(1.0, 2.0, 0.25)
    [1.0, 1.25, 1.5, 1.75, 2.0]
    """
    count = round((last - first) / step) + 1
    return [round(first + i * step, 6) for i in range(count)]


_DECAY = _key("decay", [0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 1.0], 1.0)
_Z_THRESHOLD = _key("z_threshold", _steps(1.5, 6.0, 0.25), 2.5)
_THRESHOLD = _key("threshold", _steps(1.5, 8.0, 0.25), 2.5)
_QUANTILES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25)


def _zscore(facts: Facts) -> list[Dimension]:
    return [_Z_THRESHOLD, _DECAY]


def _mad(facts: Facts) -> list[Dimension]:
    return [_THRESHOLD, _DECAY]


def _quantile(facts: Facts) -> list[Dimension]:
    seasons: list[Option] = [{}]
    if facts.covers(_DAY) and (facts.may_have("hod") or facts.may_have("dow")):
        seasons.append({"seasonal_interval": "1d", "min_subseason": "1h"})
    if facts.covers(7 * _DAY) and facts.may_have("dow"):
        seasons.append({"seasonal_interval": "7d", "min_subseason": "1h"})
        seasons.append({"seasonal_interval": "7d", "min_subseason": "1d"})
    dimensions = [
        _key("quantiles", [[q, 0.5, round(1 - q, 6)] for q in _QUANTILES], [0.01, 0.5, 0.99]),
        _key("iqr_threshold", _steps(0.0, 4.0, 0.25), 0.0),
        Dimension("season", tuple(seasons), 0, is_ordered=False),
        _DECAY,
    ]
    if len(seasons) > 1:
        dimensions.append(_key("global_smoothing", _steps(0.0, 0.8, 0.1), 0.0))
    return dimensions


def _rolling_quantile(facts: Facts) -> list[Dimension]:
    longest = max(10, facts.n_points // 2)
    windows = [10, 20, 30, 60, 120, 180, 360, 720, 1440]
    return [
        _key("quantile", [0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 1.0], 0.9),
        _key("window_steps", [n for n in windows if n <= longest or n == 60], 60),
        _key("iqr_threshold", _steps(0.0, 4.0, 0.25), 0.0),
    ]


def _envelope(facts: Facts) -> list[Dimension]:
    return [
        _key("iqr_threshold", _steps(1.0, 4.0, 0.25), 2.0),
        _key("alpha", [0.0025, 0.005, 0.01, 0.015, 0.02], 0.005),
        _key("loss_reactivity", _steps(1.0, 5.0, 0.5), 5.0),
        _key("changepoint_window", [4, 8, 16, 32, 64], 16),
        _seasonalities(facts),
    ]


def _seasonalities(facts: Facts) -> Dimension:
    default = ("hod_smooth", "dow_smooth")
    found: list[tuple[str, ...]] = [default, ()]
    hours = [shape for shape in ("smooth", "spiky", "plateau") if facts.covers(_DAY)]
    days = [shape for shape in ("smooth", "plateau") if facts.covers(7 * _DAY)]
    if facts.profile is not None:
        found.append(tuple(facts.profile["seasonalities"]["recommended"]))
    if facts.may_have("hod"):
        found += [(f"hod_{shape}",) for shape in hours]
        if facts.may_have("dow"):
            found += [(f"hod_{hour}", f"dow_{day}") for hour in hours for day in days]
    elif facts.may_have("dow"):
        found += [(f"dow_{day}",) for day in days]
    options = tuple({"seasonalities": list(names)} for names in dict.fromkeys(found))
    return Dimension("seasonalities", options, 0, is_ordered=False)


def _envelope_multivariate(facts: Facts) -> list[Dimension]:
    return [
        *_envelope(facts),
        _key("score_aggregation", ["max", "mean", "l2"], "l2", is_ordered=False),
        _key("dependency_rank", [0, 1, 2, 4, 8, 16], 8),
    ]


def _holtwinters(facts: Facts) -> list[Dimension]:
    seasons: list[Option] = [{"seasonality": "1d"}]
    if facts.covers(7 * _DAY) and facts.may_have("dow"):
        seasons.append({"seasonality": "7d"})
    seasons.append({"args": {"seasonal": None}})
    return [
        _Z_THRESHOLD,
        Dimension("season", tuple(seasons), 0, is_ordered=False),
        _key("args.trend", [None, "add"], None, is_ordered=False),
    ]


def _prophet(facts: Facts) -> list[Dimension]:
    extra: list[Option] = [{"seasonalities": []}]
    if facts.covers(_HOUR) and facts.step <= _HOUR // 6:
        hourly = {"name": "hourly", "period": 1 / 24, "fourier_order": 3}
        extra.append({"seasonalities": [hourly]})
    if facts.covers(30 * _DAY):
        monthly = {"name": "monthly", "period": 30.5, "fourier_order": 5}
        extra.append({"seasonalities": [monthly]})
    dimensions = [
        _key("args.changepoint_prior_scale", [0.005, 0.01, 0.05, 0.1, 0.5], 0.05),
        _key("args.seasonality_prior_scale", [0.01, 0.1, 1.0, 10.0], 10.0),
        _key("args.interval_width", [0.8, 0.9, 0.95, 0.98, 0.99, 0.995], 0.8),
        _key("args.seasonality_mode", ["additive", "multiplicative"], "additive", False),
        Dimension("seasonalities", tuple(extra), 0, is_ordered=False),
    ]
    if facts.tz != "UTC":
        civil: list[Option] = [{"tz_aware": False, "tz_seasonalities": []}]
        names = [("hod", 5)] * facts.covers(_DAY) + [("dow", 3)] * facts.covers(7 * _DAY)
        if names:
            seasons = [{"name": name, "fourier_order": order} for name, order in names]
            civil.append({"tz_aware": True, "tz_seasonalities": seasons})
        dimensions.append(Dimension("tz_seasonalities", tuple(civil), 0, is_ordered=False))
    return dimensions


def _isolation_forest(facts: Facts) -> list[Dimension]:
    shares = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4]
    contamination = ["auto", *(share for share in shares if share <= facts.limit)]
    features: list[list[str]] = [[]]
    if facts.covers(_DAY) and facts.may_have("hod"):
        features.append(["hod"])
    if facts.covers(7 * _DAY) and facts.may_have("dow"):
        features += [["dow"], ["hod", "dow"]]
    return [
        _key("contamination", contamination, "auto", is_ordered=False),
        _key("args.n_estimators", [50, 100, 200], 100),
        _key("seasonal_features", features, [], is_ordered=False),
    ]


_SPACES: Mapping[str, Callable[[Facts], list[Dimension]]] = {
    "zscore_online": _zscore,
    "mad_online": _mad,
    "quantile_online": _quantile,
    "rolling_quantile": _rolling_quantile,
    "std": _zscore,
    "temporal_envelope": _envelope,
    "temporal_envelope_multivariate": _envelope_multivariate,
    "holtwinters": _holtwinters,
    "prophet": _prophet,
    "isolation_forest": _isolation_forest,
    "isolation_forest_multivariate": _isolation_forest,
}


def _business(facts: Facts, names: Sequence[str]) -> list[Dimension]:
    """Return the policies that are tuned; deviations in units of the spread, and in percent."""
    absolute = [float(f"{share * facts.spread:.3g}") for share in (0.0, 0.25, 0.5, 1.0, 2.0)]
    known = {
        "detection_direction": _key(
            "detection_direction",
            ["both", "above_expected", "below_expected"],
            "both",
            is_ordered=False,
        ),
        "min_dev_from_expected": _key("min_dev_from_expected", absolute, 0.0),
        "min_rel_dev_from_expected": _key(
            "min_rel_dev_from_expected", [0.0, 5.0, 10.0, 20.0, 50.0], 0.0
        ),
    }
    return [known[name] for name in dict.fromkeys(names)]


def start_of(space: Sequence[Dimension]) -> tuple[int, ...]:
    """Return the numbers of the options that are the defaults of the class."""
    return tuple(dimension.default for dimension in space)


def combinations(space: Sequence[Dimension]) -> int:
    """Return how many parameter sets there are."""
    return int(np.prod([len(dimension.options) for dimension in space], dtype=np.float64))
