"""Every class, every key: defaults, forms, and bounds that depend on other keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config_helpers import changed, load, problems, required, without
from vmanomaly.config import resolved_yaml
from vmanomaly.config.model import CustomSection, ModelSection
from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.problems import Findings
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS
from vmanomaly.config.scheduler import BacktestingSection, OneoffSection, PeriodicSection
from vmanomaly.config.section import read_section
from vmanomaly.config.server import AuthSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.time import parse_iso
from vmanomaly.scheduler import planned_runs


def model(name: str, **keys: Any) -> tuple[ModelSection | None, list[str]]:
    """Read a model's section, also of a class that this version does not run."""
    findings = Findings()
    section = read_section(MODELS[name].section, {"class": name, **keys}, ("m",), findings)
    return section, findings.problems


def valid(name: str, **keys: Any) -> Any:
    section, found = model(name, **keys)
    assert found == []
    return section


@pytest.mark.parametrize("name", MODELS.aliases)
def test_every_model_has_its_defaults(name: str) -> None:
    section = valid(name, **required(MODELS[name].section))
    assert section.class_name == name
    assert section.scale == (1, 1)
    assert section.provide_series is None
    assert section.clip_predictions is False
    assert section.anomaly_score_outside_data_range == 1.01


def test_defaults_of_the_reference() -> None:
    assert valid("zscore_online").z_threshold == 2.5
    assert valid("mad_online").threshold == 2.5
    assert valid("mad_online").compression == 100
    assert valid("zscore_online").min_n_samples_seen == 16
    assert valid("zscore_online").decay == valid("mad_online").history_strength == 1
    quantile = valid("quantile_online")
    assert quantile.quantiles == (0.01, 0.5, 0.99)
    assert quantile.season_starts_from == "1970-01-01"
    assert quantile.seasonal_interval is None
    envelope = valid("temporal_envelope_multivariate")
    assert envelope.quantiles == (0.25, 0.75)
    assert (envelope.iqr_threshold, envelope.alpha, envelope.loss_reactivity) == (2, 0.005, 5)
    assert envelope.seasonalities == ("hod_smooth", "dow_smooth")
    assert (envelope.dependency_rank, envelope.score_aggregation) == (8, "l2")
    assert (envelope.max_channels, envelope.recommended_max_channels) == (1000, 100)
    assert envelope.random_state == 42
    assert valid("isolation_forest").contamination == "auto"
    tuning = valid("auto", **required(AutoSection)).optimization_params
    assert (tuning.n_splits, tuning.n_trials, tuning.n_jobs) == (3, 128, 1)
    assert (tuning.validation_scheme, tuning.train_val_ratio) == ("regular", 3)
    assert (tuning.exact, tuning.optimize_complexity) == (False, True)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "quantile_online",
            {
                "quantiles": [0.25, 0.5, 0.75],
                "iqr_threshold": 2.5,
                "seasonal_interval": "7d",
                "min_subseason": "1h",
                "season_starts_from": "2024-01-01",
                "use_transform": True,
                "global_smoothing": 0.1,
            },
        ),
        ("temporal_envelope", {"seasonalities": [], "holidays": {"countries": ["US"]}}),
        ("temporal_envelope", {"holidays": {"special_events": ["02-29", "2026-07-01"]}}),
        (
            "temporal_envelope",
            {"forecast_at": ["1h", "1d"], "provide_series": ["yhat_1h", "yhat_lower_1d"]},
        ),
        ("temporal_envelope", {"provide_series": ["incident_score"]}),
        ("mad_online", {"provide_series": ["incident_score", "anomaly_score"]}),
        ("isolation_forest", {"provide_series": ["incident_score"]}),
        ("isolation_forest_multivariate", {"provide_series": ["incident_score"]}),
        ("prophet", {"provide_series": ["incident_score", "trend"]}),
        ("temporal_envelope", {"holidays": {"countries": ["Germany", "usa"], "group": False}}),
        ("temporal_envelope_multivariate", {"groupby": ["host"], "score_aggregation": "max"}),
        (
            "prophet",
            {
                "seasonalities": [{"name": "hourly", "period": 0.0416, "fourier_order": 30}],
                "tz_aware": True,
                "tz_seasonalities": ["hod", {"name": "dow", "fourier_order": 2}],
                "forecast_at": ["1h"],
                "compression": {"window": "30m", "agg_method": "median"},
                "provide_series": ["anomaly_score", "yhat", "daily_lower"],
                "args": {"interval_width": 0.98, "country_holidays": "US"},
            },
        ),
        ("holtwinters", {"frequency": "1h", "seasonality": "1D", "args": {"seasonal": "add"}}),
        ("isolation_forest", {"contamination": "0.01", "seasonal_features": ["dow", "hod"]}),
        ("isolation_forest", {"contamination": 0.5, "provide_series": ["anomaly_score"]}),
        ("std", {"period": 24, "provide_series": ["trend", "seasonal", "resid"]}),
        ("zscore_online", {"scale": 1.5}),
        ("zscore_online", {"provide_series": ["timestamp", "yhat"]}),
        ("custom", {"args": {"percentage": 0.95}, "provide_series": ["anything"]}),
    ],
)
def test_valid_forms(name: str, keys: dict[str, Any]) -> None:
    valid(name, **required(MODELS[name].section) | keys)


