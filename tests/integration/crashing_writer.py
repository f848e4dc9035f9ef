"""Processes that write numbered batches, made to be killed.

Run as a program it forks one for each line of its standard input, `URL FOLDER FIRST`: the process
writes the batches from number FIRST on to URL, with its queue in FOLDER. What is printed, a line
each: `pid N` for a new process, `written N` when the writer has returned from a batch, and `ended`.
Forked from a process that has loaded everything, they begin at once.
"""

from __future__ import annotations

import numpy as np

from tests.integration.nursery import fork_as_asked, say
from vmanomaly.config.writer import VmWriterSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer import create_writer, warm_up

HOSTS = ("a", "b", "c")
N_BATCHES = 200
T0 = 1_750_000_000_000
_SIZES = (1, 20, 300)
_ORIGIN = Origin(("cpu",), "zscore", "live", "default")


def batch(number: int) -> Predictions:
    """Return the points of a batch: a second apart, after those of the batch before."""
    first = 1000 * number
    timestamps = T0 + 1000 * np.arange(first, first + _SIZES[number % len(_SIZES)], dtype=np.int64)
    # Three decimals survive the database.
    values = [np.round(np.sin(timestamps % (97_003 + host)) * 50, 3) for host in range(len(HOSTS))]
    series = tuple(Labels({"host": host}) for host in HOSTS)
    return Predictions(series, timestamps, {"yhat": np.array(values)})


def _write(url: str, folder: str, first: int) -> int:
    section = VmWriterSection(datasource_url=url, queue_path=folder)
    writer = create_writer(section, Metrics())
    writer.start()
    for number in range(first, N_BATCHES):
        writer.write(batch(number), _ORIGIN)
        say(f"written {number}")
    is_delivered = writer.flush(60)
    writer.close()
    return 0 if is_delivered else 1


def main() -> None:
    """Fork as asked for until the standard input ends."""
    warm_up(VmWriterSection(datasource_url="http://127.0.0.1:1"))
    fork_as_asked(lambda words: _write(words[0], words[1], int(words[2])))


if __name__ == "__main__":
    main()
