"""The reads of the jobs: in parallel, and only once if several jobs want the same data."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError, StoppedError
from vmanomaly.reader import Reader
from vmanomaly.series import JobKey, SeriesBatch, TimeRange

_Source = tuple[str, str]
"""The aliases of a scheduler and of a query."""


@dataclass(slots=True)
class _Read:
    time_range: TimeRange
    answer: Future[SeriesBatch]
    wanted_by: set[JobKey]


class SharedReads:
    """Reads for jobs, several of which may want the data of the same query.

    A query under one scheduler may have a separate job and be an input of multivariate models.
    What one of these jobs reads is kept until the others have taken it too, or have ended a run
    without it, or the next range is read: at most one range per stage is kept.

    Parameters
    ----------
    reader
        Where data comes from.
    most_at_once
        How many queries a job reads in parallel at most.
    """

    def __init__(self, reader: Reader, most_at_once: int) -> None:
        self._reader = reader
        self._most_at_once = most_at_once
        self._jobs: dict[_Source, set[JobKey]] = {}
        self._kept: dict[tuple[_Source, str], _Read] = {}
        self._lock = threading.Lock()
        self._stopped = RunContext()

    def expect(self, job: JobKey) -> None:
        """Announce that a job is going to read its queries."""
        for query in job.queries:
            self._jobs.setdefault((job.scheduler_alias, query), set()).add(job)

    def read(
        self,
        job: JobKey,
        queries: Sequence[Query],
        time_range: TimeRange,
        stage: str,
        context: RunContext | None = None,
    ) -> list[SeriesBatch | DatasourceError]:
        """Return what each query gives, or why it fails.

        Parameters
        ----------
        job
            As announced by `expect`.
        queries
            Those of the job.
        time_range, stage, context
            As for `Reader.read`.

        Raises
        ------
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        part = (context or RunContext()).child()

        def read(query: Query) -> SeriesBatch | DatasourceError:
            try:
                return self._read(job, query, time_range, stage, part)
            except DatasourceError as error:
                return error

        with self._stopped.calling_on_cancel(part.cancel):
            if len(queries) == 1:
                return [read(queries[0])]
            n_threads = min(len(queries), self._most_at_once)
            with ThreadPoolExecutor(n_threads, thread_name_prefix="read") as threads:
                return list(threads.map(read, queries))

    def stop(self) -> None:
        """End the reads in progress, and begin no others. Returns at once."""
        self._stopped.cancel()

    def end_run(self, job: JobKey) -> None:
        """Note that a job has ended a run: it will not take what was kept for that run."""
        with self._lock:
            for key, kept in list(self._kept.items()):
                kept.wanted_by.discard(job)
                if not kept.wanted_by:
                    del self._kept[key]

    def _read(
        self, job: JobKey, query: Query, time_range: TimeRange, stage: str, context: RunContext
    ) -> SeriesBatch:
        source = (job.scheduler_alias, query.alias)

        def read() -> SeriesBatch:
            return self._reader.read(
                query, time_range, job.scheduler_alias, stage=stage, context=context
            )

        others = self._jobs[source] - {job}
        if not others:
            return read()
        key = (source, stage)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.time_range == time_range and job in kept.wanted_by:
                kept.wanted_by.discard(job)
                if not kept.wanted_by:
                    del self._kept[key]
                answer, reads = kept.answer, False
            else:
                answer, reads = Future(), True
                self._kept[key] = _Read(time_range, answer, others)
        if reads:
            try:
                answer.set_result(read())
            except BaseException as error:  # noqa: BLE001 - raised by `result`, here and there
                answer.set_exception(error)
        try:
            return context.result(answer)
        except StoppedError:
            context.check()
            return read()  # It was the other job that had to stop.
