"""The section of the writer `remote_write`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.writer.http import HttpWriterSection


class RemoteWriteSection(HttpWriterSection):
    """Prometheus remote write 1.0."""

    class_name: str = Field("remote_write", alias="class")
