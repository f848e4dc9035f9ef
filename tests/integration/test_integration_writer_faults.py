"""Whatever happens to the database, its network or the disk, no score is lost or changed.

Each test disturbs a run of twelve queries, written one after the other, and compares what the
database holds in the end with what an undisturbed run wrote, value for value.
"""

from __future__ import annotations

import logging
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.disturbed import N_POINTS_PER_QUERY, QUERIES, Run, Trial
from tests.integration.servers import Front, VictoriaMetrics, Vmauth, replace_file, wait_until
from vmanomaly.config.writer import VmWriterSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer import create_writer

UNHARMED = Run(exit_status=0)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, "vmanomaly")
    yield
    assert "Traceback" not in caplog.text


def messages(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [message for message in caplog.messages if part in message]


def test_the_database_is_killed_and_started_again(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    def kill_again() -> None:
        wait_until(lambda: bool(trial.target.export('{for="m06"}')), "scores after the first time")
        kill()

    def kill() -> None:
        # What the database has only in its memory is lost with it.
        trial.target.persist()
        trial.target.kill()

    start = trial.target.start
    when = {"m02": kill, "m05": start, "m07": kill_again, "m10": start}
    run = trial.run(when, datasource_url=trial.target.url)

    assert run == UNHARMED
    assert trial.arrived(run).n_duplicates == 0
    assert messages(caplog, "Connection error while writing 80 points for m02, reinitializing")
    assert messages(caplog, "Points wait in the queue")


def test_connections_are_reset(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    with Front(trial.folder, trial.target.url, "return 444;") as front:
        run = trial.run({"m02": front.fail, "m08": front.recover}, datasource_url=front.url)
        assert {write.status for write in front.writes()} == {204, 444}

    assert run == UNHARMED
    assert trial.arrived(run).n_duplicates == 0
    assert messages(caplog, "Cannot write 80 points for m02")


def test_a_connection_is_reset_in_the_middle_of_a_body(
    vm: VictoriaMetrics, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server reads the head of a request of over a MiB, and leaves."""
    random = np.random.default_rng(5)
    timestamps = 1_750_000_000_000 + 1000 * np.arange(5000, dtype=np.int64)
    values = random.normal(size=(30, len(timestamps)))
    series = tuple(Labels({"host": str(host)}) for host in range(len(values)))
    predictions = Predictions(series, timestamps, {"yhat": values})
    metrics = Metrics()
    with Front(tmp_path, vm.url, "return 444;") as front:
        section = VmWriterSection(datasource_url=front.url)
        writer = create_writer(section, metrics)
        writer.start()
        front.fail()
        writer.write(predictions, Origin(("cpu",), "zscore", "once", "default"))
        assert writer.last_error is not None
        assert writer.last_error.code == "connection_error"
        front.recover()
        assert writer.flush(60)
        writer.close()
        *cut, whole = front.writes()
    assert cut
    assert {request.status for request in cut} == {444}
    assert max(request.n_bytes for request in cut) < 10_000
    assert whole.status == 204
    assert whole.n_bytes > 1_000_000

    arrived = vm.export('{for="cpu"}')
    assert len(arrived) == len(series)
    for labels, samples in arrived.items():
        written = values[int(labels["host"])].tolist()
        assert [timestamp for timestamp, _ in samples] == timestamps.tolist()
        assert [value for _, value in samples] == pytest.approx(written, rel=1e-9, abs=1e-12)
    assert messages(caplog, "reinitializing session and retrying")


@pytest.mark.parametrize(
    ("status", "retry_after"), [(500, None), (502, None), (503, "1"), (429, "1"), (401, None)]
)
def test_the_database_is_busy(
    trial: Trial, caplog: pytest.LogCaptureFixture, status: int, retry_after: str | None
) -> None:
    header = f"add_header Retry-After {retry_after} always; " if retry_after else ""
    with Front(trial.folder, trial.target.url, f"{header}return {status} 'gone fishing';") as front:
        run = trial.run({"m02": front.fail, "m08": front.recover}, datasource_url=front.url)
        writes = front.writes()

    assert run == UNHARMED
    assert trial.arrived(run).n_duplicates == 0
    assert messages(caplog, "Cannot write 80 points for m02")
    assert messages(caplog, f"answered {status}")
    assert messages(caplog, "gone fishing")
    refused = [number for number, write in enumerate(writes) if write.status == status]
    assert refused
    for number in refused:
        # nginx knows the time to a few milliseconds.
        waited = writes[number + 1].time - writes[number].time
        assert waited > float(retry_after or 0) - 0.01


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Return the address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_never_comes(
    trial: Trial, black_hole: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Front(trial.folder, trial.target.url, f"proxy_pass {black_hole};") as front:
        when = {"m02": front.fail, "m08": front.recover}
        run = trial.run(when, datasource_url=front.url, timeout="2s")

    assert run == UNHARMED
    assert trial.arrived(run).n_duplicates == 0
    assert messages(caplog, "no complete response in time. A larger `writer.timeout` allows")


def test_the_answer_is_lost_and_not_the_request(trial: Trial, black_hole: str) -> None:
    """What is written again is there twice with the same values: deduplication handles it."""
    fault = f"mirror /stored; proxy_pass {black_hole};"
    stored = f"location = /stored {{ internal; proxy_pass {trial.target.url}/api/v1/import; }}"
    with Front(trial.folder, trial.target.url, fault, stored) as front:
        when = {"m02": front.fail, "m08": front.recover}
        run = trial.run(when, datasource_url=front.url, timeout="2s")

    assert run == UNHARMED
    n_duplicates = trial.arrived(run).n_duplicates
    assert n_duplicates > 0
    assert n_duplicates % N_POINTS_PER_QUERY == 0


def test_one_batch_is_refused(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    fault = "return 400 'cannot unmarshal \"metric\"';"
    with Front(trial.folder, trial.target.url, fault) as front:
        run = trial.run({"m05": front.fail, "m06": front.recover}, datasource_url=front.url)

    assert run == Run(exit_status=1, dropped={"400": N_POINTS_PER_QUERY})
    assert trial.arrived(run, "m05").n_duplicates == 0
    (refusal,) = messages(caplog, "Cannot write")
    assert refusal.startswith("Cannot write 80 points for m05: ")
    assert 'answered 400 Bad Request: cannot unmarshal "metric"' in refusal


@pytest.mark.parametrize("on_disk", [True, False], ids=["disk", "memory"])
def test_the_queue_is_full(trial: Trial, caplog: pytest.LogCaptureFixture, on_disk: bool) -> None:
    where: dict[str, Any] = {"queue_path": str(trial.folder / "queue")} if on_disk else {}
    with Front(trial.folder, trial.target.url, "return 503;") as front:
        run = trial.run(
            {QUERIES[0]: front.fail, QUERIES[-1]: front.recover},
            datasource_url=front.url,
            queue_max_size="24KiB",
            **where,
        )

    n_lost, rest = divmod(run.dropped["queue_full"], N_POINTS_PER_QUERY)
    assert rest == 0
    assert 0 < n_lost < len(QUERIES) - 1
    assert run.exit_status == 1
    # The oldest go.
    assert trial.arrived(run, *QUERIES[:n_lost]).n_duplicates == 0
    assert len(messages(caplog, "Queue full: dropping the oldest points")) == 1
    assert messages(caplog, f"{run.dropped['queue_full']} were dropped")


@dataclass(frozen=True)
class Disk:
    """A folder on a disk that can be made too small for what is written, and large again."""

    folder: Path
    shrink: Callable[[], None]
    enlarge: Callable[[], None]


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount a disk that holds a few records when it is small.

    Where that is not allowed, as in most containers, a limit of this process takes its place.
    """

    def mount(*options: str) -> None:
        subprocess.run(["mount", *options, str(folder)], check=True, capture_output=True)

    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    except subprocess.CalledProcessError:
        with limited_files(folder) as disk:
            yield disk
        return
    try:
        yield Disk(
            folder,
            shrink=lambda: mount("-o", "remount,size=16k"),
            enlarge=lambda: mount("-o", "remount,size=1m"),
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def limited_files(folder: Path) -> Iterator[Disk]:
    """Refuse this process, while the disk is small, files that would hold a record."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE)
    try:
        yield Disk(
            folder,
            shrink=lambda: limit((1024, usual[1])),
            enlarge=lambda: limit(usual),
        )
    finally:
        limit(usual)


@pytest.mark.parametrize("make_disk", [small_disk, limited_files])
def test_the_disk_of_the_queue_is_full(
    trial: Trial,
    caplog: pytest.LogCaptureFixture,
    make_disk: Callable[[Path], AbstractContextManager[Disk]],
) -> None:
    with (
        Front(trial.folder, trial.target.url, "return 503;") as front,
        make_disk(trial.folder / "queue") as disk,
    ):
        when = {
            "m00": front.fail,
            "m02": disk.shrink,
            "m08": disk.enlarge,
            "m11": front.recover,
        }
        run = trial.run(when, datasource_url=front.url, queue_path=str(disk.folder))

    assert run == UNHARMED
    assert trial.arrived(run).n_duplicates == 0
    (warning,) = messages(caplog, "The queue continues in memory")
    assert f"cannot write to the queue in {disk.folder}: " in warning
    assert len(messages(caplog, "The queue is on disk again")) == 1


def test_a_token_rotates(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    token = trial.folder / "token"
    old, new = "first-of-the-tokens", "second-of-the-tokens"
    token.write_text(old)

    def only(bearer_token: str) -> list[dict[str, str]]:
        return [{"bearer_token": bearer_token, "url_prefix": trial.target.url}]

    with Vmauth(trial.folder, only(old)) as vmauth:
        when = {"m03": lambda: vmauth.change(only(new)), "m08": lambda: replace_file(token, new)}
        run = trial.run(when, datasource_url=vmauth.url, bearer_token_file=str(token))

    assert run == UNHARMED
    assert trial.arrived(run).n_duplicates == 0
    (failure,) = messages(caplog, "Cannot write 80 points for m03")
    assert "Check the token in `writer.bearer_token_file`" in failure
    assert old not in caplog.text
    assert new not in caplog.text
