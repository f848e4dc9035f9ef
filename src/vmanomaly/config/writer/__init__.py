"""The section `writer`: one module per class."""

from vmanomaly.config.writer.base import WriterSection
from vmanomaly.config.writer.duckdb import DuckdbWriterSection
from vmanomaly.config.writer.http import HttpWriterSection
from vmanomaly.config.writer.noop import NoopWriterSection
from vmanomaly.config.writer.remote_write import RemoteWriteSection
from vmanomaly.config.writer.vm import VmWriterSection

__all__ = [
    "DuckdbWriterSection",
    "HttpWriterSection",
    "NoopWriterSection",
    "RemoteWriteSection",
    "VmWriterSection",
    "WriterSection",
]
