"""The section `reader`, and the queries in it: one module per class."""

from vmanomaly.config.reader.base import ReaderSection
from vmanomaly.config.reader.duckdb import DuckdbReaderSection
from vmanomaly.config.reader.noop import NoopReaderSection
from vmanomaly.config.reader.query import HttpQuery, Query
from vmanomaly.config.reader.vlogs import VlogsReaderSection
from vmanomaly.config.reader.vm import VmReaderSection

__all__ = [
    "DuckdbReaderSection",
    "HttpQuery",
    "NoopReaderSection",
    "Query",
    "ReaderSection",
    "VlogsReaderSection",
    "VmReaderSection",
]