@pytest.mark.parametrize(
    ("name", "keys", "problem"),
    [
        ("mad_online", {"compression": 5}, "expected a whole number from 10 to 1000, got 5"),
        ("mad_online", {"compression": 1001}, "expected a whole number from 10 to 1000, got 1001"),
        ("quantile_online", {"compression": 9}, "expected a whole number from 10 to 1000, got 9"),
        ("mad_online", {"threshold": 0}, "m.threshold: expected a number above 0, got 0"),
        ("zscore_online", {"z_threshold": -1}, "m.z_threshold: expected a number above 0, got -1"),
        ("std", {"z_threshold": 0}, "m.z_threshold: expected a number above 0, got 0"),
        ("zscore_online", {"min_n_samples_seen": 0}, "expected a whole number of 1 or more"),
        ("rolling_quantile", {"decay": 0}, "m.decay: expected a number above 0 and up to 1, got 0"),
        ("zscore_online", {"history_strength": -1}, "expected a number above 0, got -1"),
        ("mad_online", {"history_strength": 0}, "expected a number above 0, got 0"),
        ("quantile_online", {"history_strength": "inf"}, "expected a number above 0"),
        ("quantile_online", {"quantiles": [0.5, 0.1, 0.9]}, "each above the one before"),
        ("quantile_online", {"quantiles": [0.5, 0.5, 0.9]}, "each above the one before"),
        ("quantile_online", {"iqr_threshold": -1}, "expected a number of 0 or more, got -1"),
        ("quantile_online", {"global_smoothing": -0.1}, "expected a number from 0 to 1, got -0.1"),
        (
            "quantile_online",
            {"seasonal_interval": "0s"},
            "m.seasonal_interval: expected a duration",
        ),
        (
            "quantile_online",
            {"seasonal_interval": "1h", "min_subseason": "2h"},
            "m.min_subseason: expected a duration that divides seasonal_interval (1h), got '2h'",
        ),
        ("quantile_online", {"quantiles": [0.1, 0.9]}, "expected a list of 3 numbers from 0 to 1"),
        ("quantile_online", {"quantiles": [0.1, 0.5, 1.1]}, "expected a list of 3 numbers"),
        (
            "quantile_online",
            {"seasonal_interval": "2h", "min_subseason": "37m"},
            "m.min_subseason: expected a duration that divides seasonal_interval (2h), got '37m'",
        ),
        (
            "quantile_online",
            {"seasonal_interval": "8d", "min_subseason": "1m"},
            "expected at most 10,080 parts of a season, which are the minutes of a week",
        ),
        ("quantile_online", {"min_subseason": "1h"}, "nothing to divide; set seasonal_interval"),
        ("quantile_online", {"global_smoothing": 2}, "expected a number from 0 to 1, got 2"),
        ("quantile_online", {"season_starts_from": "x"}, "expected a time such as"),
        ("rolling_quantile", {"quantile": 0.4}, "expected a number from 0.5 to 1, got 0.4"),
        ("rolling_quantile", {"quantile": 1.01}, "expected a number from 0.5 to 1, got 1.01"),
        ("rolling_quantile", {"iqr_threshold": -0.5}, "expected a number of 0 or more, got -0.5"),
        ("rolling_quantile", {"window_steps": 9.5}, "expected a whole number from 1 to 100000"),
        ("std", {"period": 24.5}, "expected a whole number from 2 to 100000, got 24.5"),
        (
            "rolling_quantile",
            {"window_steps": 0},
            "expected a whole number from 1 to 100000, got 0",
        ),
        ("std", {"period": 1}, "expected a whole number from 2 to 100000, got 1"),
        ("temporal_envelope", {"quantiles": [0.9, 0.1]}, "expected a list of 2 numbers"),
        ("temporal_envelope", {"seasonalities": ["hod"]}, "m.seasonalities[0]: expected one of"),
        (
            "temporal_envelope",
            {"holidays": {"special_events": ["12-24", "13-01", "x"]}},
            "m.holidays.special_events[1]: expected a time such as",
        ),
        (
            "temporal_envelope",
            {"provide_series": ["yhat_2h"], "forecast_at": ["1h"]},
            "m.forecast_at: provide_series names forecasts for 2h; list them here",
        ),
        ("temporal_envelope", {"provide_series": ["yhat_2h"]}, "m.forecast_at: provide_series"),
        ("temporal_envelope", {"holidays": {"countries": ["Germny"]}}, "did you mean DE?"),
        ("temporal_envelope", {"forecast_at": ["1.5h"]}, "m.forecast_at[0]: expected a duration"),
        ("temporal_envelope", {"forecast_at": ["0h"]}, "m.forecast_at[0]: expected a duration"),
        (
            "temporal_envelope",
            {"forecast_at": ["1h"], "provide_series": ["anomaly_score"]},
            "m.forecast_at: needs yhat in provide_series",
        ),
        ("temporal_envelope_multivariate", {"score_aggregation": "min"}, "one of max, mean, l2"),
        ("prophet", {"tz_seasonalities": ["year"]}, "m.tz_seasonalities[0].name: expected one of"),
        ("prophet", {"tz_seasonalities": "hod"}, "m.tz_seasonalities: expected a list, got 'hod'"),
        ("prophet", {"seasonalities": [{}]}, "m.seasonalities[0].name: required, but not set"),
        ("prophet", {"compression": {"windw": "1h"}}, "did you mean window?"),
        ("isolation_forest", {"contamination": 0.6}, "expected auto, or a number above 0"),
        ("isolation_forest", {"contamination": "nan"}, "expected auto, or a number above 0"),
        (
            "isolation_forest",
            {"provide_series": ["yhat"]},
            "this model does not produce yhat; it produces anomaly_score, y",
        ),
        (
            "zscore_online",
            {"provide_series": ["anomaly_score", "trend", "yhat_1h"]},
            (
                "m.provide_series: this model does not produce trend, yhat_1h; "
                "it produces anomaly_score, y, yhat, yhat_lower, yhat_upper"
            ),
        ),
        ("zscore_online", {"provide_series": ["a b"]}, "m.provide_series[0]: expected the name of"),
        ("auto", {"optimization_params": {}}, "anomaly_percentage: required, but not set"),
        (
            "auto",
            {"optimization_params": {"anomaly_percentage": 0.5}},
            "expected a number of 0 or more and below 0.5, got 0.5",
        ),
        ("auto", {"optimization_params": {"anomaly_percentage": 0, "seeds": 1}}, "mean seed?"),
    ],
)
def test_bounds(name: str, keys: dict[str, Any], problem: str) -> None:
    section, found = model(name, **required(MODELS[name].section) | keys)
    assert section is None
    assert problem in "\n".join(found)


