"""The section of the reader `noop`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.noop import NoopSection
from vmanomaly.config.reader.base import ReaderSection


class NoopReaderSection(NoopSection, ReaderSection):
    """Reads nothing, so that no model runs and the service only answers HTTP requests."""

    reads = False

    class_name: str = Field("noop", alias="class")
