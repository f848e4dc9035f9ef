"""Which part of a configuration a member of a cluster runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vmanomaly.config import Config
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.writer import WriterSection


def part_of(config: Config, number: int) -> Config:
    """Return the configuration of one member.

    It does not listen and pushes no metrics, since the head does that for all. Its folders are its
    own: `member-0` of the folder of the whole for the member 0.

    Parameters
    ----------
    config
        The configuration of the whole.
    number
        Which member, from 0.
    """
    return replace(
        config,
        member=replace(config.member, number=number),
        server=None,
        monitoring=MonitoringSection(),
        data_folder=_own(config.data_folder, number),
        model_folder=_own(config.model_folder, number),
        writer=_with_own_queue(config, number),
    )


def _own(folder: Path | None, number: int) -> Path | None:
    return None if folder is None else folder / f"member-{number}"


def _with_own_queue(config: Config, number: int) -> WriterSection:
    folder = getattr(config.writer, "queue_path", None)
    if folder is None:
        return config.writer
    return config.writer.model_copy(update={"queue_path": _own(folder, number)})