def test_timestamp_in_provide_series_means_nothing() -> None:
    assert valid("zscore_online", provide_series=["timestamp", "y"]).provide_series == ("y",)


@pytest.mark.parametrize("tuned", ["auto", "custom", "no_such"])
def test_auto_tunes_built_in_models_only(tuned: str) -> None:
    keys = {"class": "auto", **required(AutoSection), "tuned_class_name": tuned, "queries": "all"}
    found = problems(changed({"models.a": keys}))
    assert any(line.startswith("models.a.tuned_class_name: expected a built-in") for line in found)


@pytest.mark.parametrize("registry", [READERS, WRITERS, SCHEDULERS, MODELS])
def test_names_are_unique(registry: Any) -> None:
    names = [
        name
        for alias in registry.aliases
        for name in (alias, *registry[alias].names, *registry[alias].deprecated_names)
    ]
    assert len(names) == len(set(names))
    assert all(registry[name].alias in registry.aliases for name in names)


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("zscore_online", "zscore_online"),
        ("model.online.OnlineZscoreModel", "zscore_online"),
        ("model.online.OnlineMADModel", "mad_online"),
        ("mad", "mad_online"),
        ("model.mad.MADModel", "mad_online"),
        ("zscore", "zscore_online"),
        ("model.zscore.ZscoreModel", "zscore_online"),
    ],
)
def test_class_names(name: str, alias: str) -> None:
    assert load(changed({"models.z.class": name})).models["z"].class_name == alias


