"""The section of the scheduler `noop`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.noop import NoopSection
from vmanomaly.config.scheduler.base import SchedulerSection


class NoopSchedulerSection(NoopSection, SchedulerSection):
    """Runs nothing, and does not end."""

    ends_by_itself = False
    runs = False

    class_name: str = Field("noop", alias="class")
