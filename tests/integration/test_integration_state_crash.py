"""`kill -9` at any moment costs no score, and changes none."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.history import DATA, FROM, STEP
from tests.integration.nursery import Nursery, nursery
from tests.integration.scored_history import fill, first_difference, scores
from tests.integration.servers import VictoriaMetrics

logger = logging.getLogger(__name__)

N_KILLS = 50
INFER_EVERY = STEP
START = FROM + INFER_EVERY
END = START + 450 * INFER_EVERY


def services(config: Path, models: Path) -> AbstractContextManager[Nursery]:
    return nursery(
        "tests.integration.crashing_service",
        str(config),
        environ={"VMANOMALY_MODEL_DUMPS_DIR": str(models)},
        log=models.with_suffix(".log"),
    )


def write_config(path: Path, url: str, name: str, interval: str) -> Path:
    sections: dict[str, Any] = {
        "settings": {"restore_state": True, "checkpoint_interval": interval},
        "reader": {
            "datasource_url": url,
            "sampling_period": "1m",
            "queries": {"load": {"expr": "load"}},
        },
        "writer": {"datasource_url": url, "metric_format": {"__name__": name, "for": "load"}},
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": "2h",
                "fit_every": f"{24 * INFER_EVERY // STEP}m",
                "infer_every": f"{INFER_EVERY // STEP}m",
            }
        },
        "models": {
            name: {"class": name, "queries": "all", "schedulers": "all", "min_n_samples_seen": 3}
            for name in ("zscore_online", "mad_online", "quantile_online")
        },
    }
    path.write_text(yaml.safe_dump(sections))
    return path


# Between two fits; make endurance also takes every run, and longer than fits are apart.
INTERVALS = os.environ.get("CHECKPOINT_INTERVALS", "7m").split()


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """A database in which it does not depend on the range of a query what is in a gap.

    Or else a run that also covers missed ones reads other values than those on time.
    """
    with VictoriaMetrics(tmp_path, "-search.setLookbackToStep") as server:
        yield server


@pytest.mark.parametrize("interval", INTERVALS)
def test_killed_at_fifty_moments(vm: VictoriaMetrics, tmp_path: Path, interval: str) -> None:
    chance = random.Random(50)  # noqa: S311 - reproducible
    pause = threading.Event()
    fill(vm, DATA)
    killed = write_config(tmp_path / "killed.yaml", vm.url, "killed_$VAR", interval)
    whole = write_config(tmp_path / "whole.yaml", vm.url, "whole_$VAR", interval)

    with services(killed, tmp_path / "killed") as children:
        now = START
        for _ in range(N_KILLS):
            process = children.start(killed, now, END)
            for _ in range(chance.randrange(4)):
                what, now = children.next_words()
                assert what == "tick"
            # Somewhere in the next run, or before the first one.
            pause.wait(chance.uniform(0, 0.1))
            os.kill(process, signal.SIGKILL)
            last = children.last("tick", now)
            # A while passes, of less than the distance of two fits.
            now = last + chance.randrange(3) * INFER_EVERY if last > now else last
        assert START < now < END - INFER_EVERY
        children.start(killed, now, END)
        assert children.last("tick", now) > END - INFER_EVERY
        assert children.exit_status == 0

    with services(whole, tmp_path / "whole") as children:
        children.start(whole, START, END)
        assert children.last("tick", START) > END - INFER_EVERY
        assert children.exit_status == 0

    assert not list(tmp_path.rglob("*.segment"))
    expected, n_twice = scores(vm, "whole")
    assert n_twice == 0
    found, n_twice = scores(vm, "killed")
    assert not first_difference(expected, found)
    assert len(expected) == 4 * 3 * len(DATA.labels)
    logger.info(
        "killed %d times; %d points, %d of them written again",
        N_KILLS,
        sum(map(len, expected.values())),
        n_twice,
    )
