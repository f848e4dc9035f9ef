"""The section of the reader `vlogs`."""

from __future__ import annotations

from pydantic import Field, field_validator

from vmanomaly.config.reader.vm import VmReaderSection


class VlogsReaderSection(VmReaderSection):
    """VictoriaLogs and VictoriaTraces, by LogsQL with a `stats` pipe."""

    class_name: str = Field("vlogs", alias="class")

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        if value == "multitenant":
            raise ValueError("expected account or account:project; VictoriaLogs has no multitenant")
        return value
