"""A configuration that members on a Ray cluster share, in the place of a service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import ray
from prometheus_client import CollectorRegistry, Metric
from ray.exceptions import RayError
from ray.util.placement_group import placement_group

from vmanomaly.cluster.collector import ClusterCollector
from vmanomaly.cluster.part import part_of
from vmanomaly.cluster.remote import RemoteMember
from vmanomaly.config import Config
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.splitting import split
from vmanomaly.context import RunContext
from vmanomaly.episodes import counted
from vmanomaly.errors import RollbackError, VmanomalyError
from vmanomaly.logs import LogFormat
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.printable import sentence
from vmanomaly.service.health import HealthStatus, bounded
from vmanomaly.service.plan import create_models, with_custom_classes
from vmanomaly.service.process import describe_process

logger = logging.getLogger(__name__)

_STOP_S = 17.0
"""A member takes up to ten seconds to finish, and a little more to end."""
_METRICS_S = 2.0
_LEAST_CPUS = 0.001
"""What Ray takes as a reservation, but does not feel."""


class ChangeError(VmanomalyError):
    """A member cannot continue with another configuration."""


class Cluster:
    """The members of a configuration, one after another placed by Ray.

    It takes the place of the service in an `Application`.

    Parameters
    ----------
    config
        A validated configuration, with the number of members in `config.member`.
    metrics
        The metrics of the head.
    context
        Cancelling it stops the members.
    logger_level, log_format
        As on the command line.
    cpus
        How many CPUs Ray reserves for each member.

    Raises
    ------
    ConfigError
        A custom class is wrong.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        context: RunContext,
        logger_level: str,
        log_format: LogFormat,
        cpus: float = 0.0,
    ) -> None:
        self.abandoned = False
        self._metrics = metrics
        self._context = context
        self._over = threading.Event()
        _check(config)
        self._config = config
        metrics.preset = config.preset
        count = config.member.count
        # Spread over the nodes as far as there are nodes.
        places = placement_group([{"CPU": max(cpus, _LEAST_CPUS)}] * count, strategy="SPREAD")
        self._places = places
        self._members = [
            RemoteMember(
                number,
                part_of(config, number),
                places,
                logger_level,
                log_format,
                self._note_end,
            )
            for number in range(count)
        ]
        self.registry = CollectorRegistry()
        self.registry.register(
            ClusterCollector(
                metrics.registry,
                self._member_metrics,
                lambda: {member.number: member.answers for member in self._members},
                lambda: {member.number: member.n_restarts for member in self._members},
            )
        )

    def run(self) -> int:
        """Work until every member has ended or `stop` is called.

        Returns
        -------
        int
            The exit status: 0 if all went well.
        """
        describe_process(self._metrics)
        self._describe()
        for member in self._members:
            member.watch()
        try:
            with self._context.calling_on_cancel(self.stop):
                self._over.wait()
        finally:
            self._stop_members()
        return max(member.exit_status or 0 for member in self._members)

    def stop(self) -> None:
        """Start no more members, and let `run` end those there are. Safe in a signal handler."""
        self._over.set()

    def hold(self, settings: SettingsSection) -> None:
        """Apply the settings that need nothing to be rebuilt."""
        self.apply(replace(self._config, settings=settings))

    def apply(self, config: Config) -> None:
        """Have the members continue with another configuration, one after another.

        Parameters
        ----------
        config
            A validated configuration.

        Raises
        ------
        RollbackError
            A member cannot apply it, and another one does not take the old one back.
        VmanomalyError
            It cannot be applied. The members that had applied it are back at the old one.
        """
        _check(config)
        before, done = self._config, list[RemoteMember]()
        for member in self._members:
            if self._over.is_set():
                return
            reason = member.apply(part_of(config, member.number))
            if reason is None:
                done.append(member)
                continue
            for other in done:
                if (no_way_back := other.apply(part_of(before, other.number))) is not None:
                    raise RollbackError(
                        f"member {member.number}: {sentence(reason)} The rollback of member "
                        f"{other.number} failed too: {no_way_back}"
                    )
            raise ChangeError(f"member {member.number}: {reason}")
        self._config = config
        self._metrics.preset = config.preset
        self._describe()

    def status(self) -> HealthStatus:
        """Return what is wrong at the moment, and how each member is."""
        of_members = [member.health() for member in self._members]
        return HealthStatus(
            bounded([reason for health in of_members for reason in health.reasons]),
            any(health.needs_restart for health in of_members),
            tuple(member.status() for member in self._members),
        )

    def unready_reasons(self) -> list[str]:
        """Return one line for each thing that is missing before all members are ready."""
        reasons = [reason for member in self._members for reason in member.unready_reasons()]
        return bounded(reasons)

    def _describe(self) -> None:
        member = self._config.member
        logger.info(
            "%s share %s, replication factor %d, split by %s",
            counted(member.count, "member"),
            counted(len(split(self._config, member.split_by)), "sub-config"),
            member.replication_factor,
            member.split_by,
        )

    def _note_end(self) -> None:
        statuses = [member.exit_status for member in self._members]
        has_failed = any(statuses)
        if has_failed or None not in statuses:
            self._over.set()

    def _member_metrics(self) -> dict[int, Iterable[Metric]]:
        calls = {member.metrics(): member.number for member in self._members if member.answers}
        if not calls:
            return {}
        done, _ = ray.wait(list(calls), num_returns=len(calls), timeout=_METRICS_S)
        found: dict[int, Iterable[Metric]] = {}
        for call in done:
            try:
                found[calls[call]] = ray.get(call)
            except RayError:
                logger.debug("Member %d does not give its metrics", calls[call], exc_info=True)
        return found

    def _stop_members(self) -> None:
        for member in self._members:
            member.stop_watching()
        _at_once([partial(member.stop, _STOP_S) for member in self._members])


def _check(config: Config) -> None:
    """Find the mistakes in custom classes here, before any member meets them."""
    create_models(with_custom_classes(config))


def _at_once(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_STOP_S + 1)