class TestCustom:
    @pytest.mark.parametrize(
        ("name", "class_name"),
        [
            ("custom", "custom"),
            ("model.custom.CustomModel", "custom"),
            ("model.model.CustomModel", "custom"),
            ("model.custom.Other", "model.custom.Other"),
            ("model.other.Mine", "model.other.Mine"),
            ("models.online.OnlineMADModel", "models.online.OnlineMADModel"),
        ],
    )
    def test_class_names(self, name: str, class_name: str) -> None:
        section = load(changed({"models.z.class": name})).models["z"]
        assert isinstance(section, CustomSection)
        assert section.class_name == class_name

    def test_the_folder_of_its_file(self, tmp_path: Path) -> None:
        content = changed({"models.z.class": "custom"})
        for environ, folder in (
            ({}, Path.cwd()),
            ({"VMANOMALY_CUSTOM_MODELS_DIR": ""}, Path.cwd()),
            ({"VMANOMALY_CUSTOM_MODELS_DIR": str(tmp_path)}, tmp_path),
            ({"VMANOMALY_CUSTOM_MODELS_DIR": "mine"}, Path.cwd() / "mine"),
        ):
            section = load(content, environ).models["z"]
            assert isinstance(section, CustomSection)
            assert section.class_folder == folder

    def test_keys_of_its_own_beside_those_of_all_models(self) -> None:
        section = valid("custom", percentage=0.9, extra={"a": [1]}, min_n_samples_seen=3)
        assert section.own_keys == {"percentage": 0.9, "extra": {"a": [1]}}
        assert section.min_n_samples_seen == 3
        content = yaml.safe_dump(changed({"models.z.class": "custom"}))
        number = load(content.replace("class: custom", "class: custom\n    window: 0x10")).models[
            "z"
        ]
        assert isinstance(number, CustomSection)
        assert type(number.own_keys["window"]) is int

    def test_keys_of_all_models_are_checked(self) -> None:
        _, found = model("custom", scale=0, decay=2, class_folder="x")
        assert [line.partition(":")[0] for line in found] == [
            "m.class_folder",
            "m.scale",
            "m.decay",
        ]


