"""The section of the reader `vlogs`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from vmanomaly.config.effect import LEARNED_FROM
from vmanomaly.config.reader.vm import VmReaderSection
from vmanomaly.config.values.fields import texts


class VlogsReaderSection(VmReaderSection):
    """VictoriaLogs and VictoriaTraces, by LogsQL with a `stats` pipe."""

    class_name: str = Field("vlogs", alias="class")
    extra_filters: Annotated[tuple[str, ...], texts(), LEARNED_FROM] = ()

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        if value == "multitenant":
            raise ValueError("expected account or account:project; VictoriaLogs has no multitenant")
        return value
