"""Scores outlive an outage of the database that they are written to, and the service itself."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.integration.servers import Samples, VictoriaMetrics, Vmanomaly, free_port, request
from vmanomaly.writer.delivery.disk_queue import DiskQueue

STEP_S = 60
START = 1_750_000_020
N_FIT, N_INFER = 30, 60
N_OUTPUTS = 4


def wave(host: int) -> tuple[dict[str, str], Samples]:
    times = range(START, START + (N_FIT + N_INFER) * STEP_S, STEP_S)
    points = [(time * 1000, float(time * 7919 % (97 + host))) for time in times]
    return {"__name__": "memory", "host": str(host)}, points


def config(source: str, target: str, folder: Path) -> dict[str, Any]:
    infer_start = START + N_FIT * STEP_S
    return {
        "reader": {
            "datasource_url": source,
            "sampling_period": f"{STEP_S}s",
            "queries": {"memory": {"expr": "memory"}},
        },
        "writer": {"datasource_url": target, "queue_path": str(folder / "queue")},
        "schedulers": {
            "once": {
                "class": "oneoff",
                "fit_start_s": START,
                "fit_end_s": infer_start - STEP_S,
                "infer_start_s": infer_start,
                "infer_end_s": infer_start + (N_INFER - 1) * STEP_S,
            }
        },
        "models": {"zscore": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }


def written(vm: VictoriaMetrics) -> dict[str, Samples]:
    vm.force_flush()
    return {repr(labels): points for labels, points in vm.export('{for="memory"}').items()}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_scores_that_wait_survive_the_service(tmp_path: Path, how: signal.Signals) -> None:
    folders = {name: tmp_path / name for name in ("source", "target", "reference")}
    for folder in folders.values():
        folder.mkdir()
    with (
        VictoriaMetrics(folders["source"]) as source,
        VictoriaMetrics(folders["target"]) as target,
        VictoriaMetrics(folders["reference"]) as reference,
    ):
        source.import_series([wave(0), wave(1)])
        source.force_flush()
        status, output = Vmanomaly(
            folders["reference"], config(source.url, reference.url, folders["reference"])
        ).run()
        assert status == 0, output
        expected = written(reference)
        assert sum(map(len, expected.values())) == 2 * N_OUTPUTS * N_INFER

        target.stop()
        settings = config(source.url, target.url, tmp_path)
        metrics = f"http://127.0.0.1:{settings['server']['port']}/metrics"

        def queued() -> bool:
            try:
                _, text = request("GET", metrics)
            except urllib3.exceptions.HTTPError:
                return False
            lines = text.decode().splitlines()
            sizes = [line for line in lines if line.startswith("vmanomaly_writer_queue_bytes ")]
            return bool(sizes) and float(sizes[0].split()[1]) > 0

        with Vmanomaly(tmp_path, settings) as service:
            service.wait_until(queued, "scores in the queue")
            service.signal(how)
            service.wait()
        assert "Points wait in the queue" in service.output
        assert "Traceback" not in service.output

        target.start()
        # Nothing is read again: what arrives comes from the queue.
        settings["reader"]["queries"]["memory"]["expr"] = "nothing_there"
        status, output = Vmanomaly(tmp_path, settings).run()
        assert status == 0, output
        assert "points queued since the last run" in output
        assert json.dumps(written(target), sort_keys=True) == json.dumps(expected, sort_keys=True)


class TestAFolderThatCannotBeUsed:
    """The service says so, and does not start."""

    @staticmethod
    def complaint(folder: Path, queue: Path, *prefix: str) -> str:
        nowhere = "http://127.0.0.1:1"
        settings = config(nowhere, nowhere, folder)
        settings["writer"]["queue_path"] = str(queue)
        service = Vmanomaly(folder, settings)
        service.command[:0] = prefix
        status, output = service.run()
        assert status == 1, output
        assert "Traceback" not in output
        (line,) = (line for line in output.splitlines() if "ERROR" in line)
        return line

    def test_not_a_folder(self, tmp_path: Path) -> None:
        queue = tmp_path / "queue"
        queue.write_text("something else")
        line = self.complaint(tmp_path, queue)
        assert f"cannot use the queue in {queue}: " in line
        assert "make it a folder that this user may write to, or change writer.queue_path" in line
        assert queue.read_text() == "something else"

    def test_not_writable(self, tmp_path: Path) -> None:
        queue = tmp_path / "queue"
        queue.mkdir(mode=0o500)
        # Permissions do not stop root, unless it gives up the capability for that.
        prefix = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
        line = self.complaint(tmp_path, queue, *prefix)
        assert f"cannot use the queue in {queue}: Permission denied; " in line
        assert "make it a folder that this user may write to, or change writer.queue_path" in line

    def test_used_by_another_service(self, tmp_path: Path) -> None:
        queue = tmp_path / "queue"
        other = DiskQueue(queue, 1 << 20, lambda reason, n_points: None)
        try:
            line = self.complaint(tmp_path, queue)
        finally:
            other.close()
        assert f"another process uses the queue in {queue}: stop it, or give each its own" in line
        assert "writer.queue_path" in line
