"""The whole configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from vmanomaly.config.members import Member
from vmanomaly.config.model import ModelSection
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.reader import ReaderSection
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.writer import WriterSection

UnitAliases: TypeAlias = tuple[str, str, tuple[str, ...]]
"""The aliases of the scheduler, the model and the queries of a unit."""


@dataclass(frozen=True)
class Share:
    """The part of a config that one of several members runs.

    Attributes
    ----------
    names
        The names of its sub-configs.
    n_total
        The number of sub-configs of the whole config.
    units
        Its units: of a model on two queries under two schedulers, a member may run only two.
    """

    names: tuple[str, ...]
    n_total: int
    units: frozenset[UnitAliases]


@dataclass(frozen=True)
class UiDatasource:
    """The datasource of all queries of the UI and the API.

    Attributes
    ----------
    url
        Its address.
    type
        `vm` or `vlogs`.
    """

    url: str
    type: str = "vm"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A valid configuration, with every default filled in and without anything that is not used.

    Attributes
    ----------
    reader
        Where series come from. Its queries are those that at least one model uses.
    writer
        Where scores go.
    models
        By alias; each is attached to at least one query and one scheduler.
    schedulers
        By alias; each is used by some model.
    settings, monitoring
        What concerns the service itself.
    server
        Its HTTP server; None for none, as where all schedulers end by themselves and the section is
        left out.
    preset
        Name of the preset.
    data_folder
        Where the data of a fit is kept while models learn it (`VMANOMALY_DATA_DUMPS_DIR`); None
        keeps it in memory.
    model_folder
        Where fitted models are kept between runs (`VMANOMALY_MODEL_DUMPS_DIR`); None keeps them in
        memory.
    ui_datasource
        Where all queries of the UI and the API go (`VMANOMALY_UI_DATASOURCE_URL`, `..._TYPE`);
        None lets each request say so.
    member
        Which of several members this process is.
    share
        The part that this member runs, if this is not the whole config.
    """

    reader: ReaderSection
    writer: WriterSection
    models: dict[str, ModelSection]
    schedulers: dict[str, SchedulerSection]
    settings: SettingsSection
    server: ServerSection | None
    monitoring: MonitoringSection
    preset: str = "default"
    data_folder: Path | None = None
    model_folder: Path | None = None
    ui_datasource: UiDatasource | None = None
    member: Member = field(default_factory=Member)
    share: Share | None = None

    @property
    def units(self) -> list[UnitAliases]:
        """Every model on its queries under each of its schedulers, or this member's part of it."""
        return [
            unit
            for model, section in self.models.items()
            for scheduler in section.schedulers
            for queries in section.query_groups
            for unit in [(scheduler, model, queries)]
            if self.share is None or unit in self.share.units
        ]
