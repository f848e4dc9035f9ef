"""What the sections of the writers to a server share."""

from __future__ import annotations

from typing import Annotated

from vmanomaly.config.http import HttpSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import Folder, PositiveDuration, Size, whole
from vmanomaly.config.writer.base import WriterSection


class HttpWriterSection(HttpSection, WriterSection):
    """What every writer to a server takes.

    Attributes
    ----------
    connection_retry_attempts
        How often a write is retried on a new connection before it counts as failed.
    queue_path
        Folder of the delivery queue; None keeps it in memory.
    queue_max_size
        Bytes the queue may hold; None for the default of its kind.
    """

    timeout: PositiveDuration = Duration(5_000)
    connection_retry_attempts: Annotated[int, whole(0)] = 1
    queue_path: Folder | None = None
    queue_max_size: Size | None = None