class TestReader:
    def test_queries_take_over_the_defaults_of_the_reader(self) -> None:
        config = load(
            changed(
                {
                    "reader.data_range": [0, "inf"],
                    "reader.tz": "America/New_York",
                    "reader.offset": "-1m",
                    "reader.max_points_per_query": 10000,
                    "reader.queries.own": {
                        "expr": "x",
                        "step": "2m",
                        "data_range": [10, 20],
                        "tz": "UTC",
                        "offset": "15s",
                        "max_points_per_query": 5000,
                        "detection_direction": "above_expected",
                        "min_dev_from_expected": 5,
                        "min_rel_dev_from_expected": [0, 15],
                    },
                }
            )
        )
        cpu, own = config.reader.queries.values()
        assert (cpu.alias, str(cpu.step), cpu.tz) == ("cpu", "1m", "America/New_York")
        assert list(cpu.data_range or ()) == [0, float("inf")]
        assert (cpu.offset, cpu.max_points_per_query) == (-60_000, 10000)
        assert cpu.detection_direction is None
        assert cpu.min_dev_from_expected is None
        assert (str(own.step), own.tz) == ("2m", "UTC")
        assert list(own.data_range or ()) == [10, 20]
        assert (own.offset, own.max_points_per_query) == (15_000, 5000)
        assert list(own.min_dev_from_expected or ()) == [5, 5]
        assert list(own.min_rel_dev_from_expected or ()) == [0, 15]

    def test_no_sampling_period_where_every_query_has_a_step(self) -> None:
        sections = without("reader.sampling_period", changed({"reader.queries.cpu.step": "5m"}))
        assert load(sections).reader.queries["cpu"].step == 300_000

    def test_duckdb(self) -> None:
        duckdb = {
            "class": "duckdb",
            "path": ":memory:",
            "sampling_period": "1m",
            "queries": {"a": {"expr": "SELECT 1"}},
        }
        config = load(
            changed({"reader": duckdb, "writer": {"class": "duckdb", "path": "scores.duckdb"}})
        )
        assert config.reader.class_name == config.writer.class_name == "duckdb"

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("datasource_url", "http://x"),
            ("timeout", "5s"),
            ("tenant_id", "1"),
            ("max_points_per_query", 1000),
            ("queries.a.tenant_id", "1"),
            ("queries.a.max_points_per_query", 1000),
        ],
    )
    def test_duckdb_refuses_what_it_would_not_heed(self, key: str, value: object) -> None:
        duckdb = {
            "reader.class": "duckdb",
            "reader.path": ":memory:",
            "reader.queries.a.expr": "SELECT 1",
        }
        base = changed(duckdb, without("reader.datasource_url"))
        assert problems(changed({f"reader.{key}": value}, base)) == [
            f"reader.{key}: not a key of duckdb, only of vm, vlogs; remove it"
        ]

    @pytest.mark.parametrize("key", ["tenant_id", "queries.cpu.tenant_id"])
    def test_a_tenant_of_victorialogs_is_single(self, key: str) -> None:
        base = {"reader.class": "vlogs", "reader.tenant_id": "1", f"reader.{key}": "multitenant"}
        (found,) = problems(changed(base))
        assert found == (
            f"reader.{key}: expected account or account:project, got 'multitenant'; VictoriaLogs "
            "has no multitenant"
        )

    @pytest.mark.parametrize("value", [0, 0.0, "0"])
    def test_intervals_without_logs_may_be_zero(self, value: object) -> None:
        base = {"reader.class": "vlogs", "reader.queries.cpu.fill": value}
        assert load(changed(base)).reader.queries["cpu"].fills_gaps
        assert not load(changed({"reader.class": "vlogs"})).reader.queries["cpu"].fills_gaps

    @pytest.mark.parametrize("value", [1, "none", [0], -1])
    def test_intervals_without_logs_are_nothing_else(self, value: object) -> None:
        (found,) = problems(changed({"reader.class": "vlogs", "reader.queries.cpu.fill": value}))
        assert found.startswith(
            "reader.queries.cpu.fill: expected 0, for intervals without logs, got "
        )
        assert found.endswith("; leave it out to skip them")

    @pytest.mark.parametrize(
        ("key", "value"), [("query_range_path", "/x"), ("latency_offset", "1s")]
    )
    def test_vlogs_refuses_what_it_would_not_heed(self, key: str, value: str) -> None:
        (found,) = problems(changed({"reader.class": "vlogs", f"reader.{key}": value}))
        assert found.startswith(f"reader.{key}: not a key of vlogs, only of vm; ")

    def test_only_logs_can_be_missing(self) -> None:
        assert problems(changed({"reader.queries.cpu.fill": 0})) == [
            "reader.queries.cpu.fill: not a key of vm, only of vlogs; remove it"
        ]


