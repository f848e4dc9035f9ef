"""How many queries are read at a time."""

from __future__ import annotations

import math

from vmanomaly.config.reader import ReaderSection
from vmanomaly.monitoring.resources import available_cpus


def n_reads_at_once(section: ReaderSection) -> int:
    """Return how many queries are read at a time: `workers`, or else as many as there are.

    Without `workers` no more than four for each CPU that the container may use: a query mostly
    waits for its server.
    """
    if section.workers > 0:
        return section.workers
    return max(1, min(len(section.queries), 4 * math.ceil(available_cpus())))
