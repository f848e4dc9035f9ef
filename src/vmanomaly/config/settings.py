"""The section `settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.effect import HARMLESS, RESTARTS
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import (
    Flag,
    NonNegativeDuration,
    PositiveDuration,
    Text,
    as_text,
    choice,
    number,
    read_each,
    whole,
)

_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
    "fatal": "CRITICAL",
}


def _level(value: object) -> str:
    level = _LEVELS.get(as_text(value).lower())
    if level is None:
        raise ValueError("expected one of debug, info, warning, error, critical")
    return level


def _levels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping of components to levels")
    return dict(zip(value, read_each(value.items(), _level), strict=True))


class Retention(Section):
    """How long unused states are kept.

    Attributes
    ----------
    ttl
        A state not used for that long is removed.
    check_interval
        How often that is checked.
    """

    ttl: PositiveDuration
    check_interval: PositiveDuration


class SettingsSection(Section):
    """What concerns the whole service.

    Attributes
    ----------
    n_workers
        Workers for models that fit one series at a time; 0 or less means one per CPU.
    executor
        What the workers are: threads, processes, or those of a Ray or Dask cluster; None for
        what suits the model.
    executor_address
        Of the Ray or Dask cluster; None to start one on this machine.
    native_threads_per_worker
        Threads of numerical libraries per worker; 0 divides the CPUs among workers.
    anomaly_score_outside_data_range
        Default of the models.
    restore_state
        Whether states outlive a restart.
    restore_pickled_models
        Whether states of custom models that are pickles are loaded after a restart.
    retention
        When unused states are removed; None: never.
    checkpoint_interval
        A state is written to the disk at most that often; None: as often as the bytes written a
        day allow.
    logger_levels
        Level by component; a more specific name wins.
    """

    n_workers: Annotated[int, whole(), RESTARTS] = 1
    executor: Annotated[str | None, choice("threads", "processes", "ray", "dask"), RESTARTS] = None
    executor_address: Annotated[Text | None, RESTARTS] = None
    native_threads_per_worker: Annotated[int, whole(0), HARMLESS] = 0
    anomaly_score_outside_data_range: Annotated[
        float, number("a number of 0 or more", ge=0), HARMLESS
    ] = 1.01
    restore_state: Annotated[Flag, HARMLESS] = False
    restore_pickled_models: Annotated[Flag, HARMLESS] = False
    retention: Annotated[Retention | None, RESTARTS] = None
    checkpoint_interval: Annotated[NonNegativeDuration | None, RESTARTS] = None
    logger_levels: Annotated[dict[str, str], PlainValidator(_levels), HARMLESS] = Field(
        default_factory=dict
    )
