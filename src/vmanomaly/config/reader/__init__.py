"""The section `reader`, and the queries in it: one module per class."""

from vmanomaly.config.reader.base import ReaderSection
from vmanomaly.config.reader.duckdb import DuckdbReaderSection
from vmanomaly.config.reader.http import HttpReaderSection
from vmanomaly.config.reader.noop import NoopReaderSection
from vmanomaly.config.reader.query import HttpQuery, Query
from vmanomaly.config.reader.vlogs import VlogsQuery, VlogsReaderSection
from vmanomaly.config.reader.vm import VmReaderSection

__all__ = [
    "DuckdbReaderSection",
    "HttpQuery",
    "HttpReaderSection",
    "NoopReaderSection",
    "Query",
    "ReaderSection",
    "VlogsQuery",
    "VlogsReaderSection",
    "VmReaderSection",
]
