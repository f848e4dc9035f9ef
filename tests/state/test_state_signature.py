from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmanomaly.config import Config, load_config
from vmanomaly.series import UnitKey
from vmanomaly.state.signature import differences, signature_of, unit_keys

SECTIONS: dict[str, Any] = {
    "reader.class": "vm",
    "reader.datasource_url": "http://localhost:8428/prefix",
    "reader.sampling_period": "60s",
    "reader.queries.cpu.expr": "cpu",
    "reader.queries.mem.expr": "mem",
    "models.z.class": "zscore_online",
    "models.z.queries": ["cpu"],
    "models.z.schedulers": ["live"],
    "schedulers.live.infer_every": "1m",
    "schedulers.live.fit_window": "1d",
    "writer.datasource_url": "http://localhost:8428",
}
KEY = UnitKey("live", "z", ("cpu",))
STORED = Path(__file__).parent / "signatures"
"""Configurations, and the signatures that version 0.1.0 has stored for them."""


def config(folder: Path, **changes: Any) -> Config:
    sections: dict[str, Any] = {}
    for path, value in (SECTIONS | changes).items():
        *parents, name = path.split(".")
        place = sections
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(sections))
    return load_config([file], {})


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"models.z.z_threshold": 3.0}, ["models.z.z_threshold"]),
        ({"models.z.decay": 0.5}, ["models.z.decay"]),
        ({"models.z.min_n_samples_seen": 1}, ["models.z.min_n_samples_seen"]),
        ({"reader.queries.cpu.expr": "cpu * 2"}, ["reader.queries.cpu.expr"]),
        ({"reader.queries.cpu.step": "30s"}, ["reader.queries.cpu.step"]),
        ({"reader.queries.cpu.tz": "Europe/Kyiv"}, ["reader.queries.cpu.tz"]),
        ({"reader.queries.cpu.offset": "-1m"}, ["reader.queries.cpu.offset"]),
        ({"reader.datasource_url": "http://localhost:8429"}, ["reader.datasource_url"]),
        ({"reader.extra_filters": ['{env="prod"}']}, ["reader.extra_filters"]),
        ({"schedulers.live.fit_window": "2d"}, ["schedulers.live.fit_window"]),
        ({"schedulers.live.fit_every": "2d"}, ["schedulers.live.fit_every"]),
        ({"schedulers.live.start_from": "20:00"}, ["schedulers.live.start_from"]),
        (
            {"models.z.class": "std", "models.z.period": 3},
            ["models.z.class", "models.z.history_strength", "models.z.period"],
        ),
    ],
)
def test_what_a_state_depends_on(tmp_path: Path, changes: dict[str, Any], paths: list[str]) -> None:
    one, other = config(tmp_path), config(tmp_path, **changes)
    assert differences(signature_of(one, KEY), signature_of(other, KEY)) == paths


@pytest.mark.parametrize(
    "changes",
    [
        {"reader.sampling_period": "1m", "schedulers.live.infer_every": "60s"},
        {"reader.datasource_url": "http://somebody:secret@localhost:8428/prefix"},
        {"reader.user": "somebody", "reader.password": "secret"},
        {"reader.bearer_token": "secret"},
        {"reader.headers": {"X": "secret"}},
        {"reader.timeout": "5s", "reader.workers": 2, "reader.verify_tls": False},
        {"reader.queries.cpu.data_range": [0, 1], "models.z.detection_direction": "both"},
        {"reader.queries.mem.expr": "mem * 2"},
        {"models.z.provide_series": ["anomaly_score"], "models.z.clip_predictions": True},
        {"models.z.scale": [1, 2], "models.z.queries": ["cpu", "mem"]},
        {"writer.datasource_url": "http://elsewhere:8428", "settings.n_workers": 2},
    ],
)
def test_what_it_does_not_depend_on(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert signature_of(config(tmp_path), KEY) == signature_of(config(tmp_path, **changes), KEY)


def test_no_value_can_be_read_in_it(tmp_path: Path) -> None:
    changes = {"reader.queries.cpu.expr": "very_secret", "reader.password": "hidden"}
    text = str(signature_of(config(tmp_path, **changes, **{"reader.user": "somebody"}), KEY))
    for word in ("very_secret", "hidden", "somebody", "localhost"):
        assert word not in text


def test_units_of_schedulers_that_end_keep_no_state(tmp_path: Path) -> None:
    once = {"class": "backtesting", "from": "2025-05-08", "to": "2025-05-09"}
    once |= {"fit_window": "1h", "fit_every": "1h"}
    changes = {
        "schedulers.once": once,
        "models.z.schedulers": ["live", "once"],
        "models.z.queries": ["mem", "cpu"],
    }
    assert unit_keys(config(tmp_path, **changes)) == [KEY, UnitKey("live", "z", ("mem",))]


@pytest.mark.parametrize("name", ["vm", "duckdb", "custom"])
def test_stored_states_stay_valid(name: str) -> None:
    stored = json.loads((STORED / "signatures.json").read_text())
    loaded = load_config([STORED / f"{name}.yaml"], {})
    assert {str(key): signature_of(loaded, key) for key in unit_keys(loaded)} == stored[name]
