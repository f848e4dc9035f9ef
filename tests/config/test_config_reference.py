"""Configs in the forms that the reference documents run unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.config_helpers import load

ENVIRON = {
    "VMANOMALY_MODEL_DUMPS_DIR": "/var/lib/vmanomaly/models",
    "VMANOMALY_URL": "http://victoriametrics:8428",
    "VMANOMALY_TENANT_ID": "0:0",
    "VMANOMALY_BEARER_TOKEN": "token",
}

ALL_SECTIONS = """
settings:
  n_workers: 4
  native_threads_per_worker: 0
  anomaly_score_outside_data_range: 5.0
  restore_state: True
  retention: {ttl: "1d", check_interval: "1h"}
  logger_levels: {reader.vm: DEBUG, model.online.temporal_envelope: WARNING}
schedulers:
  often:
    class: 'periodic'
    infer_every: "30s"
    scatter_infer_jobs: true
    fit_every: "1000d"
    fit_window: "3d"
    start_from: "00:00"
    tz: "Europe/Kyiv"
  weekly:
    class: 'scheduler.periodic.PeriodicScheduler'
    infer_every: "15m"
    fit_window: "14d"
models:
  zscore:
    class: 'zscore_online'
    z_threshold: 3.5
    decay: 0.99
    provide_series: ['anomaly_score', 'y', 'yhat', 'yhat_upper']
    queries: ['errors']
    schedulers: ['often']
    clip_predictions: True
  mad:
    class: "model.online.OnlineMADModel"
    threshold: 2.5
    min_n_samples_seen: 128
    history_strength: 2
    compression: 100
    anomaly_score_outside_data_range: 1.5
    scale: [1.2, 0.75]
    queries: all
    schedulers: ['weekly']
reader:
  class: 'vm'
  datasource_url: "https://play.example.com/"
  tenant_id: "0:0"
  sampling_period: "30s"
  workers: 0
  latency_offset: '1ms'
  query_from_last_seen_timestamp: False
  verify_tls: False
  tz: "UTC"
  "offset": "0s"
  queries:
    cpu:
      expr: 'avg(rate(node_cpu_seconds_total[5m])) by (mode)'
      data_range: [0, 'inf']
      detection_direction: 'above_expected'
      min_dev_from_expected: [0.01, 0.01]
    errors:
      expr: |
        rate(node_network_receive_errs_total[3m])
        / rate(node_network_receive_packets_total[3m])
      step: '15m'
      data_range: [0., 100.]
      min_dev_from_expected: 0.0
writer:
  datasource_url: "http://victoriametrics:8428/"
  tenant_id: "0:0"
  metric_format:
    __name__: $VAR
    for: $QUERY_KEY
monitoring:
  pull: {addr: "0.0.0.0", port: 8490}
  push:
    url: "http://victoriametrics:8428"
    push_frequency: "15m"
    extra_labels: {job: "vmanomaly"}
server:
  port: 8490
  path_prefix: '/vmanomaly'
  max_concurrent_tasks: 4
  use_reader_connection_settings: True
  ui_default_state: '#/?anomaly_threshold=1.0&fit_window=3d'
  uvicorn_config: {log_level: 'warning'}
"""

TENANTS = """
reader:
  class: 'vm'
  sampling_period: '1m'
  datasource_url: 'https://play.example.com/'
  max_points_per_query: 10000
  data_range: [0, 'inf']
  tenant_id: 'multitenant'
  queries:
    rate_t1:
      expr: 'sum(rate(vm_rows_inserted_total[5m])) by (type) > 0'
      step: '2m'
      min_rel_dev_from_expected: [0, 15]
      max_points_per_query: 5000
      tz: 'America/New_York'
      tenant_id: '1:0'
      offset: '-15s'
    rate_t2: {expr: 'sum(rate(vm_rows_inserted_total[5m])) by (type) > 0', tenant_id: '2:0'}
