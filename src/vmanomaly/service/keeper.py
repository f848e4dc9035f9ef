"""What keeps the states of the units: in memory or on disk, across restarts, and not forever."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any, Protocol

import vmanomaly
from vmanomaly.clock import Clock
from vmanomaly.config import Config
from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.config.settings import Retention
from vmanomaly.config.values.time import format_time
from vmanomaly.episodes import Episodes, counted
from vmanomaly.keys import query_key
from vmanomaly.model.custom.unpickling import unpickling_refused
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.schedule import Progress, Replay
from vmanomaly.series import JobKey, UnitKey
from vmanomaly.service.unit import Unit
from vmanomaly.service.write_budget import WriteBudget
from vmanomaly.state import Content, Saved, StateError, StateStore, WrittenBy
from vmanomaly.state.decision import Verdict, decide
from vmanomaly.state.errors import REASONS
from vmanomaly.state.signature import differences, signature_of

logger = logging.getLogger(__name__)

_SAVING = "saving"
_N_SAMPLES = "n_samples"
_CLOCK_CORRECTION_MS = 86_400_000
"""How far a clock may have been set back between a run and the save after it."""


class KeptJob(Protocol):
    """What the keeper needs to know of a job.

    Attributes
    ----------
    units : sequence of Unit
        Its units.
    """

    units: Sequence[Unit]

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        ...

    @property
    def settled(self) -> int | None:
        """Up to where no score is still to come, Unix milliseconds."""
        ...

    def resume(self, progress: Progress) -> None:
        """Continue from where another job has come."""
        ...

    @property
    def key(self) -> JobKey:
        """What it is called."""
        ...


class Keeper:
    """Keeps what units have learned.

    With a store, the progress of a job is saved at the end of each run, and its states, which may
    be large, at checkpoints: when `settings.checkpoint_interval` has passed since the last one, or
    as often as the budget of bytes allows, after fits, and at the end. In between they stay in
    memory; a process that ends without a checkpoint leaves to the next one what to replay, and up
    to where the scores of that are written. A state that is saved leaves the memory until the next
    run. One that cannot be saved stays there and is saved by a later run: that is logged when it
    begins and when it ends, and counted.

    Parameters
    ----------
    config
        The configuration.
    store
        Where states are stored; None keeps them in memory. Closed by `close`.
    clock
        Tells the time.
    metrics
        Where saves are counted.

    Attributes
    ----------
    store : StateStore or None
        For the keeper of another configuration, see `take_over`.
    """

    def __init__(
        self, config: Config, store: StateStore | None, clock: Clock, metrics: Metrics
    ) -> None:
        self._config = config
        self.store = store
        self._clock = clock
        self._metrics = metrics
        self._retention = config.settings.retention
        self._episodes = Episodes(logger, clock)
        self._interval = config.settings.checkpoint_interval
        self._budget = WriteBudget()
        self._signatures: dict[UnitKey, dict[str, str]] = {}
        self._saved: dict[JobKey, dict[str, Any]] = {}
        self._checkpoints: dict[JobKey, int | None] = {}
        self._replays: dict[JobKey, tuple[Replay, dict[str, int]]] = {}
        self._looked_at: dict[JobKey, int] = {}
        for reason in REASONS:
            metrics.state_save_errors.labels(reason=reason)

    def restore(self, jobs: Sequence[KeptJob]) -> None:
        """Let jobs continue where those before them stopped; drop what nothing can use any more.

        Parameters
        ----------
        jobs
            All jobs that keep states, before their first run.
        """
        if self.store is None:
            return
        if not self._config.settings.restore_state:
            self._clear(self.store)
            return
        units = {unit.key: unit for job in jobs for unit in job.units}
        stored = self.store.entries
        wanted = {key: self._signature(key) for key in units}
        decisions = decide(wanted, stored, vmanomaly.__version__)
        progress: dict[JobKey, Progress] = {}
        lost = []
        for key, decision in decisions.items():
            told = str(decision)
            if decision.verdict is Verdict.REUSE:
                found = self._progress(self.store, key.job)
                if found is None:
                    told = "refitted, because its progress is not known"
                elif found.replay is not None and found.replay.fits:
                    progress[key.job] = found
                    told = "refitted, because it was not stored since its last fit"
                else:
                    progress[key.job] = found
                    if not self._restore(self.store, units[key]):
                        continue
                    units[key].release()
            if key in stored:
                logger.info("Stored state of %s: %s", key, told)
            if key in stored and (decision.verdict is not Verdict.REUSE or key.job not in progress):
                lost.append(key)
        self._drop(self.store, lost)
        for job in jobs:
            if job.key in progress:
                self._resume(self.store, job, progress[job.key])

    def take_over(
        self, jobs: Sequence[KeptJob], before: Keeper, running: Sequence[KeptJob]
    ) -> None:
        """Let jobs continue where those of another configuration are, on the same store.

        Nothing stored is touched, so that the others can still continue instead; call
        `drop_all_but` once that is decided.

        Parameters
        ----------
        jobs
            All jobs of this keeper, before their first run.
        before
            The keeper of the others.
        running
            Its jobs, none of them in a run; they must not run again unless these do not.
        """
        learned = {
            unit.key: (job, unit)
            for job in running
            for unit in job.units
            if not _is_lost(job, unit)
        }
        self._budget = before._budget
        for job in jobs:
            for unit in job.units:
                if unit.key not in learned:
                    continue
                changed = differences(before._signature(unit.key), self._signature(unit.key))
                if changed:
                    logger.info("%s is refitted: %s changed", unit.key, ", ".join(changed))
                    continue
                old_job, old_unit = learned[unit.key]
                unit.take_over(old_unit)
                job.resume(old_job.progress)
                if job.key in before._saved:
                    self._saved[job.key] = before._saved[job.key]
                    self._checkpoints[job.key] = before._checkpoints.get(job.key)
                if job.key in before._replays:
                    self._replays[job.key] = before._replays[job.key]

    def drop_all_but(self, jobs: Sequence[KeptJob]) -> None:
        """Drop what is stored of units that none of these jobs has."""
        if self.store is not None:
            kept = {unit.key for job in jobs for unit in job.units if not _is_lost(job, unit)}
            self._drop(self.store, [key for key in self.store.entries if key not in kept])
        for gone in set(self._budget.jobs) - {job.key for job in jobs}:
            self._budget.forget(gone)

    def load(self, job: KeptJob) -> None:
        """Bring what the units of a job have learned back into memory, for a run."""
        if self.store is None:
            return
        for unit in job.units:
            if unit.state is None and not unit.unfitted and self.store.entry(unit.key) is not None:
                self._restore(self.store, unit)
        _begin_again_if_lost(job)

    def save(self, job: KeptJob, *, scores_are_safe: bool = True) -> None:
        """Store in one step how far a job has come in a run, and what it has learned if it is time.

        What is stored leaves the memory.

        Parameters
        ----------
        job
            The job, between two runs.
        scores_are_safe
            Whether its scores outlive the process. While they do not, nothing is stored, so that
            the next process makes them again.
        """
        if job.progress.replay is not None:
            return  # What is stored says already what is to be replayed.
        self._note_replayed(job)
        self._save(job, self._is_checkpoint_due(job), scores_are_safe)

    def checkpoint(self, job: KeptJob, *, scores_are_safe: bool = True) -> None:
        """Store what a job has learned since it was stored, if a later process can use it.

        Parameters are those of `save`.
        """
        if not self._config.settings.restore_state or job.progress.replay is not None:
            return
        if any(unit.changed for unit in job.units):
            self._save(job, True, scores_are_safe)

    def _save(self, job: KeptJob, is_checkpoint: bool, scores_are_safe: bool) -> None:
        now = self._clock.now()
        if self._retention is not None and is_checkpoint:
            self._forget(self._retention, job, now)
        if self.store is None or not scores_are_safe:
            return
        changed, failed = self._changed(job) if is_checkpoint else ({}, [])
        progress = replace(job.progress, replay=None if is_checkpoint else self._replay(job))
        unstored = [] if is_checkpoint else [unit for unit in job.units if unit.changed]
        row = {**asdict(progress), _N_SAMPLES: _n_samples(unstored)}
        if changed or failed or row != self._saved.get(job.key):
            started = perf_counter()
            try:
                self.store.drop(failed)
                n_written = self.store.save(job.key, row, changed, now)
            except StateError as error:
                self._note(error)
                return
            self._note(None)
            self._saved[job.key] = row
            self._metrics.state_save_duration_seconds.observe(perf_counter() - started)
            self._metrics.state_written_bytes.inc(n_written)
            self._metrics.state_bytes.set(self.store.n_bytes)
        if is_checkpoint:
            self._checkpoints[job.key] = progress.covered
        if changed:
            self._note_cost(self.store, job)
        self._note_checkpoint(job, progress)
        for unit in job.units:
            if is_checkpoint and unit.key not in failed:
                unit.note_stored()
            elif not unit.changed:
                unit.release()

    def close(self) -> None:
        """Store nothing more."""
        store, self.store = self.store, None
        if store is not None:
            store.close()

    def _progress(self, store: StateStore, job: JobKey) -> Progress | None:
        progress = Progress.of(store.progress(job) or {})
        if progress is None:
            return None
        # Runs of a grid that begins later than all that was learned would never be due.
        is_ahead = progress.first_run is not None and progress.first_run > self._clock.now()
        return None if progress.covered is None and is_ahead else progress

    def _signature(self, key: UnitKey) -> dict[str, str]:
        if key not in self._signatures:
            self._signatures[key] = signature_of(self._config, key)
        return self._signatures[key]

    def _resume(self, store: StateStore, job: KeptJob, progress: Progress) -> None:
        """Let a job continue from where its stored states and its progress say."""
        row = store.progress(job.key) or {}
        self._saved[job.key] = row
        self._note_cost(store, job)
        job.resume(progress)
        _begin_again_if_lost(job)
        replay = job.progress.replay
        self._checkpoints[job.key] = progress.covered if replay is None else replay.start
        if replay is not None:
            self._replays[job.key] = (replay, _counts(row.get(_N_SAMPLES)))
            logger.info(
                "%s: the runs from %s to %s are replayed, since their states were not stored",
                job.key,
                format_time(replay.start),
                format_time(progress.covered or replay.start),
            )
        self._note_checkpoint(job, job.progress)

    def _is_checkpoint_due(self, job: KeptJob) -> bool:
        """Tell whether what a job has learned is to be stored now."""
        if self.store is None or not any(unit.changed for unit in job.units):
            return True
        interval = self._budget.interval(job.key) if self._interval is None else int(self._interval)
        fits = {unit.fitted_to for unit in job.units}
        # A replay begins with one fit of all models, or with none.
        if fits != {None} and (len(fits) > 1 or self._section(job).fit_every >= interval):
            return True
        last, covered = self._checkpoints.get(job.key), job.progress.covered
        return last is None or covered is None or not 0 <= covered - last < interval

    def _replay(self, job: KeptJob) -> Replay:
        """Return what a process would have to replay that had to continue with what is stored."""
        fitted_to, last = job.units[0].fitted_to, self._checkpoints.get(job.key)
        start, settled = last if fitted_to is None else fitted_to, job.settled
        # Without them a checkpoint is due.
        assert start is not None and settled is not None  # noqa: S101, PT018
        return Replay(start, fitted_to is not None, settled)

    def _note_replayed(self, job: KeptJob) -> None:
        """Say that a replay is done, and whether it has found all that was learned before."""
        replay, before = self._replays.pop(job.key, (None, {}))
        if replay is None:
            return
        now = _n_samples(job.units)
        n_missing = sum(max(n - now[model], 0) for model, n in before.items() if model in now)
        if n_missing:
            logger.warning(
                "%s: %d of the samples learned after %s before the restart could not be read "
                "again; the models continue without them, so that scores may differ",
                job.key,
                n_missing,
                format_time(replay.start),
            )
        else:
            logger.info("%s: the runs since %s are replayed", job.key, format_time(replay.start))

    def _note_cost(self, store: StateStore, job: KeptJob) -> None:
        entries = [store.entry(unit.key) for unit in job.units]
        n_bytes = sum(entry.n_bytes for entry in entries if entry is not None)
        section = self._section(job)
        self._budget.note(job.key, n_bytes, int(section.fit_every), int(section.infer_every))

    def _note_checkpoint(self, job: KeptJob, progress: Progress) -> None:
        """Expose up to where a job has learned in the states that are stored."""
        at = progress.covered if progress.replay is None else progress.replay.start
        if at is not None:
            self._metrics.state_checkpoint_timestamp_seconds.labels(
                scheduler_alias=job.key.scheduler_alias,
                query_key=query_key(job.key.queries),
                preset=self._metrics.preset,
            ).set(at / 1000)

    def _section(self, job: KeptJob) -> PeriodicSection:
        section = self._config.schedulers[job.key.scheduler_alias]
        assert isinstance(section, PeriodicSection)  # noqa: S101 - no other one keeps states
        return section

    def _changed(self, job: KeptJob) -> tuple[dict[UnitKey, Saved], list[UnitKey]]:
        """Return what has changed, and the units that cannot say what they have learned."""
        changed: dict[UnitKey, Saved] = {}
        failed = []
        for unit in job.units:
            if not unit.changed:
                continue
            try:
                content = unit.content
            except BaseException as error:  # noqa: BLE001 - logged
                message = f"Cannot store the state of {unit.key}"
                self._episodes.begin(unit.key, message, logging.ERROR, error=error)
                self._metrics.state_save_errors.labels(reason="model_error").inc()
                failed.append(unit.key)
            else:
                self._episodes.end(unit.key)
                if content is not None:
                    changed[unit.key] = self._saved_of(unit, content)
        return changed, failed

    def _saved_of(self, unit: Unit, content: Content) -> Saved:
        return Saved(
            self._signature(unit.key),
            self._config.models[unit.key.model_alias].class_name,
            vmanomaly.__version__,
            content,
        )

    def _restore(self, store: StateStore, unit: Unit) -> bool:
        """Return whether a state could be read; if not, the unit waits for a fit."""
        try:
            content = store.read(unit.key)
            with unpickling_refused(self._reason_not_to_unpickle(content.written_by)):
                unit.restore(content)
            saved_at = store.entries[unit.key].saved_at
            if unit.last_seen is not None and unit.last_seen > saved_at + _CLOCK_CORRECTION_MS:
                raise ValueError("it has seen what came after it was stored")
        except BaseException as error:  # noqa: BLE001 - the model reads it
            if not isinstance(error, StateError) or error.reason == "damaged":
                self._drop(store, [unit.key])
            logger.warning(
                "Stored state of %s: %s; it is refitted, everything else continues",
                unit.key,
                error,
            )
            unit.note_lost()
            return False
        return True

    def _reason_not_to_unpickle(self, written_by: WrittenBy) -> str | None:
        if written_by is WrittenBy.THIS_PROCESS:
            return None
        if not self._config.settings.restore_pickled_models:
            return (
                "if nobody else can write to the folder, set settings.restore_pickled_models: true"
            )
        if written_by is WrittenBy.OTHERS:
            return "its file or folder belongs to another user, or others may write to it"
        return None

    def _clear(self, store: StateStore) -> None:
        stored = list(store.entries)
        if stored:
            logger.info(
                "settings.restore_state is off: deleting the stored states of %s",
                counted(len(stored), "unit"),
            )
        self._drop(store, stored)

    def _drop(self, store: StateStore, keys: Sequence[UnitKey]) -> None:
        try:
            store.drop(keys)
        except StateError as error:
            self._note(error)

    def _forget(self, retention: Retention, job: KeptJob, now: int) -> None:
        """Forget what was not seen for longer than `ttl`, unless that was checked recently."""
        looked_at = self._looked_at.setdefault(job.key, now)
        if 0 <= now - looked_at < int(retention.check_interval):
            return
        self._looked_at[job.key] = now
        for unit in job.units:
            n_gone = unit.forget(now - int(retention.ttl))
            if n_gone:
                logger.info(
                    "%s: forgot %d series not seen for %s",
                    unit.key,
                    n_gone,
                    retention.ttl,
                )

    def _note(self, error: StateError | None) -> None:
        """Log when saving begins to fail and when it works again; count every failure."""
        if error is None:
            self._episodes.end(_SAVING, "States are stored again")
            return
        self._metrics.state_save_errors.labels(reason=error.reason).inc()
        self._episodes.begin(
            _SAVING,
            f"States cannot be stored ({error.reason}): {error}; the service continues in memory, "
            f"and stores them when possible again",
            logging.ERROR,
            cause=error.reason,
        )


def _is_lost(job: KeptJob, unit: Unit) -> bool:
    """Tell whether a unit has learned nothing that is stored, in memory or to be replayed."""
    return unit.unfitted and job.progress.replay is None


def _n_samples(units: Sequence[Unit]) -> dict[str, int]:
    """Return how many samples each model has learned that is in memory."""
    return {
        unit.key.model_alias: int(unit.state.n_samples_seen.sum())
        for unit in units
        if unit.state is not None
    }


def _begin_again_if_lost(job: KeptJob) -> None:
    """Have everything since the last interval scored after a fit on what came before it."""
    replay = job.progress.replay
    if all(unit.unfitted for unit in job.units) and not (replay is not None and replay.fits):
        job.progress.forget_fit()


def _counts(stored: object) -> dict[str, int]:
    """Return the numbers of samples by model that were stored; none if it is something else."""
    if not isinstance(stored, dict):
        return {}
    return {model: n for model, n in stored.items() if type(n) is int}
