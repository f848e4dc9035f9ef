"""The whole configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vmanomaly.config.model import ModelSection
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.reader import ReaderSection
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.writer import WriterSection


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