writer: {class: vm, datasource_url: http://cluster:8480, tenant_id: multitenant}
schedulers: {s: {class: periodic, fit_every: 1000d, fit_window: 1w, infer_every: 1m}}
models: {z: {class: zscore_online, z_threshold: 3, queries: all, schedulers: all}}
"""

UNQUOTED_ENVIRONMENT = """
reader:
  class: 'vm'
  datasource_url: %{VMANOMALY_URL}  # replaced, and %{NOT_THIS} is a comment
  tenant_id: %{VMANOMALY_TENANT_ID}
  bearer_token: %{VMANOMALY_BEARER_TOKEN}
  sampling_period: "30s"
  queries: {q: {expr: x}}
writer:
  datasource_url: %{VMANOMALY_URL}
  tenant_id: %{VMANOMALY_TENANT_ID}
  bearer_token: %{VMANOMALY_BEARER_TOKEN}
schedulers: {s: {fit_window: 1d, infer_every: 1m}}
models: {z: {class: zscore_online, queries: all, schedulers: all}}
"""

OLD_FORMS = """
scheduler: {infer_every: "1m", fit_every: "2m", fit_window: "3h"}
model: {class: "model.zscore.ZscoreModel", z_threshold: 3.0}
reader:
  datasource_url: "http://victoriametrics:8428/"
  sampling_period: "10s"
  queries: {vmb: 'avg(vm_blocks)', churn: "sum(rate(vm_new_timeseries_created_total[5m]))"}
writer:
  class: "writer.vm.VmWriter"
  datasource_url: "http://localhost:8428/"
  metric_format: {__name__: "vmanomaly_$VAR", for: "$QUERY_KEY", run: "test_metric_format"}
  import_json_path: "/api/v1/import"
  health_path: "health"
  user: "foo"
  password: "bar"
  connection_retry_attempts: 2
"""

ONEOFF = """
schedulers:
  iso:
    class: "oneoff"
    fit_start_iso: 2022-04-01T00:00:00Z
    fit_end_iso: "2022-04-10T00:00:00+0100"
    infer_start_iso: "2022-04-11T00:00:00+01"
    infer_end_iso: "2022-04-14"
  unix:
    class: "scheduler.oneoff.OneoffScheduler"
    fit_start_s: 1648771200
    fit_end_s: 1649548800
    infer_start_s: 1649635200
    infer_end_s: 1649894400
models: {z: {class: zscore_online, queries: all, schedulers: all}}
reader: {datasource_url: 'http://localhost:8428', sampling_period: 1m, queries: {q: {expr: x}}}
writer: {datasource_url: 'http://localhost:8428'}
"""


@pytest.mark.parametrize("text", [ALL_SECTIONS, TENANTS, UNQUOTED_ENVIRONMENT, OLD_FORMS, ONEOFF])
def test_runs_unchanged(text: str) -> None:
    assert load(text, ENVIRON).models


def test_all_sections() -> None:
    config = load(ALL_SECTIONS, ENVIRON)
    assert config.models["zscore"].anomaly_score_outside_data_range == 5
    assert config.models["mad"].anomaly_score_outside_data_range == 1.5
    assert config.models["mad"].queries == ("cpu", "errors")
    assert str(config.reader.queries["errors"].step) == "15m"


def test_token_from_the_environment() -> None:
    reader: Any = load(UNQUOTED_ENVIRONMENT, ENVIRON).reader
    assert reader.bearer_token.get_secret_value() == "token"


MANY_CLASSES = """
reader:
  class: 'vlogs'
  datasource_url: 'https://logs.example.com/'
  sampling_period: '1m'
  fetch_timeout: '30s'
  processing_timeout: '1m'
  queries:
    duration:
      expr: "* | stats avg(duration) as avg"
      step: '2m'
      detection_direction: 'above_expected'
schedulers:
  inference_only:
    class: "backtesting"
    fit_window: "P7D"
    fit_every: "PT12H"
    exact: true
    infer_every: "PT1H"
    inference_only: true
    from_iso: "2025-05-08T03:00:00Z"
    to_iso: "2025-05-09T00:00:00Z"
    n_jobs: 2
models:
  envelope:
    class: temporal_envelope
    seasonalities: [hod_smooth, dow_smooth, weekpart_plateau]
    alpha: 0.005
    holidays: {countries: [US], special_events: ['12-24'], group: true}
    forecast_at: [1h, 1d]
    provide_series: [anomaly_score, yhat, yhat_1h, yhat_upper_1d]
    queries: all
    schedulers: all
  joint:
    class: temporal_envelope_multivariate
    queries: [duration]
    schedulers: all
    groupby: [cluster]
    dependency_rank: 8
    score_aggregation: l2
  seasonal:
    class: quantile_online
    quantiles: [0.25, 0.5, 0.75]
    seasonal_interval: '7d'
    min_subseason: '1h'
    scale: 1.1
    queries: all
    schedulers: all
  forest:
    class: isolation_forest_multivariate
    contamination: "0.01"
    seasonal_features: ['dow', 'hod']
    args: {n_estimators: 100, random_state: 42}
    queries: all
    schedulers: all
  tuned:
    class: auto
    tuned_class_name: zscore_online
    optimization_params:
      anomaly_percentage: 0.004
      timeout: 10
      frozen_params: {history_strength: 2}
    queries: all
    schedulers: all
writer: {datasource_url: 'http://localhost:8428'}
"""


def test_a_configuration_with_many_classes_is_valid() -> None:
    assert load(MANY_CLASSES).models


def test_examples_of_the_project_are_valid() -> None:
    root = Path(__file__).parents[2]
    assert load((root / "src/vmanomaly/demo/config.yaml").read_text()).models
    environ = dict.fromkeys(("READ_URL", "WRITE_URL"), "http://localhost:8428")
    environ["VMANOMALY_MODEL_DUMPS_DIR"] = "/models"
    for path in (
        "config/vmanomaly.yaml",
        "isolation-forest.yaml",
        "prophet.yaml",
        "holtwinters.yaml",
    ):
        assert load((root / "examples" / path).read_text(), environ).models
