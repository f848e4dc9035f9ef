"""The running service: schedulers, their jobs, and a graceful end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence

from prometheus_client import CollectorRegistry

from vmanomaly.clock import Clock, SystemClock
from vmanomaly.config import Config
from vmanomaly.config.config import Share
from vmanomaly.config.members import Member
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.splitting import described, own_part
from vmanomaly.context import RunContext
from vmanomaly.episodes import counted
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.resources import available_cpus
from vmanomaly.printable import on_one_line
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey
from vmanomaly.service.delivered import bounded
from vmanomaly.service.health import Health, HealthStatus
from vmanomaly.service.job import QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.native_threads import limit_native_threads, n_native_threads
from vmanomaly.service.plan import (
    Models,
    create_models,
    longest_catch_up,
    with_custom_classes,
)
from vmanomaly.service.process import describe_process
from vmanomaly.service.readiness import Readiness
from vmanomaly.service.schedulers import Schedulers
from vmanomaly.service.work import Work, create_work, is_unchanged, warm_up
from vmanomaly.service.writer_slot import WriterSlot
from vmanomaly.state import StateStore
from vmanomaly.writer import create_writer

logger = logging.getLogger(__name__)

_GRACE_S = 10.0
_MAX_NAMES = 100
# Labels of the metrics of a scheduler, of a query under it, and of a model on that.
_SCHEDULER = ("scheduler_alias",)
_QUERY = ("scheduler_alias", "query_key")
_UNIT = ("scheduler_alias", "query_key", "model_alias")


class Service:
    """Everything that a configuration describes; while it runs, another one may replace it.

    Parameters
    ----------
    config
        A validated configuration.
    clock
        Tells the schedulers the time.
    metrics
        The service's own metrics.
    context
        Cancelling it stops the service, and everything in progress with it. It counts every fit
        and every infer, and knows how many to expect if schedulers end by themselves.
    progress
        Where another process has come that is gone, from `progress`: the jobs of which no state
        is stored continue there.

    Attributes
    ----------
    metrics : Metrics
        As given.
    health : Health
        What is wrong at the moment.
    readiness : Readiness
        What is missing before the service is ready.
    abandoned : bool
        After `run`: whether some work did not end in time after a stop.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        context: RunContext | None = None,
        progress: Mapping[JobKey, Progress] | None = None,
    ) -> None:
        # Before anything is opened, since the user's classes may be wrong.
        whole = with_custom_classes(config)
        config = own_part(whole)
        models = create_models(config)
        self._will_never_work = not config.schedulers and _ends_by_itself(whole)
        self.metrics = metrics or Metrics()
        self.metrics.preset = config.preset
        self.abandoned = False
        self._context = (context or RunContext()).child()
        self._clock = clock or SystemClock()
        self._progress_before = progress or {}
        self._store = _open_store(config)
        self._writer = WriterSlot(
            config.writer, lambda section: create_writer(section, self.metrics)
        )
        self.health = Health({"reader": self._check_reader, "writer": self._writer.check_health})
        self._work = self._create_work(config, models)
        self.readiness = Readiness(
            lambda: [job for jobs in self._work.jobs.values() for job in jobs], self.health
        )
        self._schedulers = Schedulers(self._clock, self.health, self.metrics, self._context)
        self._has_started = threading.Event()

    def run(self) -> int:
        """Work until every scheduler has ended or `stop` is called.

        Returns
        -------
        int
            The exit status: 0 if all went well, 1 if a scheduler failed, or a run of one that ends
            by itself.
        """
        try:
            return self._run()
        finally:
            # Where it never started, `apply` is not to wait for that, nor to start anything.
            self._schedulers.stop()
            self._has_started.set()
            self.health.stop()

    def _run(self) -> int:
        describe_process(self.metrics)
        self._describe(self._work)
        if self._work.config.member.has_replicas:
            logger.info(
                "Replicas write the same series: the database needs -dedup.minScrapeInterval=1ms "
                "on vmsingle, or on vmselect and vmstorage"
            )
        if self._will_never_work:
            self.stop()
        self._limit_native_threads(self._work.config.settings)
        self._writer.start()
        if not self._will_never_work:
            jobs = self._work.lasting_jobs(self._work.jobs)
            self._work.keeper.restore(jobs)
            self._resume(jobs)
        self.health.start()
        warm_up(self._work, lambda: self._schedulers.is_stopped or self._context.is_cancelled)
        try:
            with self._context.calling_on_cancel(self.stop):
                self._schedulers.start(self._work, list(self._work.jobs))
                self._has_started.set()
                self._schedulers.wait()
        finally:
            is_well = self._close()
        for alias, reasons in self._schedulers.failures.items():
            logger.error("Scheduler '%s' failed: %s", alias, "; ".join(reasons))
        return 0 if is_well or self._schedulers.is_stopped else 1

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics that describe it."""
        return self.metrics.registry

    def status(self) -> HealthStatus:
        """Return what is wrong at the moment."""
        return self.health.status()

    def unready_reasons(self) -> list[str]:
        """Return one line for each thing that is missing before the service is ready."""
        return self.readiness.reasons()

    def progress(self) -> dict[JobKey, Progress]:
        """Return how far each job has come with all scores delivered, for a process after this."""
        work = self._work
        jobs = work.lasting_jobs(work.jobs)
        return {job.key: job.delivered for job in jobs if job.delivered is not None}

    def stop(self) -> None:
        """Take no new work, and let `run` return within ten seconds. Safe in a signal handler."""
        self._schedulers.stop()

    def hold(self, settings: SettingsSection) -> None:
        """Apply the settings that need nothing to be rebuilt, once `run` has applied its own."""
        self._has_started.wait()
        self._limit_native_threads(settings)

    def apply(self, config: Config) -> None:
        """Continue with another configuration or, if it cannot be applied, as before.

        A scheduler keeps running untouched if neither it nor its models, queries and reader have
        changed. The others are ended between two runs and replaced; what their models have
        learned, and how far they had come, is kept if the new ones have the same signature.

        Parameters
        ----------
        config
            A validated configuration.

        Raises
        ------
        RollbackError
            It cannot be applied, and there is no way back.
        VmanomalyError
            It cannot be applied. The old one stays in use.
        """
        self._has_started.wait()
        if self._schedulers.is_stopped:
            return
        before = self._work
        config = own_part(with_custom_classes(config))
        kept = {
            alias
            for alias in config.schedulers
            if alias in before.jobs and is_unchanged(alias, before.config, config)
        }
        ended = [alias for alias in self._schedulers.aliases if alias not in kept]
        self._schedulers.check_not_stuck(ended)
        work = self._create_work(config, create_models(config), before)
        work.jobs.update({alias: before.jobs[alias] for alias in kept})
        warm_up(work)
        started = [alias for alias in work.jobs if alias not in kept]
        works = [*self._schedulers.works, before]
        with self._schedulers.changing():
            self._schedulers.end(ended)
            if self._schedulers.is_over:
                return
            try:
                work.keeper.take_over(
                    work.lasting_jobs(started), before.keeper, before.lasting_jobs(ended)
                )
                if config.writer != before.config.writer:
                    self._writer.replace(config.writer)
            except Exception:
                self._schedulers.start(before, ended)
                if work.reader is not before.reader:
                    work.reader.close()
                raise
            work.keeper.drop_all_but(work.lasting_jobs(work.jobs))
            self._work = work
            self.metrics.preset = config.preset
            self._schedulers.start(work, started)
        self.health.probe_again()
        self._close_readers(works)
        self._forget_metrics(before, work)
        self._limit_native_threads(config.settings)
        self._describe(work)
        logger.info(
            "Schedulers left running: %s; started: %s; stopped: %s",
            _names(kept),
            _names(started),
            _names(before.jobs.keys() - work.jobs.keys()),
        )

    def _create_work(self, config: Config, models: Models, before: Work | None = None) -> Work:
        if self._store is None:
            self._store = _open_store(config)
        return create_work(
            config,
            models,
            Keeper(config, self._store, self._clock, self.metrics),
            self._writer,
            self.health,
            self.metrics,
            before,
        )

    def _resume(self, jobs: Sequence[QueryJob]) -> None:
        """Let the jobs that have no state of their own continue where another process has come."""
        for job in jobs:
            progress = self._progress_before.get(job.key)
            if progress is None or job.progress.covered is not None:
                continue
            longest = longest_catch_up(self._work.config, job.key.scheduler_alias)
            job.delivered = bounded(progress, longest)
            job.resume(job.delivered)
            logger.info("%s continues where another process has come", job.name)

    def _check_reader(self) -> None:
        self._work.reader.check_health()

    def _close_readers(self, works: Collection[Work]) -> None:
        """Close those of these readers that no scheduler uses any more."""
        used = {id(work.reader) for work in [*self._schedulers.works, self._work]}
        for reader in {id(work.reader): work.reader for work in works}.values():
            if id(reader) not in used:
                reader.close()

    def _forget_metrics(self, before: Work, work: Work) -> None:
        """Remove the metrics of schedulers, queries and models that are gone."""
        for names in (_SCHEDULER, _QUERY, _UNIT):
            for values in _label_values(before, names) - _label_values(work, names):
                self.metrics.forget(dict(zip(names, values, strict=True)))

    def _describe(self, work: Work) -> None:
        share = work.config.share
        n_total, n_own = work.n_units, work.n_units
        if share is not None:
            n_total, n_own = share.n_total, len(share.names)
            _log_share(work.config.member, share)
        entities = self.metrics.config_entities
        entities.clear()
        entities.labels(preset=work.config.preset, scope="total").set(n_total)
        entities.labels(preset=work.config.preset, scope="shard").set(n_own)
        logger.info(
            "Active schedulers: %s; %s on %d %s",
            ", ".join(work.jobs) or "none",
            counted(work.n_units, "unit"),
            len(work.config.reader.queries),
            "query" if len(work.config.reader.queries) == 1 else "queries",
        )

    def _limit_native_threads(self, settings: SettingsSection) -> None:
        n_threads = n_native_threads(settings, available_cpus())
        limit_native_threads(n_threads)
        self.metrics.native_threads_per_worker.set(n_threads)

    def _close(self) -> bool:
        """End everything. Return whether all went well from the start to here."""
        deadline = time.monotonic() + _GRACE_S
        works = [*self._schedulers.works, self._work]
        self._schedulers.stop_reading()
        self.abandoned = not self._schedulers.join(deadline)
        if self.abandoned:
            logger.warning("Some runs did not end within %.0f s and were abandoned", _GRACE_S)
        else:
            for job in self._schedulers.jobs:
                job.checkpoint()
        # What an abandoned run still writes may be lost, so it must not be stored as done.
        for work in works:
            work.keeper.close()
        self._context.cancel()
        delivered = self._writer.flush(max(0.0, deadline - time.monotonic()))
        is_delivered = delivered and not self._writer.n_dropped
        if not is_delivered:
            logger.warning(
                "The writer could not deliver everything: %d points were dropped, %d wait in the "
                "queue",
                self._writer.n_dropped,
                self._writer.n_queued,
            )
        self._writer.close()
        for reader in {id(work.reader): work.reader for work in works}.values():
            reader.close()
        return is_delivered and not self._schedulers.failures


def _label_values(work: Work, names: Collection[str]) -> set[tuple[str, ...]]:
    return {
        tuple(getattr(unit.origin, name) for name in names)
        for jobs in work.jobs.values()
        for job in jobs
        for unit in job.units
    }


def _names(aliases: Collection[str]) -> str:
    return ", ".join(sorted(aliases)) or "none"


def _ends_by_itself(config: Config) -> bool:
    sections = config.schedulers.values()
    return bool(sections) and all(section.ends_by_itself for section in sections)


def _log_share(member: Member, share: Share) -> None:
    more = len(share.names) - _MAX_NAMES
    logger.info(
        "%s: %s%s",
        described(member, share),
        ", ".join(map(on_one_line, share.names[:_MAX_NAMES])) or "nothing to do",
        f" and {more} more" if more > 0 else "",
    )


def _open_store(config: Config) -> StateStore | None:
    """Open the folder of states; schedulers that end by themselves leave it alone."""
    # A member with nothing to do drops what it did before.
    is_idle_member = config.share is not None and not config.schedulers
    is_endless = not all(section.ends_by_itself for section in config.schedulers.values())
    keeps_states = is_endless or is_idle_member
    return StateStore(config.model_folder) if config.model_folder and keeps_states else None
