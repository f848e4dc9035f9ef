"""The packaged alert rules: valid, about metrics that there are, and firing when they should."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import yaml

import vmanomaly
from tests.integration.servers import Process, Samples, VictoriaMetrics
from vmanomaly.monitoring.metrics import Metrics

PRESETS = Path(vmanomaly.__file__).parent / "presets"
OWN = PRESETS / "common" / "alerts-vmanomaly.yml"
FILES = sorted(PRESETS.glob("*/*.yml"))
MINUTES = 500
FIRST_REPLAYED = 100
"""To VictoriaMetrics, the first sample of a counter is an increase from 0."""
BAD, SOUND = "vmanomaly-bad", "vmanomaly-sound"

Value: TypeAlias = float | Callable[[int], float | None] | None
"""Of every minute; None where there is no sample."""


class Symptom(NamedTuple):
    """A series that makes a rule fire, and its like that does not.

    Attributes
    ----------
    name
        Of the metric.
    bad, sound
        Its values.
    labels
        In addition to `job`, and to `instance`, which is the name of the alert.
    """

    name: str
    bad: Value
    sound: Value
    labels: Mapping[str, str] = {}


def growing(per_minute: float) -> Callable[[int], float]:
    return lambda minute: per_minute * minute


def falling(to: float) -> Callable[[int], float]:
    """Return values that reach 0 an hour after the end, from a start that is far from little."""
    return lambda minute: to * (MINUTES + 60 - minute)


def abnormal(query_key: str, **labels: str) -> list[Symptom]:
    """Return the scores of two models, which agree only about the bad one."""
    common = {"preset": "node-exporter", "for": query_key, "scheduler_alias": "1d_1m", **labels}
    return [
        Symptom("anomaly_score", 1.5, 1.5, {**common, "model_alias": "mad"}),
        Symptom("anomaly_score", 1.0, 0.9, {**common, "model_alias": "z-score"}),
    ]


def answers(name: str) -> list[Symptom]:
    """Return the answers to requests of which nothing, or 1 %, fails."""
    return [
        Symptom(name, 0.0, growing(99), {"url": "http://vm", "code": "200"}),
        Symptom(name, growing(100), growing(1), {"url": "http://vm", "code": "500"}),
    ]


DEVICE = {"device": "eth0"}
SCHEDULER = {"scheduler_alias": "live", "preset": "default"}
UNIT = {**SCHEDULER, "model_alias": "zscore", "query_key": "cpu", "stage": "infer"}
MOUNT = {"mountpoint": "/", "fstype": "ext4"}
WRITABLE = Symptom("node_filesystem_readonly", 0, 0, MOUNT)

SYMPTOMS: dict[str, list[Symptom]] = {
    "TooManyRestarts": [Symptom("process_start_time_seconds", lambda m: m // 4, 7)],
    "ServiceDown": [Symptom("up", 0, 1)],
    "SchedulerWorkerDown": [
        Symptom("vmanomaly_scheduler_alive", 0, 1, SCHEDULER),
        Symptom("vmanomaly_scheduler_restarts_total", 5, 5, {**SCHEDULER, "status": "failure"}),
    ],
    "FrequentSchedulerRestarts": [
        Symptom("vmanomaly_scheduler_restarts_total", growing(0.5), lambda m: m // 10, SCHEDULER)
    ],
    "NoSelfMonitoringMetrics": [
        Symptom("vmanomaly_start_time_seconds", lambda m: 7 if m < MINUTES - 60 else None, 7)
    ],
    "ProcessNearFDLimits": [
        Symptom("process_max_fds", 1024, 1024),
        Symptom("process_open_fds", 950, 900),
    ],
    "TooHighCPUUsage": [
        Symptom("process_cpu_seconds_total", growing(2 * 57), growing(2 * 51)),
        Symptom("vmanomaly_cpu_cores_available", 2, 2),
    ],
    "TooHighMemoryUsage": [
        Symptom("process_resident_memory_bytes", 90, 80),
        Symptom("vmanomaly_available_memory_bytes", 100, 100),
    ],
    "LastConfigReloadFailed": [Symptom("vmanomaly_config_last_reload_successful", 0, 1)],
    "StateNotStored": [
        Symptom("vmanomaly_state_save_errors_total", growing(1), 3, {"reason": "disk_full"})
    ],
    "ServiceErrorsDetected": [Symptom("vmanomaly_model_run_errors_total", growing(1), 3, UNIT)],
    "SkippedModelRunsDetected": [
        Symptom("vmanomaly_model_runs_skipped_total", growing(1), 3, UNIT)
    ],
    "NoPointsScored": [
        Symptom("vmanomaly_model_datapoints_produced_total", 9000, lambda m: m // 30, UNIT)
    ],
    "HighReadErrorRate": answers("vmanomaly_reader_responses_total"),
    "HighWriteErrorRate": answers("vmanomaly_writer_responses_total"),
    "WriterQueueGrowing": [
        Symptom("vmanomaly_writer_queue_bytes", growing(1000), lambda m: m * (m % 10))
    ],
    "PointsDropped": [
        Symptom("vmanomaly_writer_dropped_datapoints_total", growing(1), 3, {"reason": "500"})
    ],
    "QueriesQueued": [
        Symptom("vmanomaly_reader_processing_tasks_queued", 1, lambda m: m % 5, {"query_key": "q"})
    ],
    "PageFaults": abnormal("page_faults"),
    "ContextSwitch": abnormal("context_switch"),
    "CpuSecondsTotal": abnormal("cpu_seconds_total", mode="user"),
    "HostNetworkReceiveErrors": abnormal("host_network_receive_errors", **DEVICE),
    "HostNetworkTransmitErrors": abnormal("host_network_transmit_errors", **DEVICE),
    "ReceiveBytes": abnormal("receive_bytes", **DEVICE),
    "TransmitBytes": abnormal("transmit_bytes", **DEVICE),
    "ReadLatency": abnormal("read_latency", device="sda"),
    "WriteLatency": abnormal("write_latency", device="sda"),
    "HostOutOfMemory": [
        Symptom("node_memory_MemAvailable_bytes", 9, 11),
        Symptom("node_memory_MemTotal_bytes", 100, 100),
    ],
    "HostMemoryIsUnderutilized": [
        Symptom("node_memory_MemAvailable_bytes", 85, lambda m: 85 if m % 100 else 75),
        Symptom("node_memory_MemTotal_bytes", 100, 100),
        Symptom("node_boot_time_seconds", 0, 0),
    ],
    "HostUnusualDiskReadRate": [
        Symptom("node_disk_read_bytes_total", growing(60 * 51e6), growing(60 * 49e6), DEVICE)
    ],
    "HostUnusualDiskWriteRate": [
        Symptom("node_disk_written_bytes_total", growing(60 * 51e6), growing(60 * 49e6), DEVICE)
    ],
    "HostUnusualDiskIo": [
        Symptom("node_disk_io_time_seconds_total", growing(60 * 0.81), growing(60 * 0.79), DEVICE)
    ],
    "HostOutOfDiskSpace": [
        Symptom("node_filesystem_avail_bytes", 9, 11, MOUNT),
        Symptom("node_filesystem_size_bytes", 100, 100, MOUNT),
        WRITABLE,
    ],
    "HostDiskWillFillIn24Hours": [
        Symptom("node_filesystem_avail_bytes", falling(1e6), 1e6, MOUNT),
        WRITABLE,
    ],
    "HostOutOfInodes": [
        Symptom("node_filesystem_files_free", 9, 11, MOUNT),
        Symptom("node_filesystem_files", 100, 100, MOUNT),
        WRITABLE,
    ],
    "HostInodesWillFillIn24Hours": [
        Symptom("node_filesystem_files_free", falling(1e6), 1e6, MOUNT),
        WRITABLE,
    ],
    "HostFilesystemDeviceError": [Symptom("node_filesystem_device_error", 1, 0, MOUNT)],
    "HostSwapIsFillingUp": [
        Symptom("node_memory_SwapFree_bytes", 19, 0),
        Symptom("node_memory_SwapTotal_bytes", 100, 0),
    ],
    "HostSystemdServiceCrashed": [Symptom("node_systemd_unit_state", 1, 0, {"state": "failed"})],
    "HostPhysicalComponentTooHot": [Symptom("node_hwmon_temp_celsius", 81, 79)],
    "HostNodeOvertemperatureAlarm": [Symptom("node_hwmon_temp_crit_alarm_celsius", 1, 0)],
    "HostRaidArrayGotInactive": [Symptom("node_md_state", 1, 0, {"state": "inactive"})],
    "HostRaidDiskFailure": [Symptom("node_md_disks", 1, 0, {"state": "failed"})],
    "HostKernelVersionDeviations": [
        Symptom("node_uname_info", 1, 1, {"release": "6.1"}),
        Symptom("node_uname_info", 1, None, {"release": "6.6"}),
    ],
    "HostOomKillDetected": [Symptom("node_vmstat_oom_kill", growing(1), 3)],
    "HostEdacCorrectableErrorsDetected": [
        Symptom("node_edac_correctable_errors_total", growing(1), 3)
    ],
    "HostEdacUncorrectableErrorsDetected": [
        Symptom("node_edac_uncorrectable_errors_total", growing(1), 3)
    ],
    "HostNetworkInterfaceSaturated": [
        Symptom("node_network_receive_bytes_total", growing(60 * 41), growing(60 * 39), DEVICE),
        Symptom("node_network_transmit_bytes_total", growing(60 * 41), growing(60 * 39), DEVICE),
        Symptom("node_network_speed_bytes", 100, 100, DEVICE),
    ],
    "HostNetworkBondDegraded": [
        Symptom("node_bonding_active", 1, 2, {"master": "bond0"}),
        Symptom("node_bonding_slaves", 2, 2, {"master": "bond0"}),
    ],
    "HostConntrackLimit": [
        Symptom("node_nf_conntrack_entries", 81, 79),
        Symptom("node_nf_conntrack_entries_limit", 100, 100),
    ],
    "HostClockSkew": [Symptom("node_timex_offset_seconds", -0.06, -0.04)],
    "HostClockNotSynchronising": [Symptom("node_timex_sync_status", 0, 1)],
    "HostRequiresReboot": [Symptom("node_reboot_required", 1, 0)],
}


def rules() -> Iterator[dict[str, Any]]:
    for file in FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def run(log: Path, *command: str, timeout_s: float = 60) -> tuple[int, str]:
    with Process(command, log) as process:
        return process.wait(timeout_s), process.output


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_vmalert_takes_the_rules(file: Path, tmp_path: Path) -> None:
    status, output = run(tmp_path / "vmalert.log", "vmalert", "-dryRun", f"-rule={file}")
    assert status == 0, output


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_prometheus_takes_the_rules(file: Path, tmp_path: Path) -> None:
    status, output = run(tmp_path / "promtool.log", "promtool", "check", "rules", str(file))
    assert status == 0, output


def test_rules_ask_for_metrics_that_there_are() -> None:
    suffixes = {"counter": "_total", "histogram": "_count", "gauge": ""}
    names = {family.name + suffixes.get(family.type, "") for family in Metrics().registry.collect()}
    for group in yaml.safe_load(OWN.read_text())["groups"]:
        for rule in group["rules"]:
            asked = set(re.findall(r"\b(?:vmanomaly|process)_\w+", rule["expr"]))
            assert asked <= names, rule
            assert asked or rule["alert"] == "ServiceDown", rule


def test_every_alert_about_the_service_or_of_the_preset_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs"
    text = "".join((docs / page).read_text() for page in ("operations.md", "dashboards.md"))
    undocumented = {rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in text}
    assert all(name.startswith("Host") for name in undocumented)
    assert not undocumented & {"HostNetworkReceiveErrors", "HostNetworkTransmitErrors"}


def samples(value: Value, start_ms: int) -> Samples:
    values = (value(minute) if callable(value) else value for minute in range(MINUTES))
    return [(start_ms + 60_000 * minute, v) for minute, v in enumerate(values) if v is not None]


def firing(vm: VictoriaMetrics, tmp_path: Path, *files: Path) -> set[tuple[str, str]]:
    """Replay rules over the symptoms; return the alerts that fired, and the jobs they are about."""
    end_s = int(time.time()) // 60 * 60
    start_ms = 1000 * (end_s - 60 * MINUTES)
    vm.import_series(
        (
            {"__name__": symptom.name, "job": job, "instance": alert, **symptom.labels},
            samples(value, start_ms),
        )
        for alert, symptoms in SYMPTOMS.items()
        for symptom in symptoms
        for job, value in ((BAD, symptom.bad), (SOUND, symptom.sound))
        if value is not None
    )
    vm.force_flush()
    begin, end = (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for seconds in (start_ms // 1000 + 60 * FIRST_REPLAYED, end_s)
    )
    status, output = run(
        tmp_path / "vmalert.log",
        "vmalert",
        *(f"-rule={file}" for file in files),
        f"-datasource.url={vm.url}",
        f"-remoteWrite.url={vm.url}",
        f"-replay.timeFrom={begin}",
        f"-replay.timeTo={end}",
        "-datasource.queryStep=1m",
        "-replay.rulesDelay=1ms",
        "-replay.disableProgressBar",
        timeout_s=60,
    )
    assert status == 0, output
    alerts = vm.export('ALERTS{alertstate="firing"}')
    return {(labels["alertname"], labels["job"]) for labels in map(dict, alerts)}


def test_every_rule_fires_when_it_should_and_only_then(vm: VictoriaMetrics, tmp_path: Path) -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    assert set(names) == SYMPTOMS.keys()
    assert firing(vm, tmp_path, *FILES) == {(name, BAD) for name in names}
