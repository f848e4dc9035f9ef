"""Pairs of durations, each valid by itself, that do not work together."""

from __future__ import annotations

from collections.abc import Mapping

from vmanomaly.config.model import ModelSection
from vmanomaly.config.problems import Findings
from vmanomaly.config.reader import ReaderSection
from vmanomaly.config.scheduler import BacktestingSection, PeriodicSection, SchedulerSection
from vmanomaly.config.secrets import shown_name
from vmanomaly.config.settings import SettingsSection


def check_intervals(
    reader: ReaderSection,
    models: Mapping[str, ModelSection],
    schedulers: Mapping[str, SchedulerSection],
    findings: Findings,
) -> None:
    """Check the durations of each scheduler against those of the reader and its queries.

    Parameters
    ----------
    reader
        With its queries.
    models
        Say which queries run under which scheduler.
    schedulers
        By alias.
    findings
        Takes a warning where nothing could be learned, and where runs would be idle or late.
    """
    slowest = _slowest_queries(reader, models)
    for alias, scheduler in schedulers.items():
        if alias in slowest and isinstance(scheduler, PeriodicSection | BacktestingSection):
            _check_window(alias, scheduler, slowest[alias], reader, findings)
            if isinstance(scheduler, PeriodicSection):
                _check_pace(alias, scheduler, slowest[alias], reader, findings)


def _slowest_queries(reader: ReaderSection, models: Mapping[str, ModelSection]) -> dict[str, str]:
    """Return the query with the longest step under each scheduler; of several, the first by name.

    Each model is looked at once: there may be thousands of models, queries and schedulers.
    """

    def order(name: str) -> tuple[int, str]:
        return -int(reader.queries[name].step), name

    slowest: dict[str, str] = {}
    for model in models.values():
        names = [name for name in model.queries if name in reader.queries]
        if names:
            of_model = min(names, key=order)
            for alias in model.schedulers:
                slowest[alias] = min(slowest.get(alias, of_model), of_model, key=order)
    return slowest


def _check_window(
    alias: str,
    scheduler: PeriodicSection | BacktestingSection,
    query: str,
    reader: ReaderSection,
    findings: Findings,
) -> None:
    step = reader.queries[query].step
    if scheduler.fit_window < step:
        findings.warn(
            ("schedulers", alias, "fit_window"),
            f"{scheduler.fit_window} is shorter than the step of the query {shown_name(query)} "
            f"({step}), so that there is nothing to learn from; make it much longer, such as 14d",
        )


def _check_pace(
    alias: str,
    scheduler: PeriodicSection,
    query: str,
    reader: ReaderSection,
    findings: Findings,
) -> None:
    every, step = scheduler.infer_every, reader.queries[query].step
    if every < step:
        findings.warn(
            ("schedulers", alias, "infer_every"),
            f"{every} is shorter than the step of the query {shown_name(query)} ({step}), so that "
            f"most runs find nothing new; set it to {step} or more, or the step to {every}",
        )
    if scheduler.fit_every < every:
        findings.warn(
            ("schedulers", alias, "fit_every"),
            f"{scheduler.fit_every} is shorter than infer_every ({every}), so that some fits are "
            f"never used; set it to {every} or more",
        )
    # The default is long for the sake of slow queries; it does not mean that this one is slow.
    if "timeout" in reader.model_fields_set and reader.timeout > every:  # type: ignore[attr-defined]
        findings.warn(
            ("reader", "timeout"),
            f"{reader.timeout} is longer than infer_every of the scheduler "  # type: ignore[attr-defined]
            f"{shown_name(alias)} ({every}), so that one slow answer delays the next run; set it "
            f"to {every} or less",
        )


def check_retention(settings: SettingsSection, findings: Findings) -> None:
    """Warn where states outlive `ttl` because it is checked too rarely."""
    retention = settings.retention
    if retention is not None and retention.check_interval > retention.ttl:
        findings.warn(
            ("settings", "retention", "check_interval"),
            f"{retention.check_interval} is longer than ttl ({retention.ttl}), so that states stay "
            f"longer than that; set it to {retention.ttl} or less",
        )
