"""Arrays in files instead of memory.

A file is given up by its folder as soon as it is there: it lives as long as the array, and is gone
with the process, however that ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class MappedRows:
    """A float64 matrix in a file, to which rows are added.

    Parameters
    ----------
    folder
        Where the file is; made if need be.
    n_columns
        The length of a row.

    Raises
    ------
    OSError
        The folder or the file cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = MappedRows(Path(folder), n_columns=3)
    ...     rows.reserve(2)
    ...     rows.values[1] = 7.0
    ...     print(rows.trim(2), list(Path(folder).iterdir()))
    [[0. 0. 0.]
     [7. 7. 7.]] []
    """

    def __init__(self, folder: Path, n_columns: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as this does
        weakref.finalize(self, self._file.close)
        self._n_columns = n_columns
        self.values: NDArray[np.float64] = np.empty((0, n_columns))

    def reserve(self, n_rows: int) -> None:
        """Make `values` at least so many rows long; take it again afterwards.

        Raises
        ------
        OSError
            There is no room on the disk.
        """
        if n_rows <= len(self.values):
            return
        n_rows = max(n_rows, len(self.values) + len(self.values) // 4)
        n_bytes = n_rows * self._n_columns * self.values.itemsize
        # Without this, a disk that is full would end the process at some write to memory.
        os.posix_fallocate(self._file.fileno(), 0, n_bytes)
        self.values = np.frombuffer(mmap.mmap(self._file.fileno(), n_bytes)).reshape(
            n_rows, self._n_columns
        )

    def trim(self, n_rows: int) -> NDArray[np.float64]:
        """Return the first `n_rows` rows; nothing can be added afterwards."""
        values, self.values = self.values[:n_rows], self.values[:0]
        self._file.close()
        return values

    def release(self) -> None:
        """Let the pages that were written go from memory to the file."""
        release(self.values)


def release(array: NDArray[Any]) -> None:
    """Let go of the memory that holds pages of an array in a file; do nothing for any other.

    The content stays: it is read again from the file, or from what the system still has of it.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
