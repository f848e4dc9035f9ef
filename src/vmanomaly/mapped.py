"""Arrays in files instead of memory.

A file is removed from its folder as soon as it is open: it lives as long as the array, and vanishes
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
        Where the file is; created if necessary.
    n_columns
        Length of a row.

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
        """Make `values` at least that many rows long; it must be fetched again afterwards.

        Raises
        ------
        OSError
            There is no room on the disk.
        """
        if n_rows <= len(self.values):
            return
        n_rows = max(n_rows, len(self.values) + len(self.values) // 4)
        n_bytes = n_rows * self._n_columns * self.values.itemsize
        # Without this, a full disk would end the process at some write to memory.
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
        """Move the pages that were written from memory to the file."""
        release(self.values)


def release(array: NDArray[Any]) -> None:
    """Release the memory that holds pages of an array in a file; do nothing for any other array.

    The content stays: it is read again from the file, or from what the system still caches of it.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
