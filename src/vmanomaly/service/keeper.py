"""What keeps the states of the units: in memory or on disk, across restarts, and not forever."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import Protocol

import vmanomaly
from vmanomaly.clock import Clock
from vmanomaly.config import Config
from vmanomaly.config.settings import Retention
from vmanomaly.episodes import Episodes, counted
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey, UnitKey
from vmanomaly.service.unit import Unit
from vmanomaly.state import Content, Saved, StateError, StateStore
from vmanomaly.state.decision import Verdict, decide
from vmanomaly.state.errors import REASONS
from vmanomaly.state.signature import differences, signature_of

logger = logging.getLogger(__name__)

_SAVING = "saving"


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

    def resume(self, progress: Progress) -> None:
        """Continue from where another job has come."""
        ...

    @property
    def key(self) -> JobKey:
        """What it is called."""
        ...


class Keeper:
    """Keeps what units have learned.

    With a store, every state is saved at the end of each run, together with how far its job has
    come, and leaves the memory until the next run. A state that cannot be saved stays in memory
    and is saved by a later run: that is logged when it begins and when it ends, and counted.

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
        self._signatures: dict[UnitKey, dict[str, str]] = {}
        self._saved: dict[JobKey, Progress] = {}
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
                job.resume(progress[job.key])
                self._saved[job.key] = replace(job.progress)
                _begin_again_if_lost(job)

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
            unit.key: (job, unit) for job in running for unit in job.units if not unit.unfitted
        }
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

    def drop_all_but(self, jobs: Sequence[KeptJob]) -> None:
        """Drop what is stored of units that none of these jobs has."""
        if self.store is not None:
            kept = {unit.key for job in jobs for unit in job.units if not unit.unfitted}
            self._drop(self.store, [key for key in self.store.entries if key not in kept])

    def load(self, job: KeptJob) -> None:
        """Bring what the units of a job have learned back into memory, for a run."""
        if self.store is None:
            return
        entries = self.store.entries
        for unit in job.units:
            if unit.state is None and not unit.unfitted and unit.key in entries:
                self._restore(self.store, unit)
        _begin_again_if_lost(job)

    def save(self, job: KeptJob) -> None:
        """Store what has changed in a run of a job, as one step, and release what is stored."""
        now = self._clock.now()
        if self._retention is not None:
            self._forget(self._retention, job, now)
        if self.store is None:
            return
        changed, failed = self._changed(job)
        if changed or failed or job.progress != self._saved.get(job.key):
            started = perf_counter()
            try:
                self.store.drop(failed)
                self.store.save(job.key, asdict(job.progress), changed, now)
            except StateError as error:
                self._note(error)
                return
            self._note(None)
            self._metrics.state_save_duration_seconds.observe(perf_counter() - started)
            self._metrics.state_bytes.set(self.store.n_bytes)
            self._saved[job.key] = replace(job.progress)
        for unit in job.units:
            if unit.key not in failed:
                unit.note_stored()

    def close(self) -> None:
        """Store nothing more."""
        store, self.store = self.store, None
        if store is not None:
            store.close()

    def _signature(self, key: UnitKey) -> dict[str, str]:
        if key not in self._signatures:
            self._signatures[key] = signature_of(self._config, key)
        return self._signatures[key]

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
            unit.restore(store.read(unit.key))
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

    def _progress(self, store: StateStore, job: JobKey) -> Progress | None:
        stored = store.progress(job)
        if stored is None or stored.keys() != asdict(Progress()).keys():
            return None
        return Progress(**stored)

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
                    str(unit.key).capitalize(),
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


def _begin_again_if_lost(job: KeptJob) -> None:
    """Have everything since the last interval scored after a fit on what came before it."""
    if all(unit.unfitted for unit in job.units):
        job.progress.forget_fit()
