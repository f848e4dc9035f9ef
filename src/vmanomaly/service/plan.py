"""From a configuration to jobs: which query is read for which models under which scheduler."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from vmanomaly.config import Config
from vmanomaly.config.loading.rules import check_metric_names, check_multivariate
from vmanomaly.config.model import ModelSection
from vmanomaly.config.problems import Findings
from vmanomaly.detector import create_detector
from vmanomaly.errors import ConfigError
from vmanomaly.keys import query_key
from vmanomaly.model import AnyModel, create_model, create_multivariate_model
from vmanomaly.model.custom.create import resolved_section
from vmanomaly.model.parallel import ParallelModel
from vmanomaly.model.registry import check_with_library
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import Reader
from vmanomaly.reader.workers import n_reads_at_once
from vmanomaly.series import JobKey, Origin
from vmanomaly.service.health import Health
from vmanomaly.service.job import JobDependencies, QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.reads import SharedReads
from vmanomaly.service.unit import Unit
from vmanomaly.service.workers import create_executor
from vmanomaly.slots import Slots
from vmanomaly.writer import Writer

logger = logging.getLogger(__name__)

_MOST_CHECKED = 100

Models: TypeAlias = Mapping[tuple[str, tuple[str, ...]], AnyModel]
"""Models by their alias and the aliases of their queries."""


def create_models(config: Config) -> dict[tuple[str, tuple[str, ...]], AnyModel]:
    """Return the models of a configuration by their alias and the aliases of their queries.

    There is one multivariate model for all its queries; of any other, one for each of them.

    Raises
    ------
    ConfigError
        With every problem of the user's own classes.
    """
    models: dict[tuple[str, tuple[str, ...]], AnyModel] = {}
    findings = Findings()
    for alias, section in config.models.items():
        groups = dict.fromkeys(group for _, model, group in config.units if model == alias)
        try:
            for group in groups:
                queries = [config.reader.queries[query] for query in group]
                models[alias, group] = (
                    create_multivariate_model(section, queries)
                    if section.multivariate
                    else create_model(section, queries[0])
                )
        except ConfigError as error:
            findings.errors_of(("models", alias), error)
    if findings.problems:
        raise findings.as_error()
    _recommend_online(models)
    return models


def check_libraries(config: Config, findings: Findings) -> None:
    """Check what only the libraries of models know, as `create_models` does, but not all of it.

    That of each model is checked on its first query, and of so many models only as a client may
    have checked.

    Parameters
    ----------
    config
        The configuration.
    findings
        Takes every problem, and a warning where not all is checked.
    """
    of_libraries = [alias for alias, section in config.models.items() if section.takes_args]
    for alias in of_libraries[:_MOST_CHECKED]:
        section = config.models[alias]
        try:
            check_with_library(
                section, [config.reader.queries[query] for query in section.query_groups[0]]
            )
        except ConfigError as error:
            findings.errors_of(("models", alias), error)
    if len(of_libraries) > _MOST_CHECKED:
        findings.warn(
            ("models",),
            f"only of {_MOST_CHECKED} of them the args are checked here; use `vmanomaly --dryRun`",
        )


def _recommend_online(models: Models) -> None:
    offline = [alias for (alias, _), model in models.items() if isinstance(model, ParallelModel)]
    if offline:
        logger.info(
            "Models that learn at fits only: %s; temporal_envelope learns between fits too, and is "
            "recommended instead",
            ", ".join(dict.fromkeys(offline)),
        )


def with_custom_classes(config: Config) -> Config:
    """Load the classes of custom models, and return what they say: which are multivariate.

    Raises
    ------
    ConfigError
        With every problem there is.
    """
    models: dict[str, ModelSection] = {}
    findings = Findings()
    for alias, section in config.models.items():
        try:
            models[alias] = resolved_section(section)
        except ConfigError as error:
            findings.errors_of(("models", alias), error)
            continue
        if models[alias].multivariate and not section.multivariate:
            check_multivariate({alias: section}, config.reader.queries, findings)
            check_metric_names(config.writer, [query_key(section.queries)], findings)
    if findings.problems:
        raise findings.as_error()
    return replace(config, models=models)


def create_jobs(
    config: Config,
    models: Models,
    reader: Reader,
    writer: Writer,
    health: Health,
    metrics: Metrics,
    keeper: Keeper | None = None,
    fits: Slots | None = None,
) -> dict[str, list[QueryJob]]:
    """Return the jobs of each scheduler, by its alias.

    Every pair of scheduler and query that some model uses is one job: its data is read once and
    shared by all the models on it. The queries that a multivariate model scores jointly form a
    separate job.
    """
    reads = SharedReads(reader, n_reads_at_once(config.reader))
    jobs: dict[str, list[QueryJob]] = {}
    own_units = frozenset(config.units)
    for scheduler_alias, scheduler in config.schedulers.items():
        units: dict[tuple[str, ...], list[Unit]] = {(query,): [] for query in config.reader.queries}
        for (alias, queries), model in models.items():
            if (scheduler_alias, alias, queries) in own_units:
                origin = Origin(
                    queries=queries,
                    model_alias=alias,
                    scheduler_alias=scheduler_alias,
                    preset=config.preset,
                )
                unit = _create_unit(config, model, queries, origin, metrics)
                units.setdefault(queries, []).append(unit)
        dependencies = JobDependencies(reads, writer, health)
        if not scheduler.ends_by_itself:
            dependencies = replace(dependencies, keeper=keeper, fits=fits)
        jobs |= {
            scheduler_alias: [
                QueryJob(
                    JobKey(scheduler_alias, queries),
                    [config.reader.queries[query] for query in queries],
                    on_queries,
                    dependencies,
                    catch_up=_catch_up(config, scheduler_alias),
                    look_back=_look_back(config, scheduler_alias),
                )
                for queries, on_queries in units.items()
                if on_queries and scheduler.runs
            ]
        }
    return jobs


def _create_unit(
    config: Config,
    model: AnyModel,
    queries: tuple[str, ...],
    origin: Origin,
    metrics: Metrics,
) -> Unit:
    section = config.models[origin.model_alias]
    detector = create_detector(
        model,
        section,
        [config.reader.queries[query] for query in queries],
        config.reader.series_processing_batch_size,
        create_executor(config.settings),
    )
    return Unit(detector, origin, metrics)


def longest_catch_up(config: Config, scheduler_alias: str) -> int:
    """Return how much of a backlog a scheduler makes up, milliseconds.

    That is `query_last_seen_max_lookback`, or else what the scheduler itself makes up.
    """
    lookback = config.reader.query_last_seen_max_lookback
    return int(lookback or config.schedulers[scheduler_alias].longest_catch_up)


def _catch_up(config: Config, scheduler_alias: str) -> int | None:
    if config.reader.query_from_last_seen_timestamp:
        return longest_catch_up(config, scheduler_alias)
    return None


def _look_back(config: Config, scheduler_alias: str) -> int | None:
    """Return how far back late samples are looked for, milliseconds."""
    scheduler, reader = config.schedulers[scheduler_alias], config.reader
    if scheduler.ends_by_itself:
        return None
    if reader.query_from_last_seen_timestamp and reader.query_last_seen_max_lookback:
        return int(reader.query_last_seen_max_lookback)
    return scheduler.look_back + int(reader.eval_delay)
