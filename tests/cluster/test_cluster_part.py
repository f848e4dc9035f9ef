"""What a member of a cluster runs of a configuration."""

from __future__ import annotations

import pickle
from pathlib import Path

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.cluster.part import part_of
from vmanomaly.config.members import Member
from vmanomaly.config.monitoring import MonitoringSection

ENVIRON = {"VMANOMALY_MEMBERS_COUNT": "3", "VMANOMALY_REPLICATION_FACTOR": "2"}


def test_it_has_its_number_and_neither_listens_nor_pushes() -> None:
    content = changed(
        {"server.port": 8490, "monitoring": {"pull": {"port": 8080}, "push": {"url": "http://x"}}},
        MINIMAL,
    )
    part = part_of(load(content, ENVIRON), 2)
    assert part.member == Member(2, 3, 2)
    assert part.server is None
    assert part.monitoring == MonitoringSection()


def test_its_folders_are_its_own() -> None:
    folders = {"VMANOMALY_MODEL_DUMPS_DIR": "/states", "VMANOMALY_DATA_DUMPS_DIR": "/data"}
    whole = load(MINIMAL, ENVIRON | folders)
    parts = [part_of(whole, number) for number in range(2)]
    assert [part.model_folder for part in parts] == [
        Path("/states/member-0"),
        Path("/states/member-1"),
    ]
    assert [part.data_folder for part in parts] == [Path("/data/member-0"), Path("/data/member-1")]
    assert [part.writer.queue_path for part in parts] == [  # type: ignore[attr-defined]
        Path("/data/queue/member-0"),
        Path("/data/queue/member-1"),
    ]


def test_without_folders_there_are_none() -> None:
    part = part_of(load(MINIMAL, ENVIRON), 0)
    assert (part.model_folder, part.data_folder) == (None, None)
    assert part.writer == load(MINIMAL).writer


def test_it_travels() -> None:
    content = changed({"reader.user": "me", "reader.password": "sesame"}, MINIMAL)
    part = part_of(load(content, ENVIRON), 1)
    assert pickle.loads(pickle.dumps(part)) == part  # noqa: S301 - made here
