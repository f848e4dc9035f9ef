"""What answers and their series may take of the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmanomaly.monitoring.resources import available_memory

if TYPE_CHECKING:
    from vmanomaly.config.reader import HttpReaderSection

_MAX_RESPONSE_BYTES = 256 << 20
_MIN_RESPONSE_BYTES = 16 << 20
_SHARE_OF_MEMORY_FOR_RESPONSE = 8
# Measured: a label set of three labels, with its bytes, where it is looked up.
_BYTES_OF_A_LABEL_SET = 1024


def max_response_bytes(section: HttpReaderSection) -> int:
    """Return how many bytes an answer to one request may have, decompressed.

    Without `max_response_size` 256 MiB, or an eighth of the memory where that is less.
    """
    if section.max_response_size is not None:
        return section.max_response_size
    share = available_memory() // _SHARE_OF_MEMORY_FOR_RESPONSE
    return max(_MIN_RESPONSE_BYTES, min(_MAX_RESPONSE_BYTES, share))


def max_series(n_timestamps: int, in_memory: bool) -> int:
    """Return how many series fit into half of the memory.

    Parameters
    ----------
    n_timestamps
        How many values each of them has.
    in_memory
        Whether the values are kept in memory, and not in a file.
    """
    n_bytes = _BYTES_OF_A_LABEL_SET + (8 * n_timestamps if in_memory else 0)
    return max(1, available_memory() // 2 // n_bytes)
