"""Everything that is built from one configuration before it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from numba.core.event import install_recorder

from vmanomaly.config import Config
from vmanomaly.config.effect import LEARNED_FROM, RESTARTS
from vmanomaly.config.section import Section
from vmanomaly.kernel import many_compilations
from vmanomaly.model import AnyModel
from vmanomaly.model import warm_up as warm_up_model
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import Reader, create_reader
from vmanomaly.reader import warm_up as warm_up_reader
from vmanomaly.reader.workers import n_reads_at_once
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.lane import n_fits_at_once
from vmanomaly.service.plan import Models, create_jobs
from vmanomaly.slots import Slots
from vmanomaly.writer import Writer
from vmanomaly.writer import warm_up as warm_up_writer
from vmanomaly.writer.format import MULTITENANT

logger = logging.getLogger(__name__)

_INSERT_MULTITENANT = f"/insert/{MULTITENANT}/"
_LONG_S = 1.0
"""Compiling that takes so long is told."""


@dataclass(frozen=True)
class Work:
    """Everything that a configuration describes, apart from its writer.

    Attributes
    ----------
    config
        The configuration.
    reader
        Reads its queries.
    keeper
        Keeps what its models learn.
    models
        Its models, by alias and queries.
    jobs
        The jobs of each scheduler, by its alias.
    fits
        How many fits hold their data at a time, over all schedulers that do not end.
    """

    config: Config
    reader: Reader
    keeper: Keeper
    models: Models
    jobs: dict[str, list[QueryJob]]
    fits: Slots

    @property
    def n_units(self) -> int:
        """The number of models on queries under schedulers."""
        return sum(job.n_units for jobs in self.jobs.values() for job in jobs)

    def lasting_jobs(self, aliases: Iterable[str]) -> list[QueryJob]:
        """Return the jobs of those of these schedulers that do not end by themselves."""
        return [
            job
            for alias in aliases
            if not self.config.schedulers[alias].ends_by_itself
            for job in self.jobs[alias]
        ]


def create_work(
    config: Config,
    models: Models,
    keeper: Keeper,
    writer: Writer,
    health: Health,
    metrics: Metrics,
    before: Work | None = None,
) -> Work:
    """Build everything that a configuration describes, apart from its writer.

    Parameters
    ----------
    config
        The configuration.
    models
        Its models, by alias and queries.
    keeper, writer, health, metrics
        As for the jobs.
    before
        What was there before; its reader is kept if the new one would be the same.

    Raises
    ------
    VmanomalyError
        Something cannot be built.
    """
    if before is not None and _reader_of(config) == _reader_of(before.config):
        reader = before.reader
    else:
        guard, to_tenants = None, _writes_to_tenants(config)
        reader = create_reader(config.reader, metrics, config.data_folder, guard, to_tenants)
    fits = Slots(n_fits_at_once()) if before is None else before.fits
    jobs = create_jobs(config, models, reader, writer, health, metrics, keeper, fits)
    return Work(config, reader, keeper, models, jobs, fits)


def warm_up(work: Work, is_stopped: Callable[[], bool] = lambda: False) -> None:
    """Load or compile the kernels now, so that no run has to wait for them.

    Parameters
    ----------
    work
        What is going to run.
    is_stopped
        Tells, before the kernels of each part, whether nothing is going to run any more.
    """
    started = time.perf_counter()
    parts = list(_with_kernels(work))
    with many_compilations():
        for number, (name, warm_up_part) in enumerate(parts, 1):
            if is_stopped():
                return
            part_started = time.perf_counter()
            with install_recorder("numba:compile") as compilations:
                warm_up_part()
            seconds = time.perf_counter() - part_started
            if compilations.buffer and seconds >= _LONG_S:
                message = "Kernels of %s (%d of %d) were compiled in %.1f s"
                logger.info(message, name, number, len(parts), seconds)
    logger.info("Compiled kernels are ready after %.1f s", time.perf_counter() - started)


def _with_kernels(work: Work) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the parts of the work that run kernels, with what loads or compiles these."""
    yield "the reader", partial(warm_up_reader, work.config.reader)
    # Those of one alias differ by query only, and run the same kernels.
    for alias, model in {alias: model for (alias, _), model in work.models.items()}.items():
        yield f"model '{alias}'", partial(_warm_up_model, alias, model)
    yield "the writer", partial(warm_up_writer, work.config.writer)


def _warm_up_model(alias: str, model: AnyModel) -> None:
    try:
        warm_up_model(model)
    except (Exception, SystemExit):
        # A user's model may not take so little; if anything is wrong, its runs say so.
        logger.warning("Model '%s' could not be warmed up", alias, exc_info=True)


def is_unchanged(alias: str, old: Config, new: Config) -> bool:
    """Tell whether a scheduler and all that it runs are the same in two configurations."""
    return _work_of(alias, old) == _work_of(alias, new)


def _work_of(alias: str, config: Config) -> object:
    if alias not in config.schedulers:
        return None
    models = {
        model: section for model, section in config.models.items() if alias in section.schedulers
    }
    queries = {query for section in models.values() for query in section.queries}
    return (
        {unit for unit in config.units if unit[0] == alias},
        _deciding(config.schedulers[alias]),
        {model: _deciding(section) for model, section in models.items()},
        {query: _deciding(config.reader.queries[query]) for query in queries},
        _deciding(config.reader),
        _deciding(config.settings),
        config.preset,
        config.data_folder,
        _writes_to_tenants(config),
    )


def _reader_of(config: Config) -> object:
    return (
        _deciding(config.reader),
        n_reads_at_once(config.reader),
        config.data_folder,
        _writes_to_tenants(config),
    )


def _writes_to_tenants(config: Config) -> bool:
    """Return whether the labels of what is written choose the tenant."""
    url = f"{getattr(config.writer, 'datasource_url', '')}/"
    return getattr(config.writer, "tenant_id", None) == MULTITENANT or _INSERT_MULTITENANT in url


def _deciding(section: Section) -> object:
    return type(section), section.deciding(LEARNED_FROM, RESTARTS)
