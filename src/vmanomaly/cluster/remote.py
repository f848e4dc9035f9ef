"""A member as the head sees it: an actor of Ray, and the last that was heard of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import vmanomaly
from vmanomaly.cluster.lines import Line
from vmanomaly.cluster.member import MemberProcess, Report
from vmanomaly.config import Config
from vmanomaly.episodes import Episodes
from vmanomaly.logs import LogFormat
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey
from vmanomaly.service.health import HealthStatus, MemberStatus

logger = logging.getLogger(__name__)

_ASK_EVERY_S = 1.0
_LONGEST_SILENCE_S = 5.0
_START_AGAIN_EVERY_S = 5.0
_LONG_WAIT_S = 30.0
"""For a process of Ray; seconds are usual."""
_THREADS = 4
"""In the actor, so that it answers while it applies a configuration."""


class RemoteMember:
    """One member. It is started, asked how it is, and started again when Ray has restarted it.

    Parameters
    ----------
    number
        Which member, from 0.
    config
        What it runs.
    places
        Where Ray may put it: one bundle for each member.
    logger_level, log_format
        As on the command line.
    on_change
        Called when it has ended, or cannot be made at all.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        places: PlacementGroup,
        logger_level: str,
        log_format: LogFormat,
        on_change: Callable[[], None],
    ) -> None:
        self.number = number
        self.exit_status: int | None = None
        self.n_restarts = 0
        self._config = config
        self._on_change = on_change
        self._report = Report()
        self._progress: dict[JobKey, Progress] = {}
        self._made_at = time.monotonic()
        self._heard_at: float | None = None
        self._cannot_start: str | None = None
        self._node: str | None = None
        self._was_started = False
        self._episodes = Episodes(logger)
        # Held while it is started, stopped, or given another configuration.
        self._changing = threading.Lock()
        self._stopped = threading.Event()
        self._actor: Any = (
            ray.remote(MemberProcess)
            .options(
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=_THREADS,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    places, placement_group_bundle_index=number
                ),
            )
            .remote(logger_level, log_format)
        )
        self._thread = threading.Thread(target=self._watch, name=f"member {number}", daemon=True)

    @property
    def answers(self) -> bool:
        """Whether it was heard of lately."""
        return self._heard_at is not None and time.monotonic() - self._heard_at < _LONGEST_SILENCE_S

    def watch(self) -> None:
        """Start it, and ask from now on how it is, in the background."""
        self._thread.start()

    def apply(self, config: Config) -> str | None:
        """Have it continue with another configuration; return why it cannot, if so.

        One that is down is started with it later.
        """
        with self._changing:
            before, self._config = self._config, config
            if not self._report.has_started or not self.answers:
                return None
            try:
                reason = self._result(self._actor.apply.remote(config), lambda: self.answers)
            except RayActorError:
                return None
            if reason is not None:
                self._config = before
            return None if reason is None else str(reason)

    def stop_watching(self) -> None:
        """Start it no more. Returns at once."""
        self._stopped.set()

    def stop(self, timeout_s: float) -> None:
        """End it in order, and then its process.

        Parameters
        ----------
        timeout_s
            How long it may take to end.
        """
        self._stopped.set()
        if self.answers:
            try:
                status, lines = ray.get(self._actor.stop.remote(), timeout=timeout_s)
            except RayError as error:
                reason = _last_line(error)
                logger.warning("Member %d did not end in order: %s", self.number, reason)
            else:
                self._log(lines)
                self.exit_status = self.exit_status or status
        ray.kill(self._actor)

    def metrics(self) -> Any:
        """Ask for its metrics; return the reference to what will be the answer."""
        return self._actor.metrics.remote()

    def status(self) -> MemberStatus:
        """Return how it is, and where."""
        return MemberStatus(self.number, self._state(), self._node)

    def health(self) -> HealthStatus:
        """Return what is wrong with it."""
        prefix = f"member {self.number}"
        if self.exit_status is not None:
            return HealthStatus([], False)
        if self._cannot_start is not None:
            return HealthStatus([f"{prefix}: cannot start: {self._cannot_start}"], False)
        if not self.answers:
            what = "waits for a node" if self._heard_at is None else "is down, Ray restarts it"
            return HealthStatus([f"{prefix}: {what}"], False)
        health = self._report.health
        return HealthStatus([f"{prefix}: {each}" for each in health.reasons], health.needs_restart)

    def unready_reasons(self) -> list[str]:
        """Return what is missing before it is ready."""
        if self.exit_status is not None:
            return []
        if not self.answers or not self._report.has_started:
            return [f"member {self.number}: {self._state()}"]
        return [f"member {self.number}: {each}" for each in self._report.unready_reasons]

    def _state(self) -> str:
        if self.exit_status is not None:
            return "ended"
        if not self.answers:
            return "down" if self._was_started else "starting"
        return "running" if self._report.has_started else "starting"

    def _watch(self) -> None:
        call = None
        while not self._stopped.wait(_ASK_EVERY_S):
            call = self._actor.report.remote() if call is None else call
            done, _ = ray.wait([call], timeout=_ASK_EVERY_S)
            if not done:
                self._note_silence()
                continue
            answer, call = call, None
            try:
                self._note(ray.get(answer))
            except RayActorError as error:
                self._note_silence(error)
            except RayError as error:
                message = f"Member {self.number} failed: {_last_line(error)}"
                self._episodes.begin("call", message, logging.ERROR)
                self._stopped.wait(_START_AGAIN_EVERY_S)
            else:
                self._episodes.end("call")
            if self.exit_status is not None:
                return

    def _note(self, report: Report) -> None:
        self._report, self._heard_at = report, time.monotonic()
        self._log(report.lines)
        self._episodes.end(self.number, f"Member {self.number} answers again")
        if report.exit_status is not None:
            self.exit_status = report.exit_status
            logger.info("Member %d has ended with status %d", self.number, report.exit_status)
            self._on_change()
        elif report.has_started:
            self._progress.update(report.progress)
        else:
            self._start()

    def _log(self, lines: Iterable[Line]) -> None:
        for line in lines:
            logging.getLogger(line.name).handle(line.record(self.number))

    def _note_silence(self, error: RayActorError | None = None) -> None:
        if error is not None and error.actor_init_failed:
            self._cannot_start = _last_line(error)
            logger.error(
                "Member %d cannot be made: %s. Is the same version of vmanomaly, with the extra "
                "ray, installed on each node?",
                self.number,
                _last_line(error),
            )
            self.exit_status = 1
            self._on_change()
            return
        if error is not None and self._heard_at is not None:
            self._heard_at = float("-inf")
        if self._heard_at is None and time.monotonic() - self._made_at > _LONG_WAIT_S:
            message = f"Member {self.number} waits for a node of the cluster"
            self._episodes.begin(self.number, message)
        elif self._heard_at is not None and not self.answers:
            message = f"Member {self.number} on {self._node} does not answer; Ray restarts it"
            self._episodes.begin(self.number, message)

    def _start(self) -> None:
        """Give the process its configuration, and tell it where the one before it has come."""
        with self._changing:
            if self._stopped.is_set():
                return
            reason: str | None
            version, self._node = self._result(self._actor.about.remote())
            if version != vmanomaly.__version__:
                reason = f"version {version} is installed there, and {vmanomaly.__version__} here"
            else:
                call = self._actor.start.remote(self._config, self._progress)
                reason = self._result(call)
            if reason is not None:
                self._cannot_start = reason
                message = f"Member {self.number} on {self._node} cannot start: {reason}"
                self._episodes.begin("start", message, logging.ERROR)
                self._stopped.wait(_START_AGAIN_EVERY_S)
                return
            self._cannot_start = None
            self._episodes.end("start")
            self.n_restarts += self._was_started
            again = " again" if self._was_started else ""
            self._was_started = True
            logger.info("Member %d has started%s on %s", self.number, again, self._node)

    def _result(self, call: Any, is_worth_it: Callable[[], bool] = lambda: True) -> Any:
        """Return what a call gives.

        Raises
        ------
        RayActorError
            The process has died, this is stopped, or it is not worth waiting for.
        """
        while not ray.wait([call], timeout=_ASK_EVERY_S)[0]:
            if self._stopped.is_set() or not is_worth_it():
                raise RayActorError(error_msg="nobody waits for it any more")
        return ray.get(call)


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2]
