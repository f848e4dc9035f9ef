"""From a configuration to jobs: which query is read for which models under which scheduler."""

from __future__ import annotations

from collections.abc import Mapping

from vmanomaly.config import Config
from vmanomaly.config.reader import VmReaderSection
from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.model import Model, create_model
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import Reader
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.unit import Unit
from vmanomaly.writer import Writer
from vmanomaly.writer.format import Destination


def create_models(config: Config) -> dict[tuple[str, str], Model]:
    """Return the models of a configuration by their alias and the alias of a query of theirs."""
    return {
        (alias, query): create_model(section, config.reader.queries[query])
        for alias, section in config.models.items()
        for query in section.queries
    }


def create_jobs(
    config: Config,
    models: Mapping[tuple[str, str], Model],
    reader: Reader,
    writer: Writer,
    health: Health,
    metrics: Metrics,
) -> dict[str, list[QueryJob]]:
    """Return the jobs of each scheduler, by its alias.

    Every pair of scheduler and query that some model uses is one job: its data is read once and
    shared by all the models on it.
    """
    jobs: dict[str, list[QueryJob]] = {}
    for scheduler_alias in config.schedulers:
        for query in config.reader.queries.values():
            units = [
                Unit(
                    model=models[alias, query.alias],
                    section=section,
                    query=query,
                    destination=Destination(
                        query_key=query.alias,
                        model_alias=alias,
                        scheduler_alias=scheduler_alias,
                        preset=config.preset,
                    ),
                    metrics=metrics,
                    min_block_series=config.reader.series_processing_batch_size,
                )
                for alias, section in config.models.items()
                if scheduler_alias in section.schedulers and query.alias in section.queries
            ]
            if units:
                jobs.setdefault(scheduler_alias, []).append(
                    QueryJob(
                        query,
                        scheduler_alias,
                        units,
                        reader,
                        writer,
                        health,
                        catch_up=_catch_up(config, scheduler_alias),
                    )
                )
    return jobs


def longest_catch_up(config: Config, scheduler_alias: str) -> int:
    """Return how much of a backlog a scheduler makes up, milliseconds.

    That is `query_last_seen_max_lookback`, or else the fit window, which is known to fit into
    memory.
    """
    if isinstance(config.reader, VmReaderSection) and config.reader.query_last_seen_max_lookback:
        return int(config.reader.query_last_seen_max_lookback)
    scheduler = config.schedulers[scheduler_alias]
    return int(scheduler.fit_window) if isinstance(scheduler, PeriodicSection) else 0


def _catch_up(config: Config, scheduler_alias: str) -> int | None:
    reader = config.reader
    if isinstance(reader, VmReaderSection) and reader.query_from_last_seen_timestamp:
        return longest_catch_up(config, scheduler_alias)
    return None
