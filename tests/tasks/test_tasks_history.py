"""A task scores history that was read once, and gives what `backtesting` gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeClock, FakeReader, FakeWriter
from tests.history import DATA, END, FROM, STEP, answer, config, points_of
from vmanomaly.config import Config
from vmanomaly.config.registry import MODELS
from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.config.tuned import NOT_TUNED
from vmanomaly.context import RunContext
from vmanomaly.detector import create_detector
from vmanomaly.errors import CancelledError
from vmanomaly.model import create_model, create_multivariate_model
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import create_scheduler
from vmanomaly.scheduler.backtesting import backtesting_runs
from vmanomaly.series import Origin, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.tasks.history import score_history

pytestmark = pytest.mark.slow

# Prophet takes a second for every piece, and holtwinters does the same with pieces.
CLASSES = [alias for alias in MODELS.aliases if alias not in {*NOT_TUNED, "prophet"}]


def scheduler(**keys: Any) -> dict[str, Any]:
    return {
        "class": "backtesting",
        "from_s": FROM / 1000,
        "to_s": END / 1000,
        "fit_window": "2h",
        "fit_every": "80m",
        "inference_only": True,
        **keys,
    }


def by_scheduler(config: Config) -> FakeWriter:
    writer = FakeWriter()
    models = create_models(config)
    jobs = create_jobs(config, models, FakeReader(answer), writer, Health({}), Metrics())["s"]
    with ThreadPoolExecutor(2) as executor:
        create_scheduler(config.schedulers["s"], jobs, FakeClock(0), executor, 0).run(lambda: None)
    return writer


def by_task(config: Config, context: RunContext | None = None) -> FakeWriter:
    section, query = config.models["m"], config.reader.queries["load"]
    stretch = config.schedulers["s"]
    assert isinstance(stretch, BacktestingSection)
    runs = backtesting_runs(stretch)
    history = answer(query, TimeRange(FROM - 120 * STEP, END), "fit")
    model = (
        create_multivariate_model(section, [query])
        if section.multivariate
        else create_model(section, query)
    )
    detector = create_detector(model, section, [query])
    writer = FakeWriter()
    for piece in score_history(detector, [history], runs, context or RunContext()):
        for part in piece.parts:
            writer.write(part.predictions, Origin(("load",), "m", "s"))
    return writer


@pytest.mark.parametrize("model", CLASSES)
@pytest.mark.parametrize("keys", [{"exact": True}, {"exact": True, "infer_every": "8m"}, {}])
def test_the_numbers_are_those_of_backtesting(
    tmp_path: Path, model: str, keys: dict[str, Any]
) -> None:
    asked = config(tmp_path, model, scheduler(**keys))
    expected = points_of(by_scheduler(asked))
    assert len(expected) > 100
    assert points_of(by_task(asked)) == expected


def test_short_pieces_leave_out_no_timestamp_and_take_none_twice(tmp_path: Path) -> None:
    found = points_of(by_task(config(tmp_path, "zscore_online", scheduler(fit_every="7m"))))
    finite = np.isfinite(DATA.values) & (DATA.timestamps > FROM)
    assert {(labels, at) for labels, output, _, at in found if output == "y"} == {
        (DATA.labels[row], int(DATA.timestamps[column])) for row, column in np.argwhere(finite)
    }


def test_it_stops_when_it_is_cancelled(tmp_path: Path) -> None:
    context = RunContext()
    context.cancel()
    with pytest.raises(CancelledError):
        by_task(config(tmp_path, "zscore_online", scheduler()), context)
