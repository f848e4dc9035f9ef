"""The temporal envelope: level, trend, calendar, holidays, level shifts and forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vmanomaly.config.model import BEYOND_LEVELS, DRIFT, DRIFT_SCORE, FLATLINE_SCORE
from vmanomaly.config.values.duration import Duration
from vmanomaly.model.online import OnlineModel, Points
from vmanomaly.model.state import Column, SeriesState, records
from vmanomaly.model.temporal_envelope.calendar import (
    ALL_HOLIDAYS,
    ONE_HOLIDAY,
    PATTERNS,
    Pattern,
    Places,
    Profiles,
    places_of,
    profiles_of,
)
from vmanomaly.model.temporal_envelope.columns import envelope_columns, envelopes_of
from vmanomaly.model.temporal_envelope.counters import (
    COUNTER,
    expect_counters,
    growth_of,
    recognise_counters,
    with_rates,
)
from vmanomaly.model.temporal_envelope.fit import fit_rows
from vmanomaly.model.temporal_envelope.learn import Rates
from vmanomaly.model.temporal_envelope.walk import NO_TRACES, Evidence, walk_rows
from vmanomaly.series import FloatArray, IntArray, SeriesBatch

if TYPE_CHECKING:
    from vmanomaly.config.model import Holidays


@dataclass(frozen=True, kw_only=True)
class TemporalEnvelopeModel(OnlineModel):
    r"""An expected range that follows trend, calendar, holidays and level shifts.

    Expected is the sum of a level with a trend and of calendar profiles,

    .. math:: \hat y_t = \ell_{t-1} + b_{t-1} + \sum_p s_p(t)

    and the bounds are quantiles of the residuals, widened by `iqr_threshold` times the distance
    of their quartiles, or more where the residuals have heavy tails. With the residual
    :math:`e_t = y_t - \hat y_t`, bounded to
    :math:`\pm \tfrac12 loss\_reactivity \cdot \sigma`, a sample is learned as follows.

    - **Level and trend** [1]_: :math:`\ell` moves by `alpha` times the bounded residual, and the
      trend by :math:`alpha^2 / 4` times it.
    - **Profiles**: the period of each pattern is divided into bins, between whose middles a
      smooth one is interpolated. A bin is the mean of the bounded residuals of a level that
      follows over a day, with a few visits without effect added; so it is small until it was
      visited often.
    - **Scale**: :math:`\sigma` is the larger of the quartiles' distance / 1.349 and 1.2533 times
      the mean absolute residual. Quantiles are tracked by stochastic approximation [2]_, upper and
      lower apart.
    - **Tails**: a bound that is exceeded again and again within weeks widens, and narrows in quiet
      weeks, so that alarms stay rare whatever the distribution of the noise [3]_. One event changes
      nothing, and a giant among smaller ones little. It is never nearer than normal noise reaches
      once in two weeks.
    - **Runs**: how far two samples in a row, and eight of twelve, reach together is learned in the
      same way. Where the last samples are beyond such a limit, so that another one would complete
      the run, the limit is the bound [5]_.
    - **Flatlines**: how long the value has not moved is compared with how long it usually does
      not; the score of this is an output, and evidence of an incident.
    - **Drift**: how far the level is from one that follows over a day is compared with how far it
      ever was; the score of this is an output, and evidence of an incident.
    - **Counters**: a series that only grows, and from 0 again after a restart, is learned by its
      rate, and expected to grow from its last sample, in a micro-batch too; not if forecasts are
      asked for.
    - **Level shift**: when `changepoint_window` consecutive residuals lie on one side, with a mean
      beyond :math:`3.7 \sigma`, level and scale are taken from them and the profiles are kept.
      From then on the range covers the level before as well, and `yhat` goes over to the new one
      in about eight windows; if samples return to the level before, it is back at once. A new
      level without noise is an outage, in which nothing but the level is learned.

    A fit goes over its window twice, the second time with the profiles of the first. What the
    residuals reach once in two weeks is then extrapolated [4]_ from those of their largest values
    that recur more often than twice a week.

    A forecast is the level, the trend, which dies down, the profiles of that time, and the share
    of the last few residuals that has been left after so long. Its bounds are those of
    the errors of earlier forecasts, one of which is always waiting for its time to come.

    Parameters
    ----------
    quantiles
        Two probabilities of residuals: what the bounds are widened from.
    iqr_threshold
        Distances of the quartiles that are added on both sides, >= 0.
    alpha
        Reactivity of level and trend, per sample, in (0, 1].
    loss_reactivity
        How far a residual counts, in half standard deviations, > 0.
    changepoint_window
        Consecutive residuals on one side that are a new level.
    seasonalities
        Names of `PATTERNS`.
    holidays
        Days that have a profile of their own.
    forecast_at
        How far ahead forecasts are made, such as `1h`.
    decay
        Weight of the past, per sample learned, in (0, 1]; a floor of all reactivities.
    min_n_samples_seen
        Samples needed before scores count.
    tz
        IANA name of the time zone of the query.

    References
    ----------
    .. [1] S. Gelper, R. Fried, C. Croux, "Robust forecasting with exponential and Holt-Winters
       smoothing", Journal of Forecasting 29(3), 2010.
    .. [2] H. Robbins, S. Monro, "A stochastic approximation method", Annals of Mathematical
       Statistics 22(3), 1951.
    .. [3] I. Gibbs, E. Candes, "Adaptive conformal inference under distribution shift", NeurIPS
       2021.
    .. [4] A. Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017.
    .. [5] C. W. Champ, W. H. Woodall, "Exact results for Shewhart control charts with supplementary
       runs rules", Technometrics 29(4), 1987.

    Examples
    --------
    >>> from vmanomaly.config.model import Holidays
    >>> from vmanomaly.series import Labels, SeriesBatch
    >>> model = TemporalEnvelopeModel(
    ...     quantiles=(0.25, 0.75), iqr_threshold=2.0, alpha=0.005, loss_reactivity=5.0,
    ...     changepoint_window=16, seasonalities=(), holidays=Holidays(), forecast_at=("1h",),
    ...     decay=1.0, min_n_samples_seen=16, tz="UTC",
    ... )
    >>> labels, minutes = (Labels({"job": "api"}),), 60_000 * np.arange(1000)
    >>> noise = np.random.default_rng(0).normal(50.0, 1.0, (1, 1000))
    >>> state = model.fit(SeriesBatch(labels, minutes, noise))
    >>> present = SeriesBatch(labels, minutes[-1:] + 60_000, np.array([[58.0]]))
    >>> answer = model.infer(state, present, np.array([0])).outputs
    >>> {name: round(answer[name].item()) for name in ("yhat_lower", "yhat", "yhat_upper")}
    {'yhat_lower': 44, 'yhat': 50, 'yhat_upper': 54}
    """

    quantiles: tuple[float, ...]
    iqr_threshold: float
    alpha: float
    loss_reactivity: float
    changepoint_window: int
    seasonalities: tuple[str, ...]
    holidays: Holidays
    forecast_at: tuple[str, ...]
    tz: str

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Everything that `provide_series` may ask for; a class cannot know the forecasts."""
        return (*OnlineModel.outputs, FLATLINE_SCORE, DRIFT_SCORE, DRIFT, *self._forecast_names)

    @property
    def default_outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What is written when `provide_series` is not given."""
        return (*OnlineModel.default_outputs, *self._forecast_names)

    @property
    def _forecast_names(self) -> tuple[str, ...]:
        sides = ("yhat", "yhat_lower", "yhat_upper")
        return tuple(f"{side}_{offset}" for offset in self.forecast_at for side in sides)

    @cached_property
    def _horizons(self) -> FloatArray | None:
        if not self.forecast_at:
            return None
        return np.array([Duration.parse(offset) for offset in self.forecast_at], np.float64)

    @cached_property
    def _days(self) -> Mapping[str, IntArray]:
        chosen = self.holidays
        if not (chosen.countries or chosen.special_events):
            return {}
        from vmanomaly.model.temporal_envelope.special_days import special_days  # noqa: PLC0415 - slow to import

        return special_days(chosen.countries, chosen.special_events, group=chosen.group)

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """What repeats with the calendar: `seasonalities`, then holidays."""
        holiday = ALL_HOLIDAYS if self.holidays.group else ONE_HOLIDAY
        return (*(PATTERNS[name] for name in self.seasonalities), *(holiday for _ in self._days))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The envelope, 8 bytes for a bin of the profiles, 80 for a forecast, and the counter."""
        return envelope_columns(
            sum(pattern.n_bins for pattern in self.patterns),
            np.empty(0) if self._horizons is None else self._horizons,
            max((pattern.most_visits for pattern in self.patterns), default=0.0),
        )

    @property
    def _rates(self) -> Rates:
        return Rates(
            self.alpha,
            self.loss_reactivity,
            self.changepoint_window,
            self.iqr_threshold,
            self.quantiles[0],
            self.quantiles[1],
            1.0 - self.decay,
        )

    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch, in two passes, and return the state."""
        state = self.blank_state()
        points, _, _ = self._observe(state, batch, np.zeros(1, np.int64), predicted=False)
        if self._horizons is None:
            recognise_counters(points, records(state["counter"], COUNTER))
        growth = growth_of(points, records(state["counter"], COUNTER))
        profiles, places = self._calendar(points.timestamps)
        learned = with_rates(points, growth)
        fit_rows(learned, profiles, places, self._rates, self._horizons, envelopes_of(state))
        return state

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        growth = growth_of(points, records(state["counter"], COUNTER))
        bounds = points.blank_bounds()
        evidence = Evidence.blank(points)
        forecasts = np.full((len(self.forecast_at), 3, *points.values.shape), np.nan)
        profiles, places = self._calendar(points.timestamps)
        walk_rows(
            with_rates(points, growth),
            profiles,
            places,
            self._rates,
            self._horizons,
            envelopes_of(state),
            bounds,
            evidence,
            forecasts,
            NO_TRACES,
        )
        expect_counters(points, growth, bounds, evidence.drifts)
        of_each = (side for forecast in forecasts for side in forecast)
        named = dict(zip(self._forecast_names, of_each, strict=True))
        others = {
            FLATLINE_SCORE: evidence.flatlines,
            DRIFT_SCORE: evidence.drift_scores,
            DRIFT: evidence.drifts,
            BEYOND_LEVELS: evidence.beyond_levels,
        }
        return bounds._asdict() | others | named

    def _calendar(self, timestamps: IntArray) -> tuple[Profiles, Places]:
        """Return the profiles, and where the timestamps and those forecast at them lie."""
        horizons = () if self._horizons is None else self._horizons
        ahead = [timestamps + int(horizon) for horizon in horizons]
        times = np.concatenate([timestamps, *ahead])
        return (
            profiles_of(self.patterns),
            places_of(self.patterns, times, self.tz, tuple(self._days.values())),
        )