class TestScheduler:
    def read(self, **keys: Any) -> tuple[Any, list[str]]:
        findings = Findings()
        entry = SCHEDULERS[keys.pop("name")]
        section = entry.section.read({"class": entry.alias, **keys}, ("s",), findings)
        return section, findings.problems

    def test_periodic(self) -> None:
        section, found = self.read(name="periodic", fit_window="14d", infer_every="1m")
        assert found == []
        assert isinstance(section, PeriodicSection)
        assert section.fit_every == Duration(60_000)
        assert isinstance(section.fit_every, Duration)
        assert (section.start_from, section.tz, section.scatter_infer_jobs) == (None, "UTC", False)

    @pytest.mark.parametrize("start", ["20:00", "2024-11-26T01:00:00Z", "2024-11-26"])
    def test_start_from(self, start: str) -> None:
        section, found = self.read(
            name="periodic", fit_window="1d", infer_every="1m", start_from=start
        )
        assert found == []
        assert section.start_from == start

    def test_unquoted_clock(self) -> None:
        config = load(
            """
            reader: {datasource_url: http://x, sampling_period: 1m, queries: {a: {expr: x}}}
            writer: {datasource_url: http://x}
            models: {z: {class: zscore_online, queries: all, schedulers: all}}
            schedulers: {s: {fit_window: 1d, infer_every: 1m, start_from: 20:00}}
            """
        )
        assert config.schedulers["s"].start_from == "20:00"  # type: ignore[attr-defined]

    def test_oneoff_iso(self) -> None:
        section, found = self.read(
            name="oneoff",
            fit_start_iso="2022-04-01T00:00:00Z",
            fit_end_iso="2022-04-10T00:00:00+01:00",
            infer_start_iso="2022-04-11",
            infer_end_iso="2022-04-14T00:00:00",
            tz="Europe/Kyiv",
        )
        assert found == []
        assert isinstance(section, OneoffSection)
        assert section.fit_start == parse_iso("2022-04-01T00:00:00Z")
        assert section.fit_end == parse_iso("2022-04-09T23:00:00Z")
        assert section.infer_start == parse_iso("2022-04-10T21:00:00Z")
        assert section.infer_end == parse_iso("2022-04-13T21:00:00Z")

    def test_oneoff_unix(self) -> None:
        section, found = self.read(
            name="oneoff",
            fit_start_s=1648771200,
            fit_end_s=1649548800.5,
            infer_start_s="1649635200",
            infer_end_iso="2022-04-14T00:00:00Z",
        )
        assert found == []
        assert (section.fit_start, section.fit_end) == (1648771200000, 1649548800500)

    def test_oneoff_of_a_single_timestamp(self) -> None:
        section, found = self.read(
            name="oneoff", fit_start_s=1, fit_end_s=9, infer_start_s=10, infer_end_s=10
        )
        assert found == []
        (run,) = planned_runs(section)
        assert run.infer is not None
        assert run.infer.grid(1000).tolist() == [10_000]

    def test_oneoff_problems(self) -> None:
        section, found = self.read(
            name="oneoff",
            fit_start_iso="2022-04-10",
            fit_end_iso="2022-04-01",
            infer_start_iso="x",
            infer_start=5,
            tz="Mars",
        )
        assert section is None
        assert found[:3] == [
            "s.fit_end: the end must be after the start (fit_start)",
            "s.infer_start_iso: expected a time such as 2025-05-08T03:00:00Z, got 'x'",
            "s.infer_end_iso: required, but not set; or set infer_end_s",
        ]
        assert found[3].startswith("s.infer_start: unknown key; did you mean infer_start_")
        assert found[4].startswith("s.tz: expected the IANA name of a time zone")

    def test_a_time_is_set_once(self) -> None:
        _, found = self.read(
            name="oneoff",
            fit_start_iso="2022-04-01",
            fit_start_s=1,
            fit_end_s="2022-04-02",
            infer_start_s=1,
            infer_end_s=2,
        )
        assert found == [
            "s.fit_start_s: fit_start_iso already sets another time; keep one",
            "s.fit_end_s: expected a Unix time in seconds such as 1746673200, got '2022-04-02'",
        ]

    @pytest.mark.parametrize("suffix", ["", "_iso", "_s"])
    def test_backtesting(self, suffix: str) -> None:
        times = (1609459200, 1610582400) if suffix == "_s" else ("2021-01-01", "2021-01-14")
        section, found = self.read(
            name="backtesting",
            fit_window="P7D",
            fit_every="PT1D",
            infer_every="PT1H",
            exact=True,
            inference_only=True,
            n_jobs=2,
            **{f"from{suffix}": times[0], f"to{suffix}": times[1]},
        )
        assert found == []
        assert isinstance(section, BacktestingSection)
        assert section.from_time == parse_iso("2021-01-01")
        assert section.to_time == parse_iso("2021-01-14")

    @pytest.mark.parametrize(
        ("keys", "has_room"),
        [({}, False), ({"fit_window": "12d"}, True), ({"inference_only": True}, True)],
    )
    def test_backtesting_without_room(self, keys: dict[str, Any], has_room: bool) -> None:
        stretch = {"from_iso": "2021-01-01", "to_iso": "2021-01-14"}
        section, found = self.read(
            **({"name": "backtesting", "fit_window": "P14D", "fit_every": "PT1D"} | stretch | keys)
        )
        assert found == []
        assert isinstance(section, BacktestingSection)
        assert section.has_room is has_room


