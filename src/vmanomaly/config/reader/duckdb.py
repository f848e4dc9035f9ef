"""The section of the reader `duckdb`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vmanomaly.config.effect import LEARNED_FROM
from vmanomaly.config.reader.base import ReaderSection
from vmanomaly.config.values.fields import Text


class DuckdbReaderSection(ReaderSection):
    """A DuckDB database; `expr` is SQL.

    Attributes
    ----------
    path
        The database file, or `:memory:`.
    """

    class_name: str = Field("duckdb", alias="class")
    path: Annotated[Text, LEARNED_FROM]
