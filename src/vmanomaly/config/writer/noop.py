"""The section of the writer `noop`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.noop import NoopSection
from vmanomaly.config.writer.base import WriterSection


class NoopWriterSection(NoopSection, WriterSection):
    """Discards what it is given."""

    class_name: str = Field("noop", alias="class")