class TestWriter:
    def test_default_format(self) -> None:
        assert load(changed({})).writer.metric_format == {"__name__": "$VAR", "for": "$QUERY_KEY"}

    def test_own_format(self, caplog: pytest.LogCaptureFixture) -> None:
        labels = {"__name__": "PREFIX1_$VAR", "for": "PREFIX2_$QUERY_KEY", "run": 7}
        written = load(changed({"writer.metric_format": labels})).writer.metric_format
        assert written == labels | {"run": "7"}
        assert caplog.messages == []

    def test_for_is_added(self, caplog: pytest.LogCaptureFixture) -> None:
        labels = {"__name__": "vmanomaly", "output": "$VAR"}
        written = load(changed({"writer.metric_format": labels})).writer.metric_format
        assert written["for"] == "$QUERY_KEY"
        assert caplog.messages == [
            'writer.metric_format: the label for is left out; for: "$QUERY_KEY" is added'
        ]

    @pytest.mark.parametrize(
        ("labels", "problem"),
        [
            ({"for": "$QUERY_KEY"}, "writer.metric_format: __name__ is missing; add the name"),
            ({"__name__": "x", "for": "y"}, "writer.metric_format: no value contains $VAR"),
            (
                {"__name__": "$VAR", "for": "x", "bad-label": "x"},
                "writer.metric_format.bad-label: not a valid label name",
            ),
            (
                {"__name__": "vm-$VAR", "for": "x"},
                "writer.metric_format.__name__: gives 'vm-anomaly_score', which is not a valid",
            ),
            ({"__name__": "1$VAR", "for": "x"}, "writer.metric_format.__name__: gives"),
            ({"__name__": "$VAR", "for": [1]}, "writer.metric_format.for: expected text, got a"),
        ],
    )
    def test_wrong_format(self, labels: dict[str, Any], problem: str) -> None:
        (found,) = problems(changed({"writer.metric_format": labels}))
        assert found.startswith(problem)

    def test_name_is_checked_for_every_query(self) -> None:
        changes = {
            "reader.queries.disk-usage": {"expr": "x"},
            "writer.metric_format": {"__name__": "$QUERY_KEY:$VAR", "for": "$QUERY_KEY"},
        }
        (found,) = problems(changed(changes))
        assert "gives 'disk-usage:anomaly_score' for the query disk-usage" in found

    @pytest.mark.parametrize(
        ("size", "n_bytes"),
        [(1024, 1024), ("1GiB", 2**30), ("1.5MiB", 3 * 2**19), ("2K", 2048), ("1GB", 10**9)],
    )
    def test_queue(self, size: Any, n_bytes: int, caplog: pytest.LogCaptureFixture) -> None:
        writer: Any = load(changed({"writer.queue_max_size": size})).writer
        assert writer.queue_max_size == n_bytes
        assert writer.queue_path is None
        assert caplog.messages == []

    def test_queue_folder(self) -> None:
        environ = {"VMANOMALY_MODEL_DUMPS_DIR": "/models"}
        writer: Any = load(changed({}), environ).writer
        assert writer.queue_path == Path("/models/queue")
        writer = load(changed({}), environ | {"VMANOMALY_DATA_DUMPS_DIR": "/data"}).writer
        assert writer.queue_path == Path("/data/queue")
        writer = load(changed({"writer.queue_path": "/own"}), environ).writer
        assert writer.queue_path == Path("/own")

    def test_import_json_path(self, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({"writer.import_json_path": "/api/v1/import"}))
        (message,) = caplog.messages
        assert message.startswith("writer.import_json_path: deprecated")


