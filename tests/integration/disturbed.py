"""Runs of the service that are disturbed at chosen moments, compared with one that is not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import urllib3
import yaml

from tests.integration.servers import Samples, VictoriaMetrics, free_port
from tests.loopback import Asked, Handler, serve
from vmanomaly.config import load_config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels
from vmanomaly.service import Service

logger = logging.getLogger(__name__)

QUERIES = tuple(f"m{number:02}" for number in range(12))
N_HOSTS = 2
N_OUTPUTS = 4
STEP_S = 60
START = 1_750_000_020
N_FIT, N_INFER = 20, 10
INFER_START = START + N_FIT * STEP_S
END = INFER_START + N_INFER * STEP_S
# What is written for a query, in one request, and in all.
N_POINTS_PER_QUERY = N_HOSTS * N_OUTPUTS * N_INFER
N_POINTS = len(QUERIES) * N_POINTS_PER_QUERY

When: TypeAlias = Mapping[str, Callable[[], object]]
Written: TypeAlias = dict[Labels, dict[int, float]]


@dataclass(frozen=True)
class Run:
    """What a run says of itself: its exit status, and the values it gave up, by reason."""

    exit_status: int
    dropped: dict[str, int] = field(default_factory=dict)


def fill(source: VictoriaMetrics) -> None:
    """Write what the queries read."""
    source.import_series(
        (
            {"__name__": query, "host": str(host)},
            [
                (1000 * time, float(time * 7919 % (89 + 7 * number + host)))
                for time in range(START, END, STEP_S)
            ],
        )
        for number, query in enumerate(QUERIES)
        for host in range(N_HOSTS)
    )
    source.force_flush()


def run(source: VictoriaMetrics, folder: Path, writer: Mapping[str, Any], when: When) -> Run:
    """Run the service in this process, one query after the other.

    Parameters
    ----------
    source
        Read from; see `fill`.
    folder
        Temporary folder.
    writer
        The section of that name.
    when
        What is done, by query, before the query is read. What was written for the queries before
        it is delivered, given up or queued by then.
    """
    with _gate(source, when) as url:
        path = folder / "disturbed.yaml"
        path.write_text(yaml.safe_dump(config(url, writer), sort_keys=False))
        service = Service(load_config([path], {}))
        return Run(service.run(), _dropped(service.metrics))


def config(reader_url: str, writer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of such a run."""
    return {
        "reader": {
            "datasource_url": reader_url,
            "sampling_period": f"{STEP_S}s",
            "workers": 1,
            "queries": {query: {"expr": query} for query in QUERIES},
        },
        "writer": dict(writer),
        "schedulers": {
            "once": {
                "class": "oneoff",
                "fit_start_s": START,
                "fit_end_s": INFER_START - STEP_S,
                "infer_start_s": INFER_START,
                "infer_end_s": END - STEP_S,
            }
        },
        "models": {"zscore": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }


@dataclass(frozen=True)
class Arrived:
    """What is in a database that was written to.

    Attributes
    ----------
    written
        Values by series and timestamp.
    n_duplicates
        Points that are there again, with the same value.
    """

    written: Written
    n_duplicates: int

    @classmethod
    def at(cls, target: VictoriaMetrics, selector: str = '{for!=""}') -> Arrived:
        """Read everything that was written; a point with two values fails."""
        n_duplicates = 0
        written: Written = {}
        for labels, samples in target.export(selector).items():
            assert_one_value_each(labels, samples)
            written[labels] = dict(samples)
            n_duplicates += len(samples) - len(written[labels])
        return cls(written, n_duplicates)

    @property
    def n_points(self) -> int:
        """Points, each counted once."""
        return sum(map(len, self.written.values()))

    def of(self, *queries: str) -> Written:
        """Return what was written for the given queries."""
        return {labels: each for labels, each in self.written.items() if labels["for"] in queries}


def assert_one_value_each(labels: Labels, samples: Samples) -> None:
    counts = Counter(timestamp for timestamp, _ in set(samples))
    assert max(counts.values()) == 1, f"{labels} has a timestamp with two values"


@contextmanager
def _gate(source: VictoriaMetrics, when: When) -> Iterator[str]:
    """Serve what `source` does, and do something before the first answer to each query."""
    waiting = dict(when)
    failures: list[BaseException] = []

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.method == "POST":
            action = waiting.pop(asked.form["query"][0], None)
            if action is not None:
                try:
                    action()
                except BaseException as failure:
                    failures.append(failure)
                    raise
        answer = http.request(
            asked.method,
            source.url + asked.path,
            body=asked.body,
            headers={"Content-Type": asked.headers.get("Content-Type", "text/plain")},
        )
        mime = answer.headers.get("Content-Type", "text/plain")
        handler.reply(answer.status, answer.data, mime=mime)

    with urllib3.PoolManager(retries=False) as http, serve(respond) as loopback:
        yield loopback.url
    if failures:
        raise failures[0]
    assert not waiting, f"nobody asked for {sorted(waiting)}"


def _dropped(metrics: Metrics) -> dict[str, int]:
    return {
        sample.labels["reason"]: int(sample.value)
        for family in metrics.writer_dropped_datapoints.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }


@dataclass(frozen=True)
class Trial:
    """A disturbed run whose result is held against that of an undisturbed one.

    Attributes
    ----------
    source
        Read from.
    undisturbed
        What arrives when nothing happens.
    target
        The database that the scores are to reach in the end.
    folder
        Temporary folder.
    """

    source: VictoriaMetrics
    undisturbed: Arrived
    target: VictoriaMetrics
    folder: Path

    def run(self, when: When, **writer: Any) -> Run:
        """Run the service with the given section `writer`; see `run`."""
        return run(self.source, self.folder, writer, when)

    def arrived(self, run: Run, *lost: str) -> Arrived:
        """Return what is in the target, which is all that the undisturbed run wrote.

        Parameters
        ----------
        run
            What the disturbed run said. It counted everything that is lost, and nothing else.
        lost
            Queries whose scores are not there.
        """
        arrived = Arrived.at(self.target)
        kept = [query for query in QUERIES if query not in lost]
        assert arrived.written == self.undisturbed.of(*kept)
        n_dropped = sum(run.dropped.values())
        logger.info(
            "%d points before, %d after, %d dropped, %d twice",
            self.undisturbed.n_points,
            arrived.n_points,
            n_dropped,
            arrived.n_duplicates,
        )
        assert arrived.n_points + n_dropped == self.undisturbed.n_points
        return arrived
