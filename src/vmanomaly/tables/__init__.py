"""Tables of a person's own, from files and frames, as series on one grid."""

from vmanomaly.errors import TableError
from vmanomaly.tables.batch import to_batch
from vmanomaly.tables.files import read_files
from vmanomaly.tables.layout import Layout, guess_layout
from vmanomaly.tables.table import Table

__all__ = ["Layout", "Table", "TableError", "guess_layout", "read_files", "to_batch"]