def server_auth(keys: dict[str, Any]) -> AuthSection | None:
    server = load(changed({"server.auth": keys})).server
    assert server is not None
    return server.auth


class TestService:
    def test_settings(self) -> None:
        levels = {"reader.vm": "DEBUG", "model": "warning", "x": "Fatal"}
        settings = load(changed({"settings": {"n_workers": -1, "logger_levels": levels}})).settings
        assert settings.n_workers == -1
        assert settings.logger_levels == {"reader.vm": "DEBUG", "model": "WARNING", "x": "CRITICAL"}
        (problem,) = problems(changed({"settings.logger_levels": {"model": "loud"}}))
        assert problem == (
            "settings.logger_levels.model: expected one of debug, info, warning, error, critical, "
            "got 'loud'"
        )

    def test_score_outside_data_range_comes_from_settings(self) -> None:
        changes = {
            "settings.anomaly_score_outside_data_range": 5,
            "models.own": {
                "class": "mad_online",
                "queries": "all",
                "schedulers": "all",
                "anomaly_score_outside_data_range": 1.5,
            },
        }
        models = load(changed(changes)).models
        assert models["z"].anomaly_score_outside_data_range == 5
        assert models["own"].anomaly_score_outside_data_range == 1.5

    def test_server(self) -> None:
        server = load(changed({"server": {"path_prefix": "my-app/"}})).server
        assert server is not None
        assert (server.addr, server.port, server.path_prefix) == ("0.0.0.0", 8490, "/my-app")
        assert server.uvicorn_config == {"log_level": "warning"}
        assert server.auth is None

    @pytest.mark.parametrize(
        ("sections", "is_there"),
        [({}, False), ({"server": None}, True), ({"server": {}}, True)],
    )
    def test_runs_that_end_by_themselves_have_a_server_only_if_asked(
        self, sections: dict[str, Any], is_there: bool
    ) -> None:
        once = {
            f"{stage}_{end}_s": 1_700_000_000
            for stage in ("fit", "infer")
            for end in ("start", "end")
        }
        scheduler = {"class": "oneoff", **once}
        ending = {"schedulers": {"once": scheduler}, **sections}
        config = load(changed(ending))
        assert (config.server is not None) is is_there
        assert ("server:" in resolved_yaml(config)) is is_there
        assert load(resolved_yaml(config)) == config
        assert load(changed({"schedulers.once": scheduler})).server is not None

    def test_server_auth(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("sesame\n")
        auth = server_auth({"bearer_token_file": str(file)})
        assert auth is not None
        assert auth.secret() == "sesame"
        auth = server_auth({"user": "u", "password": "p"})
        assert auth is not None
        assert auth.secret() == "p"
        found = problems(changed({"server": {"auth": {"user": "u", "bearer_token": "t"}}}))
        assert found == [
            "server.auth.bearer_token: conflicts with user; use one authentication method"
        ]
        found = problems(changed({"server": {"auth": {}}}))
        assert found == ["server.auth: set user and password, bearer_token or bearer_token_file"]

    def test_pull_without_keys_has_its_defaults(self) -> None:
        pull = load(changed({"monitoring": {"pull": None}})).monitoring.pull
        assert pull is not None
        assert (pull.addr, pull.port) == ("0.0.0.0", 8080)
        assert load(changed({})).monitoring.pull is None
