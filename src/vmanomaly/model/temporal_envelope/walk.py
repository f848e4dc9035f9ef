"""Many points of many series of the temporal envelope, predicted and learned."""

from __future__ import annotations

import math

from vmanomaly.kernel import kernel
from vmanomaly.model.temporal_envelope.calendar import Places, Profiles
from vmanomaly.model.temporal_envelope.forecast import forecast, learn_forecast
from vmanomaly.model.temporal_envelope.learn import (
    LEARNED,
    STEP,
    Rates,
    bounds,
    learn_one,
    profile_at,
)
from vmanomaly.series import FloatArray, IntArray, SingleArray


@kernel
def walk_rows(
    rows: IntArray,
    first: IntArray,
    timestamps: IntArray,
    values: FloatArray,
    starts: IntArray,
    profiles: Profiles,
    places: Places,
    rates: Rates,
    envelopes: FloatArray,
    all_coefficients: SingleArray,
    all_visits: SingleArray,
    horizons: FloatArray,
    all_forecasts: FloatArray,
    forecasts: FloatArray,
    yhat: FloatArray,
    yhat_lower: FloatArray,
    yhat_upper: FloatArray,
) -> None:
    """Predict and learn micro-batch after micro-batch.

    Parameters
    ----------
    rows, first, timestamps, values, starts
        As in `Points`.
    profiles, places, rates
        `places` has T rows for the timestamps, and T more for each of the H horizons.
    envelopes, all_coefficients, all_visits, all_forecasts
        The columns of the state, changed.
    horizons
        Milliseconds from a timestamp to what is forecast at it, float64, shape (H,).
    forecasts
        float64, shape (H, 3, S, T): the forecast and its bounds, written.
    yhat, yhat_lower, yhat_upper
        float64, shape (S, T), written.
    """
    n_series, n_timestamps = values.shape
    for s in range(n_series):
        x = envelopes[rows[s]]
        coefficients, visits = all_coefficients[rows[s]], all_visits[rows[s]]
        for b in range(len(starts)):
            begin = max(starts[b], first[s])
            end = starts[b + 1] if b + 1 < len(starts) else n_timestamps
            if x[LEARNED] > 0.0:
                for t in range(begin, end):
                    profile = profile_at(coefficients, profiles, places, t, x[STEP])
                    yhat[s, t], yhat_lower[s, t], yhat_upper[s, t] = bounds(x, profile, rates)
                    for h in range(len(horizons)):
                        ahead = t + (h + 1) * n_timestamps
                        (
                            forecasts[h, 0, s, t],
                            forecasts[h, 1, s, t],
                            forecasts[h, 2, s, t],
                        ) = forecast(
                            x,
                            all_forecasts[rows[s], h],
                            horizons[h],
                            profile_at(coefficients, profiles, places, ahead, x[STEP]),
                            rates,
                        )
            for t in range(begin, end):
                y = values[s, t]
                if math.isfinite(y):
                    learn_one(
                        x,
                        coefficients,
                        visits,
                        y,
                        float(timestamps[t]),
                        profiles,
                        places,
                        t,
                        rates,
                    )
                    for h in range(len(horizons)):
                        ahead = t + (h + 1) * n_timestamps
                        learn_forecast(
                            x,
                            all_forecasts[rows[s], h],
                            horizons[h],
                            y,
                            float(timestamps[t]),
                            profile_at(coefficients, profiles, places, ahead, x[STEP]),
                            rates,
                        )
