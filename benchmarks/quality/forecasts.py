"""How good the forecasts of `temporal_envelope` are: `python -m benchmarks.quality.forecasts`.

On the generated series without incidents, and those of the Numenta Anomaly Benchmark where it is
named, the model is fitted on the fit window and forecasts every point of the rest as the service
would. The mean absolute error is compared with that of two naive forecasts, the last sample and
the sample of a season before the time that is forecast (a day, a week), as a ratio: below 1 is
better than the better one of them. Coverage is the share of samples in bands that should hold 50
and 95 percent.

With `--prophet` the same ratio is given for Prophet with its defaults, which must be installed. It
does not learn between fits, so it is refitted every day, on at most two weeks; a forecast is of
the last fit that is old enough. Of each family every fourth series is taken.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.quality.generate import DAY, HOUR, generate
from benchmarks.quality.labelled import LabelledSeries
from benchmarks.quality.nab import read_nab
from vmanomaly.config.model.temporal_envelope import TemporalEnvelopeSection
from vmanomaly.config.reader import Query
from vmanomaly.model import Model, create_model
from vmanomaly.scheduler.run import micro_batch_starts
from vmanomaly.series import FloatArray, IntArray

HORIZONS = {"1h": HOUR, "1d": DAY}
BANDS = {50: (0.25, 0.75), 95: (0.025, 0.975)}
QUERY = Query.model_validate({"alias": "labelled", "expr": "labelled", "step": "5m"})


def main() -> None:
    """Print a line for each family and horizon."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.forecasts")
    parser.add_argument("--nab", type=Path, help="folder of the Numenta Anomaly Benchmark")
    parser.add_argument("--prophet", action="store_true", help="measure Prophet too, on a part")
    arguments = parser.parse_args()
    nab = arguments.nab
    series = [item for item in generate() if item.family == "quiet"]
    series = [item for item in series if 2 * item.step <= HORIZONS["1h"]]
    if nab is not None:
        series += read_nab(nab)
    models = {band: _model(quantiles) for band, quantiles in BANDS.items()}
    print(f"{'':32}{'n':>4}{'horizon':>9}{'error':>8}{'in 50 %':>9}{'in 95 %':>9}")
    for name, members in _families(series).items():
        for offset in HORIZONS:
            judged = np.array([_judge(models, item, offset) for item in members])
            error, half, most = np.nanmedian(judged, axis=0)
            print(f"{name:32}{len(members):4}{offset:>9}{error:8.2f}{half:9.1%}{most:9.1%}")
        if arguments.prophet:
            some = members[::4]
            for offset in HORIZONS:
                ours = np.nanmedian([_judge(models, item, offset)[0] for item in some])
                theirs = np.nanmedian([_prophet_error(item, offset) for item in some])
                print(
                    f"  {len(some)} of them{'':22}{offset:>9}{ours:8.2f}, Prophet {theirs:.2f}",
                    flush=True,
                )


def _families(series: Iterable[LabelledSeries]) -> dict[str, list[LabelledSeries]]:
    families: dict[str, list[LabelledSeries]] = {}
    for item in series:
        base = item.name.partition("-")[0] if item.source == "generated" else item.family
        families.setdefault(f"{item.source} {base}", []).append(item)
    return families


def _model(quantiles: tuple[float, float]) -> Model:
    section = TemporalEnvelopeSection.model_validate(
        {
            "class": "temporal_envelope",
            "quantiles": list(quantiles),
            "iqr_threshold": 0,
            "forecast_at": list(HORIZONS),
        }
    )
    return create_model(section, QUERY)


def _judge(models: dict[int, Model], series: LabelledSeries, offset: str) -> list[float]:
    """Return the ratio of the errors, and the share of samples in each band."""
    horizon = HORIZONS[offset]
    covered = []
    ratio = np.nan
    for model in models.values():
        state = model.fit(series.batch(0, series.n_fit))
        batch = series.batch(series.n_fit, len(series.timestamps))
        starts = micro_batch_starts(batch.timestamps, series.step, int(series.timestamps[0]))
        outputs = model.infer(state, batch, starts).outputs
        yhat, lower, upper = (
            outputs[f"{name}_{offset}"][0] for name in ("yhat", "yhat_lower", "yhat_upper")
        )
        truth = _at(series, batch.timestamps + horizon)
        known = np.isfinite(truth)
        if not known.any():
            return [np.nan] * (1 + len(models))
        inside = (truth >= lower) & (truth <= upper)
        covered.append(float(inside[known].mean()))
        error = np.mean(np.abs(truth - yhat)[known])
        ratio = float(error / _naive_error(series, batch.timestamps, horizon))
    return [ratio, *covered]


def _naive_error(series: LabelledSeries, made: IntArray, horizon: int) -> float:
    """Return the error of the better naive forecast of those made at some times."""
    truth = _at(series, made + horizon)
    # What is known when the forecast is made: the sample before.
    naive = [_at(series, made + back) for back in (-series.step, horizon - DAY, horizon - 7 * DAY)]
    errors = [np.nanmean(np.abs(truth - guess)) for guess in naive if np.isfinite(guess).any()]
    return max(float(min(errors)), 1e-12)


def _prophet_error(series: LabelledSeries, offset: str) -> float:
    """Return the ratio of Prophet's error to that of the better naive forecast."""
    import pandas as pd  # noqa: PLC0415 - only where it is asked for
    from prophet import Prophet  # noqa: PLC0415

    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    horizon = HORIZONS[offset]
    stamps, values = series.timestamps, series.values
    truths, forecasts = [], []
    for cut in range(series.n_fit, len(stamps), DAY // series.step):
        ahead = (stamps >= stamps[cut - 1] + horizon) & (stamps < stamps[cut - 1] + horizon + DAY)
        past = slice(max(cut - 14 * DAY // series.step, 0), cut)
        frame = pd.DataFrame({"ds": pd.to_datetime(stamps[past], unit="ms"), "y": values[past]})
        if not ahead.any() or frame["y"].notna().sum() < 2:
            continue
        model = Prophet().fit(frame)
        future = pd.DataFrame({"ds": pd.to_datetime(stamps[ahead], unit="ms")})
        forecasts.append(model.predict(future)["yhat"].to_numpy())
        truths.append(values[ahead])
    if not truths:
        return np.nan
    error = np.nanmean(np.abs(np.concatenate(truths) - np.concatenate(forecasts)))
    return float(error) / _naive_error(series, stamps[series.n_fit :], horizon)


def _at(series: LabelledSeries, timestamps: IntArray) -> FloatArray:
    """Return the samples at the timestamps, NaN where there is none."""
    columns = np.searchsorted(series.timestamps, timestamps)
    columns = np.minimum(columns, len(series.timestamps) - 1)
    found = series.timestamps[columns] == timestamps
    return np.where(found, series.values[columns], np.nan)


if __name__ == "__main__":
    main()
