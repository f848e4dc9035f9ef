"""The section of the writer `duckdb`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.values.fields import Text
from vmanomaly.config.writer.base import WriterSection


class DuckdbWriterSection(WriterSection):
    """A DuckDB database; scores go to its table `scores`.

    Attributes
    ----------
    path
        The database file.
    """

    class_name: str = Field("duckdb", alias="class")
    path: Text
