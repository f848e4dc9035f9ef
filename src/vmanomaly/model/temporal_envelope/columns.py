"""What is kept of every series: the columns of the state, and the names of the places in a row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from vmanomaly.model.state import (
    COUNT,
    NOT_NEGATIVE,
    Array,
    Column,
    Range,
    SeriesState,
    ranges_of,
    records,
    width,
)
from vmanomaly.model.temporal_envelope.counters import COUNTER
from vmanomaly.model.temporal_envelope.runs import N_BEFORE, RUNS
from vmanomaly.model.temporal_envelope.tails import TAIL_RANGES, TAILS
from vmanomaly.series import FloatArray, SingleArray

QUANTILES = np.dtype(
    [(name, np.float64) for name in ("lower", "quartile_1", "quartile_3", "upper")], align=True
)
"""Four quantiles of residuals or errors; the outer two are those of `Rates`."""

ENVELOPE = np.dtype(
    [
        ("n_learned", np.float64),
        ("last_time", np.float64),
        ("step", np.float64),
        ("level", np.float64),
        ("slope", np.float64),
        ("residuals", QUANTILES),
        ("deviation", np.float64),
        ("last_sample", np.float64),
        ("change", np.float64),
        ("tails", TAILS),
        ("run_length", np.float64),
        ("run_mean", np.float64),
        ("run_change", np.float64),
        ("shift", np.float64),
        ("shift_age", np.float64),
        ("n_returned", np.float64),
        ("outage", np.float64),
        ("base", np.float64),
        ("fast", np.float64),
        ("usual_change", np.float64),
        ("flat_length", np.float64),
        ("longest_flat", np.float64),
        ("second_flat", np.float64),
        ("flat_share", np.float64),
        ("base_since", np.float64),
        ("drift", TAILS),
        ("runs", RUNS),
    ],
    align=True,
)
"""What is known of a series in addition to its profiles:

- `n_learned`, `last_time`, `step`: the samples learned, when the last one was in Unix
  milliseconds, and the milliseconds between them;
- `level` and its `slope`, per sample;
- `residuals`: their quantiles; `deviation`: their mean absolute value; `tails`: how far they reach
  beyond the quartiles (`learn_tails`); `fast`: the mean of the last few;
- `last_sample`, `change`, `usual_change`: the last sample, and the mean and, more or less, the
  median absolute difference of neighbouring samples;
- `run_length`, `run_mean`, `run_change`: consecutive residuals of one sign, their mean, and the
  mean absolute difference of neighbouring samples among them;
- `shift`, `shift_age`, `n_returned`: from the level to the one before while that may come back,
  the samples since then, and consecutive samples at the level before;
- `outage`: the share of samples without noise, of late, since a shift to a flat level; else 0;
- `base`: a level that follows over a day, from which profiles are learned, `base_since`: when it
  was last set to another, in Unix milliseconds, `drift`: how far the level was from it;
- `flat_length`: consecutive samples that hardly differ from the one before, `longest_flat` and
  `second_flat`: the longest such runs of late, `flat_share`: the share of such samples;
- `runs`: what the last samples say together.
"""

FORECAST = np.dtype(
    [
        ("n_known", np.float64),
        ("fast_squared", np.float64),
        ("fast_and_error", np.float64),
        ("errors", QUANTILES),
        ("due", np.float64),
        ("waiting", np.float64),
        ("waiting_fast", np.float64),
    ],
    align=True,
)
"""What is known of a horizon:

- `n_known`: the forecasts whose time has come, and `errors`: the quantiles of their errors;
- `fast_squared`, `fast_and_error`: the sum of the squares of the last residuals at a forecast, and
  of their products with its error;
- `due`, `waiting`, `waiting_fast`: when the time of the waiting forecast comes, the forecast
  without what the last residuals say, and these when it was made.
