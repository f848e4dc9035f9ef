"""The section `schedulers`: one module per class."""

from vmanomaly.config.scheduler.backtesting import BacktestingSection
from vmanomaly.config.scheduler.base import SchedulerSection
from vmanomaly.config.scheduler.noop import NoopSchedulerSection
from vmanomaly.config.scheduler.oneoff import OneoffSection
from vmanomaly.config.scheduler.periodic import PeriodicSection
from vmanomaly.config.scheduler.timed import TimedSection

__all__ = [
    "BacktestingSection",
    "NoopSchedulerSection",
    "OneoffSection",
    "PeriodicSection",
    "SchedulerSection",
    "TimedSection",
]
