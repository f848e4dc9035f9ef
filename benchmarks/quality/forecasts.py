"""How good the forecasts of `temporal_envelope` are: `python -m benchmarks.quality.forecasts`.

On the generated series without incidents, and those of the Numenta Anomaly Benchmark where it is
named, the model is fitted on the fit window and forecasts every point of the rest as the service
would. The mean absolute error is compared with that of two naive forecasts, the last sample and
the sample of a season before the time that is forecast (a day, a week), as a ratio: below 1 is
better than the better one of them. Coverage is the share of samples in bands that should hold 50
and 95 percent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.quality.generate import DAY, HOUR, generate
from benchmarks.quality.labelled import LabelledSeries
from benchmarks.quality.nab import read_nab
from vmanomaly.config.model import TemporalEnvelopeSection
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
    nab = parser.parse_args().nab
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
        # What is known when the forecast is made: the sample before.
        naive = [
            _at(series, batch.timestamps + back)
            for back in (-series.step, horizon - DAY, horizon - 7 * DAY)
        ]
        errors = [np.nanmean(np.abs(truth - guess)) for guess in naive if np.isfinite(guess).any()]
        ratio = float(np.mean(np.abs(truth - yhat)[known]) / max(min(errors), 1e-12))
    return [ratio, *covered]


def _at(series: LabelledSeries, timestamps: IntArray) -> FloatArray:
    """Return the samples at the timestamps, NaN where there is none."""
    columns = np.searchsorted(series.timestamps, timestamps)
    columns = np.minimum(columns, len(series.timestamps) - 1)
    found = series.timestamps[columns] == timestamps
    return np.where(found, series.values[columns], np.nan)


if __name__ == "__main__":
    main()