"""


class Envelopes(NamedTuple):
    """The columns of a state of R series, as the kernels take them, with their names.

    Attributes
    ----------
    envelope : ndarray of ENVELOPE, shape (R,)
        What is known of a series in addition to its profiles.
    profile, profile_visits : ndarray of float32, shape (R, N)
        The values of the bins of all patterns, and how often they were visited.
    forecast : ndarray of FORECAST, shape (R, H)
        What is known of each horizon.
    """

    envelope: Array
    profile: SingleArray
    profile_visits: SingleArray
    forecast: Array


class Bins(NamedTuple):
    """The bins of the calendar profiles of one series; float32, shape (N,)."""

    values: SingleArray
    visits: SingleArray


_ENVELOPE_RANGES = TAIL_RANGES | {
    "n_learned": COUNT,
    "step": Range(0.0, COUNT.most),
    "deviation": NOT_NEGATIVE,
    "change": NOT_NEGATIVE,
    "run_length": COUNT,
    "run_change": NOT_NEGATIVE,
    "shift_age": COUNT,
    "n_returned": COUNT,
    "outage": Range(0.0, 1.0),
    "usual_change": NOT_NEGATIVE,
    "flat_length": COUNT,
    "longest_flat": COUNT,
    "second_flat": COUNT,
    "flat_share": Range(0.0, 1.0),
    "position": Range(0.0, N_BEFORE - 1.0),
}
_COUNTER_RANGES = {
    "is_counter": Range(0.0, 1.0),
    "last_time": Range(-COUNT.most, COUNT.most),
}
_FORECAST_RANGES = {
    "n_known": Range(0.0, COUNT.most),
    "fast_squared": NOT_NEGATIVE,
    "due": Range(-COUNT.most, COUNT.most),
}


def envelope_columns(
    n_bins: int, horizons: FloatArray, most_visits: float = COUNT.most
) -> tuple[Column, ...]:
    """Return the columns of the state: the envelope, 8 bytes per bin, 80 per horizon, the counter.

    Parameters
    ----------
    n_bins
        Of all patterns.
    horizons
        float64, shape (H,), milliseconds.
    most_visits
        That a bin remembers.
    """
    return (
        Column(
            "envelope",
            np.float64,
            (width(ENVELOPE),),
            within=ranges_of(ENVELOPE, _ENVELOPE_RANGES),
            rule=_envelope_problem,
        ),
        Column("profile", np.float32, (n_bins,), within=Range(-1e38, 1e38)),
        Column(
            "profile_visits",
            np.float32,
            (n_bins,),
            within=Range(0.0, most_visits * (1.0 + 1e-6)),
        ),
        Column(
            "forecast",
            np.float64,
            (len(horizons), width(FORECAST)),
            within=ranges_of(FORECAST, _FORECAST_RANGES),
            rule=partial(_due_problem, horizons=horizons),
        ),
        Column(
            "counter",
            np.float64,
            (width(COUNTER),),
            within=ranges_of(COUNTER, _COUNTER_RANGES),
            rule=_counter_problem,
        ),
    )


def _due_problem(arrays: Mapping[str, Array], horizons: FloatArray) -> str | None:
    last_time = records(arrays["envelope"], ENVELOPE)["last_time"]
    due = records(arrays["forecast"], FORECAST)["due"]
    if ((due > last_time[:, None] + horizons) & (due != 0.0)).any():
        return "a forecast waits for a time that is further away than its horizon"
    return None


def _envelope_problem(arrays: Mapping[str, Array]) -> str | None:
    envelope = records(arrays["envelope"], ENVELOPE)
    n_learned, n_seen = envelope["n_learned"], arrays["n_samples_seen"]
    # Nothing is learned from the first sample of a counter, nor at restarts.
    is_counter = records(arrays["counter"], COUNTER)["is_counter"] > 0.0
    if ((n_learned != n_seen) & ~is_counter | (n_learned > n_seen)).any():
        return "n_learned is not the number of samples that were seen"
    for name in ("last_time", "base_since"):
        if ((n_learned > 0.0) & (envelope[name] > arrays["last_seen"])).any():
            return f"{name} is after the last sample that was seen"
    return None


def _counter_problem(arrays: Mapping[str, Array]) -> str | None:
    counters = records(arrays["counter"], COUNTER)
    is_later = counters["last_time"] > arrays["last_seen"]
    if ((counters["is_counter"] > 0.0) & is_later).any():
        return "last_time is after the last sample that was seen"
    return None


def envelopes_of(state: SeriesState) -> Envelopes:
    """Return the columns as the kernels take them; views, valid as long as those of the state."""
    return Envelopes(
        records(state["envelope"], ENVELOPE),
        state["profile"],
        state["profile_visits"],
        records(state["forecast"], FORECAST),
    )
