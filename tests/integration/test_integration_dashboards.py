"""Every expression of every packaged dashboard returns data of a real run."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from tests.integration.servers import (
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    free_port,
    request,
)

PRESETS = files("vmanomaly") / "presets"
BOARDS = ("default/dashboard.json", "node-exporter/dashboard.json", "common/self_monitoring.json")
NODES = ("a:9100", "b:9100")
PAST_S, FUTURE_S = 240, 300

RATE = "rate({}[10s])"
RATIO = "rate({}[10s]) / rate({}[10s])"
INDICATORS = {
    "page_faults": RATE.format("node_vmstat_pgmajfault"),
    "context_switch": RATE.format("node_context_switches_total"),
    "cpu_seconds_total": "avg(rate(node_cpu_seconds_total[10s])) by (mode, instance)",
    "receive_bytes": RATE.format("node_network_receive_bytes_total"),
    "transmit_bytes": RATE.format("node_network_transmit_bytes_total"),
    "host_network_receive_errors": RATIO.format(
        "node_network_receive_errs_total", "node_network_receive_packets_total"
    ),
    "host_network_transmit_errors": RATIO.format(
        "node_network_transmit_errs_total", "node_network_transmit_packets_total"
    ),
    "read_latency": RATIO.format(
        "node_disk_read_time_seconds_total", "node_disk_reads_completed_total"
    ),
    "write_latency": RATIO.format(
        "node_disk_write_time_seconds_total", "node_disk_writes_completed_total"
    ),
}
LABELS: dict[str, list[dict[str, str]]] = {
    "node_cpu_seconds_total": [{"cpu": "0", "mode": "user"}, {"cpu": "0", "mode": "idle"}],
    **{
        f"node_network_{way}_{what}_total": [{"device": "eth0"}]
        for way in ("receive", "transmit")
        for what in ("bytes", "errs", "packets")
    },
    **{
        f"node_disk_{what}": [{"device": "sda"}]
        for what in (
            "read_time_seconds_total",
            "reads_completed_total",
            "write_time_seconds_total",
            "writes_completed_total",
        )
    },
    "node_vmstat_pgmajfault": [{}],
    "node_context_switches_total": [{}],
}
STEADY = ("_packets_total", "_completed_total")


def node_series(now_s: int) -> Iterator[tuple[dict[str, str], Samples]]:
    """Yield the counters of two nodes, which from now on grow ever faster.

    However late a run starts, what it reads is unlike anything before.
    """
    noise = np.random.default_rng(7)
    times = np.arange(now_s - PAST_S, now_s + FUTURE_S)
    common = {"job": "node"}
    for node in NODES:
        yield (
            {"__name__": "node_uname_info", "instance": node, **common},
            [(1000 * int(second), 1.0) for second in times],
        )
        for name, many in LABELS.items():
            for labels in many:
                growth = noise.uniform(0.9, 1.1, times.size)
                if not name.endswith(STEADY):
                    growth *= 1.1 ** np.maximum(times - now_s, 0)
                values = np.cumsum(growth).tolist()
                stamps = (1000 * times).tolist()
                yield (
                    {"__name__": name, "instance": node, **common, **labels},
                    list(zip(stamps, values, strict=True)),
                )


def config(url: str, port: int) -> dict[str, Any]:
    return {
        "reader": {
            "datasource_url": url,
            "sampling_period": "1s",
            "queries": {alias: {"expr": expr} for alias, expr in INDICATORS.items()},
        },
        "writer": {
            "datasource_url": url,
            "metric_format": {
                "__name__": "$VAR",
                "for": "$QUERY_KEY",
                "preset": "node-exporter",
            },
        },
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": "2m",
                "fit_every": "1d",
                "infer_every": "1s",
            }
        },
        "models": {
            name: {
                "class": name,
                "queries": "all",
                "schedulers": "all",
                "provide_series": ["anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper"],
            }
            for name in ("zscore_online", "mad_online")
        },
        "settings": {"restore_state": True},
        "server": {"addr": "127.0.0.1", "port": port},
        "monitoring": {"push": {"url": url, "push_frequency": ""}},
    }


@dataclass(frozen=True)
class Watched:
    """A database with what a run has written and pushed, and when the run was over."""

    vm: VictoriaMetrics
    end_s: int

    def ask(self, path: str, **fields: str) -> Any:
        status, body = request("POST", f"{self.vm.url}/api/v1/{path}", fields=fields)
        assert status == 200, (fields, body)
        return json.loads(body)["data"]

    def values(self, expr: str, instant: bool) -> list[float]:
        """Return all values of an expression that are numbers."""
        if instant:
            data = self.ask("query", query=expr, time=str(self.end_s), nocache="1")
            samples = [series["value"] for series in data["result"]]
        else:
            data = self.ask(
                "query_range",
                query=expr,
                start=str(self.end_s - 60),
                end=str(self.end_s),
                step="5",
                nocache="1",
            )
            samples = [sample for series in data["result"] for sample in series["values"]]
        return [value for _, text in samples if not math.isnan(value := float(text))]

    def responses(self, of: str) -> Counter[str]:
        """Return how many responses the reader or the writer has counted, by their code."""
        counts: Counter[str] = Counter()
        for labels, samples in self.vm.export(f"vmanomaly_{of}_responses_total").items():
            counts[labels["code"]] += int(samples[-1][1])
        return counts

    def options(self, query: str) -> list[str]:
        """Return what a variable offers."""
        if match := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
            selector, label = match.groups()
            return list(self.ask(f"label/{label}/values", **self._recent(selector)))
        match = re.fullmatch(r"label_names\((.+)\)", query)
        assert match, query
        return list(self.ask("labels", **self._recent(match[1])))

    def _recent(self, selector: str) -> dict[str, str]:
        return {
            "match[]": selector,
            "start": str(self.end_s - 300),
            "end": str(self.end_s),
        }


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("dashboards")
    port = free_port()
    # Without it, an older VictoriaMetrics shows the last half minute late.
    with VictoriaMetrics(folder, "-search.latencyOffset=1ms") as vm:
        vm.import_series(node_series(int(time.time())))
        vm.force_flush()
        states = {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "states")}
        with Vmanomaly(folder, config(vm.url, port), environ=states) as service:
            runs = 'min(vmanomaly_model_runs_total{stage="infer"}) by (query_key)'

            def enough() -> bool:
                vm.force_flush()
                status, body = request("POST", f"{vm.url}/api/v1/query", fields={"query": runs})
                assert status == 200, body
                found = json.loads(body)["data"]["result"]
                n_runs = [float(series["value"][1]) for series in found]
                return len(n_runs) == len(INDICATORS) and min(n_runs) >= 12

            service.wait_until(enough, "runs of every query")
            service.signal(signal.SIGTERM)
            assert service.wait() == 0, service.output
        vm.force_flush()
        yield Watched(vm, int(time.time()))


def board_at(path: str) -> dict[str, Any]:
    loaded = json.loads((PRESETS / path).read_text())
    assert isinstance(loaded, dict)
    return loaded


def chosen(board: dict[str, Any]) -> dict[str, str]:
    """Return the values of the variables as they are when a dashboard is opened."""
    result = {"__range": "60s", "__rate_interval": "20s"}
    for variable in board["templating"]["list"]:
        value = variable.get("current", {}).get("value", "")
        if value == ["$__all"]:
            value = variable["allValue"]
        result[variable["name"]] = value[0] if isinstance(value, list) else value
    return result


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda found: values[found[1] or found[2]], text)


def targets() -> Iterator[Any]:
    for path in BOARDS:
        waiting = list(board_at(path)["panels"])
        while waiting:
            panel = waiting.pop(0)
            waiting[:0] = panel.get("panels", ())
            for target in panel.get("targets", ()):
                name = f"{path}: {panel['id']} {panel['title']} {target['refId']}"
                yield pytest.param(path, target, id=name)


@pytest.mark.parametrize(("path", "target"), list(targets()))
def test_an_expression_returns_data(watched: Watched, path: str, target: dict[str, Any]) -> None:
    expr = filled(target["expr"], chosen(board_at(path)))
    assert watched.values(expr, target["instant"]), expr


@pytest.mark.parametrize("path", BOARDS)
def test_a_variable_has_options(watched: Watched, path: str) -> None:
    board = board_at(path)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            options = watched.options(filled(variable["query"], chosen(board)))
            assert options, variable["name"]
            default = variable["current"]["value"]
            assert default == ["$__all"] or default in options, variable["name"]


def test_the_table_of_scores_tells_what_the_scores_are(watched: Watched) -> None:
    board = board_at("default/dashboard.json")
    values = chosen(board)
    (table,) = (panel for panel in board["panels"] if panel["type"] == "table")
    shown = {}
    rename = table["transformations"][1]["options"]["renameByName"]
    for target in table["targets"]:
        result = watched.ask(
            "query",
            query=filled(target["expr"], values),
            time=str(watched.end_s),
            nocache="1",
        )["result"]
        (value,) = (
            float(series["value"][1])
            for series in result
            if series["metric"] == {"for": "cpu_seconds_total"}
        )
        shown[rename[f"Value #{target['refId']}"]] = value
    series = watched.vm.export('anomaly_score{for="cpu_seconds_total"}').values()
    scores = np.array([value for samples in series for _, value in samples])
    assert shown["Series"] == len(series)
    assert shown["Points"] == scores.size
    assert shown["Anomalies"] == np.count_nonzero(scores > 1)
    assert shown["Share"] == pytest.approx(np.mean(scores > 1))
    assert shown["Min."] == scores.min()
    assert shown["Max."] == scores.max()
    for name, q in (("q25", 0.25), ("Median", 0.5), ("q75", 0.75), ("q99", 0.99)):
        below, above = (
            np.quantile(scores, q, method="lower"),
            np.quantile(scores, q, method="higher"),
        )
        # A bucket is 14 % wide.
        assert below / 1.14 <= shown[name] <= above * 1.14


def test_what_is_accepted_is_scored_and_requests_succeed(watched: Watched) -> None:
    board = board_at("common/self_monitoring.json")
    values = chosen(board)
    table = next(panel for panel in board["panels"] if panel["type"] == "table")
    rename = table["transformations"][1]["options"]["renameByName"]
    shown = {
        rename[f"Value #{target['refId']}"]: watched.values(filled(target["expr"], values), True)
        for target in table["targets"]
    }
    reads, n_writes = watched.responses("reader"), watched.responses("writer").total()
    # Those that are under way at the stop are broken off, at most one for each query.
    assert reads.keys() <= {"200", "cancelled"}
    assert reads["cancelled"] <= len(INDICATORS)
    assert {name: shown[name] for name in ("Reads", "Writes", "I/O", "Errors", "Skipped")} == {
        "Reads": [pytest.approx(reads["200"] / reads.total())],
        "Writes": [1],
        "I/O": [pytest.approx((reads["200"] + n_writes) / (reads.total() + n_writes))],
        "Errors": [0],
        "Skipped": [0],
    }
    assert shown["Acceptance"] == [1]
    assert shown["Models"] == [2 * 2 * (len(INDICATORS) + 1)]
