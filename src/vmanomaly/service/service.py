"""The running service: schedulers, workers, server, and an orderly end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import vmanomaly
from vmanomaly.config import Config
from vmanomaly.config.scheduler import (
    BacktestingSection,
    OneoffSection,
    PeriodicSection,
    SchedulerSection,
)
from vmanomaly.model import warm_up as warm_up_model
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.resources import available_cpus, available_memory
from vmanomaly.reader import create_reader
from vmanomaly.reader import warm_up as warm_up_reader
from vmanomaly.reader.workers import n_workers
from vmanomaly.scheduler import create_scheduler
from vmanomaly.scheduler.backtesting import backtesting_runs
from vmanomaly.scheduler.clock import Clock, SystemClock
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.native_threads import limit_native_threads, n_native_threads
from vmanomaly.service.plan import (
    create_jobs,
    create_models,
    longest_catch_up,
    with_custom_classes,
)
from vmanomaly.service.supervisor import MAX_RESTARTS, Supervisor
from vmanomaly.state import StateStore
from vmanomaly.writer import create_writer
from vmanomaly.writer import warm_up as warm_up_writer

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

_GRACE_S = 10.0


class Service:
    """Everything that one configuration asks for.

    Parameters
    ----------
    config
        A validated configuration.
    clock
        Tells the schedulers the time.
    metrics
        The service's own metrics.
    on_stage_done
        Called after each fit and each infer, in the thread that did it.

    Attributes
    ----------
    metrics : Metrics
        As given.
    health : Health
        What is wrong at the moment.
    abandoned : bool
        After `run`: whether some work did not end in time after a stop.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        on_stage_done: Callable[[], None] | None = None,
    ) -> None:
        # Before anything is opened, since what the user wrote may be wrong.
        self.config = config = with_custom_classes(config)
        self._models = create_models(config)
        self.metrics = metrics or Metrics()
        self.abandoned = False
        self._clock = clock or SystemClock()
        self._keeper = Keeper(config, _open_store(config), self._clock, self.metrics)
        self._reader = create_reader(config.reader, self.metrics, config.preset, config.data_folder)
        self._writer = create_writer(config.writer, self.metrics, config.preset)
        self.health = Health(
            {"reader": self._reader.check_health, "writer": self._writer.check_health}
        )
        self._jobs = create_jobs(
            config,
            self._models,
            self._reader,
            self._writer,
            self.health,
            self.metrics,
            self._keeper,
            on_stage_done,
        )
        self._executor = ThreadPoolExecutor(self._n_threads(), thread_name_prefix="worker")
        self._supervisors: dict[str, Supervisor] = {}
        self._stopped = False
        self._failed: list[str] = []

    def run(self, on_progress: Progress | None = None) -> int:
        """Work until every scheduler has ended or `stop` is called.

        Parameters
        ----------
        on_progress
            Called with the units of work done, their total and the last one's name, while
            schedulers run that end by themselves.

        Returns
        -------
        int
            The exit status: 0 when all went well, 1 when a run that ends by itself or a
            scheduler failed.
        """
        self._describe()
        self._restore()
        self._limit_native_threads()
        self._warm_up()
        self.health.start()
        if on_progress is not None:
            self._report_progress(on_progress)
        try:
            self._run_schedulers()
        finally:
            self._close()
        return 1 if self._failed and not self._stopped else 0

    def stop(self) -> None:
        """Take no new work, and let `run` return within ten seconds. Safe in a signal handler."""
        self._stopped = True
        for supervisor in self._supervisors.values():
            supervisor.stop()

    def _n_threads(self) -> int:
        """Return how many runs may be under way at a time."""
        backtests = (
            section.n_jobs
            for section in self.config.schedulers.values()
            if isinstance(section, BacktestingSection)
        )
        return max(n_workers(self.config.reader), *backtests, 1)

    def _describe(self) -> None:
        metrics, preset = self.metrics, self.config.preset
        now = time.time()
        metrics.start_time_seconds.set(now)
        # The UI has no version of its own.
        for version_info in (metrics.version_info, metrics.ui_version_info):
            version_info.labels(version=vmanomaly.__version__).set(1)
        metrics.available_memory_bytes.set(available_memory())
        metrics.cpu_cores_available.set(available_cpus())
        metrics.config_reload_enabled.set(0)
        metrics.config_last_reload_successful.set(1)
        metrics.config_last_reload_success_timestamp_seconds.set(now)
        for status in ("success", "failure"):
            metrics.config_reloads.labels(status=status)
        n_units = sum(job.n_units for jobs in self._jobs.values() for job in jobs)
        for scope in ("total", "shard"):
            metrics.config_entities.labels(preset=preset, scope=scope).set(n_units)
        logger.info(
            "Active schedulers: %s; %d units of work on %d queries",
            ", ".join(self._jobs) or "none",
            n_units,
            len(self.config.reader.queries),
        )

    def _restore(self) -> None:
        """Let the jobs go on where those of an earlier process had come."""
        self._keeper.restore(
            [
                job
                for alias, jobs in self._jobs.items()
                if isinstance(self.config.schedulers[alias], PeriodicSection)
                for job in jobs
            ]
        )

    def _limit_native_threads(self) -> None:
        n_threads = n_native_threads(self.config.settings, available_cpus())
        limit_native_threads(n_threads)
        self.metrics.native_threads_per_worker.set(n_threads)

    def _warm_up(self) -> None:
        """Load or compile the kernels now, so that no run has to wait for them."""
        started = time.perf_counter()
        warm_up_reader(self.config.reader)
        # Those of one alias differ by query only, and run the same kernels.
        for alias, model in {alias: model for (alias, _), model in self._models.items()}.items():
            try:
                warm_up_model(model)
            except Exception:
                # A user's model may not take so little; if anything is wrong, its runs say so.
                logger.warning("Model '%s' could not be warmed up", alias, exc_info=True)
        warm_up_writer(self.config.writer)
        logger.info("Compiled kernels are ready after %.1f s", time.perf_counter() - started)

    def _run_schedulers(self) -> None:
        # Only now, since the first run is due when its scheduler is made.
        self._supervisors = {alias: self._supervisor(alias) for alias in self._jobs}
        if self._stopped:
            return
        threads = [
            threading.Thread(target=self._supervise, args=item, name=f"scheduler {item[0]}")
            for item in self._supervisors.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _supervisor(self, alias: str) -> Supervisor:
        section = self.config.schedulers[alias]
        scheduler = create_scheduler(
            section,
            self._jobs[alias],
            self._clock,
            self._executor,
            longest_catch_up(self.config, alias),
        )
        # One that ends by itself would begin from the start again.
        max_restarts = MAX_RESTARTS if isinstance(section, PeriodicSection) else 0
        return Supervisor(
            alias,
            scheduler,
            max_restarts,
            self._clock,
            self.health,
            self.metrics,
            self.config.preset,
        )

    def _supervise(self, alias: str, supervisor: Supervisor) -> None:
        if supervisor.run():
            self._failed.append(alias)

    def _report_progress(self, on_progress: Progress) -> None:
        """Have the jobs of schedulers that end by themselves report each unit that is through."""
        jobs = [
            (job, n_runs)
            for alias, jobs in self._jobs.items()
            if (n_runs := _n_runs(self.config.schedulers[alias]))
            for job in jobs
        ]
        total = 2 * sum(n_runs * job.n_units for job, n_runs in jobs)
        done = 0
        lock = threading.Lock()

        def count(description: str) -> None:
            nonlocal done
            with lock:
                done += 1
                on_progress(done, total, description)

        for job, _ in jobs:
            job.on_unit_done = count

    def _close(self) -> None:
        deadline = time.monotonic() + _GRACE_S
        self._executor.shutdown(wait=False, cancel_futures=True)
        # Reads that are under way come to an end; what is read already is scored and written.
        self._reader.close()
        workers = [thread for thread in threading.enumerate() if thread.name.startswith("worker")]
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self.abandoned = any(worker.is_alive() for worker in workers)
        if self.abandoned:
            logger.warning("Some runs did not end within %.0f s and were abandoned", _GRACE_S)
        # What an abandoned run still writes may be lost, so it must not be stored as done.
        self._keeper.close()
        delivered = self._writer.flush(max(0.0, deadline - time.monotonic()))
        if not delivered or self._writer.n_dropped:
            logger.warning(
                "The writer could not deliver everything: %d points were dropped%s",
                self._writer.n_dropped,
                "" if delivered else ", others wait in the queue",
            )
            self._failed.append("writer")
        self._writer.close()
        self.health.stop()


def _open_store(config: Config) -> StateStore | None:
    """Open the folder of states; schedulers that end by themselves leave it alone."""
    periodic = any(isinstance(each, PeriodicSection) for each in config.schedulers.values())
    return StateStore(config.model_folder) if config.model_folder and periodic else None


def _n_runs(section: SchedulerSection) -> int:
    """Return how many runs of a job a scheduler starts; 0 for one that does not end."""
    match section:
        case OneoffSection():
            return 1
        case BacktestingSection():
            return len(backtesting_runs(section))
        case _:
            return 0
