"""The key `args` of the model `prophet`, and how much its fit may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmanomaly.config.problems import Findings, Path, expectation, wrong_value
from vmanomaly.model.library.arguments import Bounds, check_arguments

_BOUNDS = {
    "n_changepoints": Bounds(0, 10_000),
    "mcmc_samples": Bounds(0, 10_000),
    "uncertainty_samples": Bounds(0, 10_000, others=(bool,)),
    "interval_width": Bounds(0, 1, whole=False),
}
_ORDERS = ("yearly_seasonality", "weekly_seasonality", "daily_seasonality")
_ORDER = Bounds(0, 1000)
_WINDOWS = ("lower_window", "upper_window")
_WINDOW = Bounds(-366, 366, others=(str, type(None)))
_MOST_TERMS = 20_000


def check_prophet_arguments(args: Mapping[str, Any], constructor: type) -> None:
    """Check `args`: their names, and the numbers that Prophet itself takes on trust.

    Parameters
    ----------
    args
        Of the model's section.
    constructor
        `prophet.Prophet`.

    Raises
    ------
    ConfigError
        With every problem there is, at its place.
    """
    check_arguments(args, constructor, also=["country_holidays"], bounds=_BOUNDS)
    if not args.get("uncertainty_samples", True):
        raise wrong_value(("args", "uncertainty_samples"), "there are no bounds without samples")
    findings = Findings()
    for name in _ORDERS:
        value = args.get(name, "auto")
        if value != "auto" and not _ORDER.hold(_as_order(value)):
            place: Path = ("args", name)
            findings.error(
                place, expectation(f"expected auto, true, false or {_ORDER}", place, value)
            )
    for position, day in _listed_days(args):
        for name in _WINDOWS:
            if name in day and not _WINDOW.hold(day[name]):
                place = ("args", "holidays", position, name)
                findings.error(place, expectation(f"expected {_WINDOW}", place, day[name]))
    if findings.problems:
        raise findings.as_error()


def check_terms(args: Mapping[str, Any], n_waves: int) -> None:
    """Check that there are not too many terms to fit.

    A fit needs memory for their number times that of the points.

    Parameters
    ----------
    args
        Of the model's section, after `check_prophet_arguments`.
    n_waves
        The sines and cosines of all seasons.

    Raises
    ------
    ConfigError
        There are too many.
    """
    windows: dict[str, tuple[int, int]] = {}
    for _, day in _listed_days(args):
        lower, upper = windows.get(str(day.get("holiday")), (0, 0))
        first, last = (_as_days(day.get(name)) for name in _WINDOWS)
        windows[str(day.get("holiday"))] = min(lower, first), max(upper, last)
    n_terms = n_waves + sum(upper - lower + 1 for lower, upper in windows.values())
    if n_terms > _MOST_TERMS:
        raise wrong_value(
            ("args", "holidays") if n_waves <= _MOST_TERMS else ("seasonalities",),
            f"seasons and holidays have {n_terms:,} terms together, more than {_MOST_TERMS:,}; "
            "lower fourier_order, or shorten the windows of the holidays",
        )


def _listed_days(args: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the items of the key `holidays` that may be days, with their positions."""
    days = args.get("holidays")
    listed = enumerate(days) if isinstance(days, list | tuple) else ()
    return [(position, day) for position, day in listed if isinstance(day, Mapping)]


def _as_order(value: object) -> object:
    """Read an order as Prophet does: `true` and text are numbers too."""
    try:
        return int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return value


def _as_days(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
