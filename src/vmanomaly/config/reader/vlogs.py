"""The section of the reader `vlogs`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator, field_validator

from vmanomaly.config.effect import LEARNED_FROM
from vmanomaly.config.reader.http import HttpReaderSection
from vmanomaly.config.reader.query import HttpQuery
from vmanomaly.config.values.fields import as_number, texts


def _zero(value: object) -> float:
    if as_number(value) != 0:
        raise ValueError("expected 0, for intervals without logs; leave it out to skip them")
    return 0.0


def _single_tenant(tenant: str) -> str:
    if tenant == "multitenant":
        raise ValueError("expected account or account:project; VictoriaLogs has no multitenant")
    return tenant


class VlogsQuery(HttpQuery):
    """A query whose expression is LogsQL.

    Attributes
    ----------
    fill
        The value of the intervals in which a series has no logs, from its first sample on; None
        leaves them out. Only 0 makes sense, for results that count.
    """

    fill: Annotated[float | None, PlainValidator(_zero), LEARNED_FROM] = None

    @property
    def shift(self) -> int:
        """A bucket is stamped with its beginning, and read when it is over."""
        return int(self.offset) - int(self.step)

    @property
    def fills_gaps(self) -> bool:
        """Whether `fill` is set."""
        return self.fill is not None

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        return _single_tenant(value)


class VlogsReaderSection(HttpReaderSection):
    """VictoriaLogs and VictoriaTraces, by LogsQL with a `stats` pipe.

    Attributes
    ----------
    extra_filters
        LogsQL filters that narrow every query.
    """

    query = VlogsQuery

    class_name: str = Field("vlogs", alias="class")
    extra_filters: Annotated[tuple[str, ...], texts(), LEARNED_FROM] = ()

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        return _single_tenant(value)
