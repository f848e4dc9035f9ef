"""`oneoff` from end to end: read from a real server, score, read the scores back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from statsmodels.tsa.seasonal import seasonal_decompose

from tests.integration.servers import (
    Prometheus,
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    free_port,
)
from vmanomaly.series import Labels

FloatArray = NDArray[np.float64]

STEP_S = 60
FIT_START_S = 1_750_000_020
N_FIT = 60
N_INFER = 30
SPIKE = N_FIT + 20
LEVELS = {"a": 10.0, "b": -3.0, "c": 500.0}
OUTPUTS = ("anomaly_score", "yhat", "yhat_lower", "yhat_upper")

# No sample lies on the start of the fit window, and inference starts where the fit ends: each
# sample belongs to one side, whichever end of a window is the open one.
TIMES_S = FIT_START_S + STEP_S * np.arange(1, N_FIT + N_INFER + 1)
INFER_MS = [int(second) * 1000 for second in TIMES_S[N_FIT:]]


def observed(host: str) -> FloatArray:
    """Bounded noise around a level, with one spike; three decimals survive any storage."""
    random = np.random.default_rng(ord(host))
    values = LEVELS[host] + random.uniform(-1, 1, N_FIT + N_INFER)
    values[SPIKE] += 25
    return values.round(3)


def samples(values: FloatArray) -> Samples:
    return [(int(t) * 1000, float(v)) for t, v in zip(TIMES_S, values, strict=True)]


def oneoff(reader_url: str, writer_url: str) -> dict[str, Any]:
    return {
        "reader": {
            "class": "vm",
            "datasource_url": reader_url,
            "sampling_period": f"{STEP_S}s",
            "queries": {"memory": {"expr": 'memory_usage{job="node"}'}},
        },
        "writer": {"class": "vm", "datasource_url": writer_url},
        "schedulers": {
            "once": {
                "class": "oneoff",
                "fit_start_s": FIT_START_S,
                "fit_end_s": FIT_START_S + N_FIT * STEP_S,
                "infer_start_s": FIT_START_S + N_FIT * STEP_S,
                "infer_end_s": FIT_START_S + (N_FIT + N_INFER) * STEP_S,
            }
        },
        "models": {
            "zscore": {
                "class": "zscore_online",
                "z_threshold": 2.5,
                "queries": ["memory"],
                "schedulers": ["once"],
            },
            "mad": {
                "class": "mad_online",
                "threshold": 2.5,
                "queries": ["memory"],
                "schedulers": ["once"],
            },
        },
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }


OTHER_MODELS = {
    "seasonal": {
        "class": "quantile_online",
        "quantiles": [0.25, 0.5, 0.75],
        "iqr_threshold": 2,
        "seasonal_interval": "10m",
        "min_subseason": "5m",
    },
    "rolling": {
        "class": "rolling_quantile",
        "quantile": 0.9,
        "window_steps": 20,
        "iqr_threshold": 2,
    },
    "decomposed": {"class": "std", "period": 5, "z_threshold": 4},
}


def zscore(values: FloatArray) -> dict[str, float]:
    return around(float(np.mean(values)), 2.5 * float(np.std(values, ddof=1)))


def mad(values: FloatArray) -> dict[str, float]:
    median = float(np.median(values))
    return around(median, 2.5 * 1.4826 * float(np.median(np.abs(values - median))))


def seasonal(values: FloatArray) -> dict[str, float]:
    times = FIT_START_S + STEP_S * np.arange(1, len(values) + 2)
    parts = times % 600 // 300
    seen = values[parts[:-1] == parts[-1]]
    # A part that has seen fewer than 32 samples leans on all of them.
    weight = min(len(seen) / 32, 1.0)
    low, yhat, high = (
        weight * np.quantile(seen, q, method="hazen")
        + (1.0 - weight) * np.quantile(values, q, method="hazen")
        for q in (0.25, 0.5, 0.75)
    )
    margin = 2 * (high - low)
    return {"yhat": yhat, "yhat_lower": low - margin, "yhat_upper": high + margin}


def rolling(values: FloatArray) -> dict[str, float]:
    lower, low, yhat, high, upper = np.quantile(values[-20:], [0.1, 0.25, 0.5, 0.75, 0.9])
    margin = 2 * (high - low) / 2
    return {"yhat": yhat, "yhat_lower": lower - margin, "yhat_upper": upper + margin}


def decomposed(values: FloatArray) -> dict[str, float]:
    period, n = 5, len(values)
    level = seasonal_decompose(values, period=period, two_sided=False).trend
    detrended = values - level
    # Phases are counted from the start of time, on the grid of the query.
    phases = (FIT_START_S // STEP_S + np.arange(1, n + 2)) % period
    means = np.array([np.nanmean(detrended[phases[:-1] == phase]) for phase in range(period)])
    residuals = detrended - means[phases[:-1]]
    freedom = np.count_nonzero(~np.isnan(residuals)) - period
    of_level = 0.0
    for t in np.flatnonzero(~np.isnan(detrended)):
        mean_so_far = np.nanmean(detrended[: t + 1][phases[: t + 1] == phases[t]])
        of_level += ((detrended[t] - mean_so_far) ** 2 - of_level) / period
    width = 4 * float(np.sqrt(np.nansum(residuals**2) / freedom + of_level / period))
    trend = level[-1] + means.mean()
    cycle = means[phases[-1]] - means.mean()
    return around(trend + cycle, width) | {"trend": trend, "seasonal": cycle}


def around(yhat: float, width: float) -> dict[str, float]:
    return {"yhat": yhat, "yhat_lower": yhat - width, "yhat_upper": yhat + width}


PREDICT = {
    "zscore": zscore,
    "mad": mad,
    "seasonal": seasonal,
    "rolling": rolling,
    "decomposed": decomposed,
}


def expected(model: str, values: FloatArray, n_fit: int = N_FIT) -> dict[str, FloatArray]:
    """Predict each point from all points before it, one after the other."""
    predicted = [PREDICT[model](values[:n]) for n in range(n_fit, len(values))]
    outputs = {name: np.array([one[name] for one in predicted]) for name in predicted[0]}
    y, yhat = values[n_fit:], outputs["yhat"]
    bound = np.where(y < yhat, outputs["yhat_lower"], outputs["yhat_upper"])
    if "trend" in outputs:
        outputs["resid"] = y - yhat
    return {"anomaly_score": np.abs(y - yhat) / np.abs(bound - yhat), **outputs}


def run_without_complaint(folder: Path, config: dict[str, Any]) -> str:
    status, output = Vmanomaly(folder, config).run()
    assert status == 0, output
    for word in ("Traceback", "WARNING", "ERROR"):
        assert word not in output
    return output


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Labels, Samples]]:
    folder = tmp_path_factory.mktemp("oneoff")
    with VictoriaMetrics(folder) as vm:
        vm.import_series(
            (
                {"__name__": "memory_usage", "host": host, "job": "node"},
                samples(observed(host)),
            )
            for host in LEVELS
        )
        vm.force_flush()
        config = oneoff(vm.url, vm.url)
        config["models"] |= {
            alias: {**keys, "queries": ["memory"], "schedulers": ["once"]}
            for alias, keys in OTHER_MODELS.items()
        }
        run_without_complaint(folder, config)
        yield vm.export('{scheduler_alias!=""}')


def expected_labels(output: str, model: str, host: str) -> Labels:
    return Labels(
        {
            "__name__": output,
            "host": host,
            "job": "node",
            "for": "memory",
            "model_alias": model,
            "scheduler_alias": "once",
            "preset": "default",
        }
    )


class TestOnlineModels:
    def test_exactly_the_series_of_their_outputs(self, scores: dict[Labels, Samples]) -> None:
        assert set(scores) == {
            expected_labels(output, model, host)
            for model in PREDICT
            for host in LEVELS
            for output in expected(model, observed(host))
        }

    @pytest.mark.parametrize("host", LEVELS)
    @pytest.mark.parametrize("model", PREDICT)
    def test_every_number(self, scores: dict[Labels, Samples], model: str, host: str) -> None:
        for output, numbers in expected(model, observed(host)).items():
            written = scores[expected_labels(output, model, host)]
            assert [timestamp for timestamp, _ in written] == INFER_MS
            np.testing.assert_allclose(
                [value for _, value in written], numbers, rtol=1e-9, atol=1e-12, err_msg=output
            )

    @pytest.mark.parametrize("host", LEVELS)
    @pytest.mark.parametrize("model", PREDICT)
    def test_only_the_spike_is_anomalous(
        self, scores: dict[Labels, Samples], model: str, host: str
    ) -> None:
        written = scores[expected_labels("anomaly_score", model, host)]
        assert [timestamp for timestamp, score in written if score > 1] == [
            int(TIMES_S[SPIKE]) * 1000
        ]


def test_documented_metric_format(vm: VictoriaMetrics, tmp_path: Path) -> None:
    source = {"cpu": "1", "device": "eth0", "instance": "node-exporter:9100"}
    vm.import_series(
        [({"__name__": "memory_usage", "job": "node", **source}, samples(observed("a")))]
    )
    vm.force_flush()
    config = oneoff(vm.url, vm.url)
    config["reader"]["queries"] = {"query_name_1": config["reader"]["queries"]["memory"]}
    config["models"] = {"zscore": {**config["models"]["zscore"], "queries": ["query_name_1"]}}
    config["writer"]["metric_format"] = {
        "__name__": "PREFIX1_$VAR",
        "for": "PREFIX2_$QUERY_KEY",
        "custom_label_1": "label_name_1",
        "custom_label_2": "label_name_2",
    }
    run_without_complaint(tmp_path, config)

    assert set(vm.export('{scheduler_alias!=""}')) == {
        Labels(
            {
                "__name__": f"PREFIX1_{output}",
                "for": "PREFIX2_query_name_1",
                "custom_label_1": "label_name_1",
                "custom_label_2": "label_name_2",
                "job": "node",
                **source,
                "model_alias": "zscore",
                "scheduler_alias": "once",
                "preset": "default",
            }
        )
        for output in OUTPUTS
    }


def test_labels_of_the_input_move_out_of_the_way(vm: VictoriaMetrics, tmp_path: Path) -> None:
    clashing = {"for": "rent", "model_alias": "tin", "preset": "slow", "team": "blue"}
    vm.import_series(
        [({"__name__": "memory_usage", "job": "node", **clashing}, samples(observed("a")))]
    )
    vm.force_flush()
    config = oneoff(vm.url, vm.url)
    config["models"].pop("mad")
    config["models"]["zscore"]["provide_series"] = ["anomaly_score"]
    config["writer"]["metric_format"] = {
        "__name__": "$VAR",
        "for": "$QUERY_KEY",
        "team": "sre-$QUERY_KEY-$VAR",
    }
    run_without_complaint(tmp_path, config)

    assert set(vm.export('{scheduler_alias!=""}')) == {
        Labels(
            {
                "__name__": "anomaly_score",
                "job": "node",
                "for": "memory",
                "exported_for": "rent",
                "model_alias": "zscore",
                "exported_model_alias": "tin",
                "preset": "default",
                "exported_preset": "slow",
                "team": "sre-memory-anomaly_score",
                "exported_team": "blue",
                "scheduler_alias": "once",
            }
        )
    }


def test_prometheus_as_the_source(vm: VictoriaMetrics, tmp_path: Path) -> None:
    n_fit = 8 * 24 * 60
    random = np.random.default_rng(7)
    values = (40 + random.uniform(-1, 1, n_fit + N_INFER)).round(3)
    times_ms = 1000 * (FIT_START_S + STEP_S * np.arange(1, len(values) + 1))
    series = list(zip(times_ms.tolist(), values.tolist(), strict=True))
    infer_start_s = FIT_START_S + n_fit * STEP_S

    with Prometheus(tmp_path, [({"__name__": "memory_usage", "job": "node"}, series)]) as source:
        config = oneoff(source.url, vm.url)
        config["models"].pop("mad")
        config["schedulers"]["once"] |= {
            "fit_end_s": infer_start_s,
            "infer_start_s": infer_start_s,
            "infer_end_s": infer_start_s + N_INFER * STEP_S,
        }
        run_without_complaint(tmp_path, config)

    written = {labels["__name__"]: points for labels, points in vm.export('{for!=""}').items()}
    assert sorted(written) == sorted(OUTPUTS)
    for output, numbers in expected("zscore", values, n_fit).items():
        assert [timestamp for timestamp, _ in written[output]] == times_ms[n_fit:].tolist()
        np.testing.assert_allclose(
            [value for _, value in written[output]], numbers, rtol=1e-9, atol=1e-12
        )
