"""Whether the service has begun to do its work."""

from __future__ import annotations

from collections.abc import Callable, Collection

from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob

_MAX_QUERIES = 5


class Readiness:
    """Knows what is still missing before the service is ready.

    Once every model has been fitted or restored, this is never checked again: what a later
    configuration adds does not make a service unready that others rely on. A model whose query
    fails does not delay readiness for the others; `health` has the reason.

    Parameters
    ----------
    jobs
        Returns the jobs of the current configuration.
    health
        Knows what fails.
    """

    def __init__(self, jobs: Callable[[], Collection[QueryJob]], health: Health) -> None:
        self._jobs = jobs
        self._health = health
        self._was_fitted = False

    def reasons(self) -> list[str]:
        """Return one line for each thing that is missing; empty if the service is ready."""
        reasons = self._health.reasons_to_restart() + self._health.reasons_of_datasources()
        if not self._was_fitted:
            waiting = self._waiting()
            self._was_fitted = not waiting
            reasons += waiting
        return reasons

    def _waiting(self) -> list[str]:
        """Return why the first fit is not done."""
        failing = self._health.failing_fits()
        jobs = self._jobs()
        n_units = n_unfitted = n_waiting = 0
        queries: dict[str, None] = {}
        for job in jobs:
            unfitted = sum(unit.unfitted for unit in job.units)
            n_units += job.n_units
            n_unfitted += unfitted
            fails = any((job.key.scheduler_alias, query) in failing for query in job.key.queries)
            if unfitted and not fails:
                n_waiting += unfitted
                queries.update(dict.fromkeys(job.key.queries))
        if n_waiting:
            more = f" and {len(queries) - _MAX_QUERIES} more" if len(queries) > _MAX_QUERIES else ""
            names = ", ".join(list(queries)[:_MAX_QUERIES])
            return [
                f"{n_waiting} of {n_units} models wait for their first fit: queries {names}{more}"
            ]
        if n_units and n_unfitted == n_units:
            return ["no model could be fitted, since its query fails: see /health"]
        return []
