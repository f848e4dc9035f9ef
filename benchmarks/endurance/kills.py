"""A service that is killed again and again while everything around it fails too.

It follows a history on a virtual clock, with a stored state and a queue on disk. It is ended by
SIGKILL or SIGTERM at random moments, databases are killed or hang, the disk is full, the clock is
set forward and back, and the configuration is edited and reloaded. In the end every point that an
undisturbed service has written has to be there, with the same value, and no other.

    python -m benchmarks.endurance.kills --kills 1000 --seed 1

The seed decides what happens; when exactly it hits the service depends on the machine. The exit
status is 1 at the first fault, which is told with what had happened before it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.endurance.disturbances import Configuration, Database, FullDisk, disk
from benchmarks.endurance.progress import Show, progress
from tests.config_helpers import required
from tests.history import FROM, N_POINTS, STEADY, STEP, telemetry
from tests.integration.nursery import Nursery, nursery
from tests.integration.scored_history import Points, fill, first_difference, scores, told
from tests.integration.servers import VictoriaMetrics, replace_file
from vmanomaly.config.registry import MODELS
from vmanomaly.series import JobKey
from vmanomaly.state import StateError
from vmanomaly.state.index import read_index

_MODELS = ("zscore_online", "mad_online", "quantile_online", "rolling_quantile", "std")
START = FROM + STEP
FIT_EVERY, FIT_WINDOW = 96, 120
_JOBS = [JobKey("live", (query,)) for query in ("load", "steady")]

# Less than the distance of two fits: of several that are missed only the last is made up.
_FURTHEST_BEHIND = 40 * STEP
_POINTS_PER_KILL = 12
_HOW = {"SIGKILL": 6, "SIGTERM": 3, "SIGTERM and SIGKILL": 1}
_PACE_S = 0.02
_LAST = 5 * STEP
_END_S = 45.0
_N_EVENTS_TOLD = 25
_SHORTEST_FAULT_S, _LONGEST_FAULT_S = 0.05, 3.0
_LEFT_ON_DISK = (0, 4096, 20_000, 60_000, 200_000)


class FaultFound(Exception):  # noqa: N818 - it is what is looked for
    """The service did something that it must not do."""


@dataclass
class Events:
    """What has happened, and how often.

    Attributes
    ----------
    lines : list of str
        In order, each with the virtual time.
    counts : Counter of str
        By kind.
    """

    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, at: int, detail: str = "") -> None:
        """Note an event, and count its kind."""
        self.counts[kind] += 1
        self.lines.append(f"{told(at)} {kind}{detail and ': '}{detail}")

    def __str__(self) -> str:
        return ", ".join(f"{n:,} {kind}" for kind, n in sorted(self.counts.items()))


@dataclass
class Surroundings:
    """Everything that a service depends on.

    Attributes
    ----------
    source, target : Database
        Read from, and written to.
    disk : FullDisk
        Where state and queue are.
    config : Configuration
        Of the service.
    step : Path
        Sets the clock of the service.
    """

    source: Database
    target: Database
    disk: FullDisk
    config: Configuration
    step: Path

    @property
    def models(self) -> Path:
        """The folder of states, with the queue."""
        return self.disk.folder / "models"


class Siege:
    """Kills a service, and all around it.

    Parameters
    ----------
    around
        What the service depends on.
    children
        Forks the service.
    chance
        Decides what happens.
    log
        Where the service writes its log.
    """

    def __init__(
        self, around: Surroundings, children: Nursery, chance: random.Random, log: Path
    ) -> None:
        self.events = Events()
        self._around = around
        self._children = children
        self._chance = chance
        self._log = log
        self._now = self._stored = START
        self._process: int | None = None
        self._heal_at: dict[str, float] = {}

    def run(self, n_kills: int, last: int, show: Show) -> int:
        """Kill so often; return the virtual time up to which everything is to be there.

        Raises
        ------
        FaultFound
            The service has ended by itself, or has not ended, or is not what it should be.
        """
        try:
            self._run_for(5)
            while (number := self._n_kills) < n_kills:
                show(number, n_kills, f"kills; {self.events}")
                if self._now - self._stored > _FURTHEST_BEHIND:
                    self._catch_up()
                if self._now > last - 3 * _FURTHEST_BEHIND:
                    raise FaultFound("the history is too short for so many kills")
                self._kill_once()
            self._heal(all_of_it=True)
            end = self._now + 30 * STEP
            self._start(end)
            while (words := self._children.next_words())[0] == "tick":
                pass
            self._check_status(words[1], {0})
        finally:
            self._heal(all_of_it=True)
        self._check_log()
        if left := list((self._around.models / "queue").glob("*.segment")):
            raise FaultFound(f"the queue is not empty in the end: {left}")
        return end

    @property
    def _n_kills(self) -> int:
        return sum(self.events.counts[how] for how in _HOW)

    def _kill_once(self) -> None:
        """Have the service run for a while, and end it, unless it does not even start."""
        self._heal()
        self._disturb()
        self._around.config.write()
        self._start()
        # A service does not start on a configuration that is wrong.
        self._edit(often=0.05, mistakes=False)
        for _ in range(self._chance.randrange(4)):
            if not self._hears_tick():
                return
            self._heal()
            self._disturb()
        time.sleep(self._chance.uniform(0, 0.1))
        self._end()
        self._note_stored()
        self._now += self._chance.randrange(3) * STEP
        self._check_log()

    def _start(self, end: int | None = None) -> None:
        """Start the service, up to a time or to be killed before it comes far."""
        around = self._around
        around.step.unlink(missing_ok=True)
        until = (end,) if end else (self._now + _FURTHEST_BEHIND // 2, "hold")
        self._process = self._children.start(
            around.config.path, self._now, until[0], _PACE_S, around.step, *until[1:]
        )
        around.disk.limit(self._process)

    def _hears_tick(self) -> bool:
        """Wait for the clock to go on. Return False where the service has ended by itself."""
        what, number = self._children.next_words()
        if what == "tick":
            self._now = number
            return True
        # A service does not start where it cannot keep its state, and says so.
        self._check_status(number, {1} if self._around.disk.is_full else set())
        self.events.note("starts refused on a full disk", self._now)
        self._process = None
        return False

    def _end(self) -> None:
        assert self._process is not None
        how = self._chance.choices(list(_HOW), list(_HOW.values()))[0]
        if how == "SIGTERM" and self._is_hanging and self._chance.random() < 0.7:
            how = "SIGTERM and SIGKILL"
        allowed = {"SIGKILL": {-9}, "SIGTERM": {0}, "SIGTERM and SIGKILL": {0, -9}}[how]
        if self._around.disk.is_full:
            allowed |= {1}
        self.events.note(how, self._now)
        # It may have ended already, which its exit status tells.
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL if how == "SIGKILL" else signal.SIGTERM)
            if how == "SIGTERM and SIGKILL":
                time.sleep(self._chance.uniform(0, 0.5))
                os.kill(self._process, signal.SIGKILL)
        try:
            while (words := self._children.next_words(_END_S))[0] == "tick":
                self._now = words[1]
        except TimeoutError:
            raise FaultFound(f"it has not ended {_END_S:g} s after {how}") from None
        self._process = None
        self._check_status(words[1], allowed)

    @property
    def _is_hanging(self) -> bool:
        return "hung" in {self._around.source.fault, self._around.target.fault}

    def _disturb(self) -> None:
        """Do some of what can go wrong, each with its own probability."""
        around, chance = self._around, self._chance
        for name, database, often in (
            ("source", around.source, 0.03),
            ("target", around.target, 0.05),
        ):
            if chance.random() < often and not database.fault:
                if chance.random() < 0.5:
                    database.kill(self._process)
                else:
                    database.hang()
                self._begin(name, f"databases {database.fault}", name)
        # Above all while scores have to wait on it.
        if chance.random() < (0.2 if around.target.fault else 0.03) and not around.disk.is_full:
            if chance.random() < 0.5:
                left = chance.choice(_LEFT_ON_DISK)
                around.disk.fill(left)
                self._begin("disk", "full disks", f"{left} bytes left")
            else:
                largest = int(1000 * 10_000 ** chance.random())
                around.disk.refuse_large_files(largest)
                self._begin("disk", "limits of files", f"{largest} bytes")
            self._limit()
        if chance.random() < 0.06:
            self._set_clock(chance.choice([-1, 1]) * chance.randint(1, 8) * STEP)
        self._edit(often=0.12)

    def _edit(self, often: float, *, mistakes: bool = True) -> None:
        """Edit the configuration of a process, and have it loaded again."""
        if self._process is not None and self._chance.random() < often:
            what = self._around.config.edit(self._chance, mistakes=mistakes)
            self.events.note("reloads", self._now, what)
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGHUP)

    def _begin(self, name: str, kind: str, detail: str) -> None:
        self.events.note(kind, self._now, detail)
        lasts = _SHORTEST_FAULT_S * (_LONGEST_FAULT_S / _SHORTEST_FAULT_S) ** self._chance.random()
        self._heal_at[name] = time.monotonic() + lasts

    def _heal(self, *, all_of_it: bool = False) -> None:
        """Let end what has lasted long enough."""
        around, now = self._around, time.monotonic()
        recoveries = {
            "source": around.source.recover,
            "target": around.target.recover,
            "disk": around.disk.free,
        }
        for name in [name for name, at in self._heal_at.items() if all_of_it or at <= now]:
            del self._heal_at[name]
            recoveries[name]()
            self.events.lines.append(f"{told(self._now)} {name} recovers")
            self._limit()
        if all_of_it:
            around.config.write()

    def _limit(self) -> None:
        if self._process is not None:
            self._around.disk.limit(self._process)

    def _set_clock(self, step: int) -> None:
        if self._now + step < START + 2 * FIT_WINDOW * STEP and step < 0:
            return
        self.events.note("clock steps", self._now, f"{step // 1000:+d} s")
        if self._process is None:
            self._now += step
        else:
            replace_file(self._around.step, str(step))

    def _catch_up(self) -> None:
        """Let the service come to the current time, so that it misses no fit altogether."""
        self._heal(all_of_it=True)
        self.events.note("times to catch up", self._now)
        for _ in range(5):
            self._run_for(4)
            if self._now - self._stored <= _FURTHEST_BEHIND / 4:
                return
        raise FaultFound(f"it stays behind: at {told(self._now)} {told(self._stored)} is stored")

    def _run_for(self, n_ticks: int) -> None:
        self._start()
        for _ in range(n_ticks):
            if not self._hears_tick():
                raise FaultFound("it does not run where nothing is wrong")
        assert self._process is not None
        os.kill(self._process, signal.SIGTERM)
        while (words := self._children.next_words(_END_S))[0] == "tick":
            self._now = words[1]
        self._process = None
        self._check_status(words[1], {0})
        self._note_stored()

    def _note_stored(self) -> None:
        """Note up to when the jobs have stored what they have learned."""
        try:
            _, progress = read_index(self._around.models)
        except StateError:
            # Being read, SQLite writes too, which a full disk does not let it.
            return
        # None for a job that has covered nothing yet.
        covered = [progress[job]["covered"] or START for job in _JOBS if job in progress]
        self._stored = min(covered, default=START)

    def _check_status(self, status: int, allowed: set[int]) -> None:
        if status not in allowed:
            raise FaultFound(f"it has ended with the status {status}, expected {sorted(allowed)}")

    def _check_log(self) -> None:
        if "Traceback" in self._log.read_text(errors="replace"):
            raise FaultFound("there is a traceback in the log")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="for logs and databases; must not be there")
    options = parser.parse_args()
    # Databases, and the mounted disk, are not left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        if options.folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = options.folder
            folder.mkdir(parents=True)
        events = Events()
        try:
            with progress(f"{options.kills:,} kills, seed {options.seed}") as show:
                said = run(options.kills, options.seed, folder, events, show)
        except (FaultFound, TimeoutError) as fault:
            (folder / "events.txt").write_text("\n".join(events.lines))
            log = (folder / "killed.log").read_text(errors="replace").splitlines()[-40:]
            print("\n".join(["The end of the log:", *log]))
            print("\n".join(["What had happened:", *events.lines[-_N_EVENTS_TOLD:]]))
            print(f"kills: FAULT: {fault}; after {events}; --seed {options.seed}")
            return 1
    print(said)
    return 0


def run(n_kills: int, seed: int, folder: Path, events: Events, show: Show) -> str:
    """Kill a service so often, and compare what it wrote with what one that lives has written.

    Raises
    ------
    FaultFound
        It is not the same, or something else is wrong.
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible
    data = telemetry(N_POINTS + _POINTS_PER_KILL * n_kills)
    started = time.monotonic()
    for name in ("source", "target"):
        (folder / name).mkdir()
    with (
        # Or else what it makes of a gap depends on the range that is asked for, and a run that is
        # late reads other values than those on time.
        VictoriaMetrics(folder / "source", "-search.setLookbackToStep") as source,
        VictoriaMetrics(folder / "target") as target,
        disk(folder / "disk") as own_disk,
    ):
        fill(source, data)
        source.persist()
        around = Surroundings(
            Database(source),
            Database(target),
            own_disk,
            Configuration(folder / "killed.yaml", sections(source, target, "killed")),
            folder / "step",
        )
        around.config.write()
        with nursery(
            "benchmarks.endurance.kills_service",
            str(around.config.path),
            environ={"VMANOMALY_MODEL_DUMPS_DIR": str(around.models)},
            log=folder / "killed.log",
        ) as children:
            siege = Siege(around, children, chance, folder / "killed.log")
            siege.events = events
            end = siege.run(n_kills, int(data.timestamps[-1]), show)
        show(n_kills, n_kills, "kills; an undisturbed run to compare with")
        _run_undisturbed(source, target, folder, end)
        expected, n_twice = scores(target, "whole")
        found, n_again = scores(target, "killed")
    if n_twice:
        raise FaultFound(f"{n_twice} points of the undisturbed run are there twice")
    # Models that come and go with the configuration begin when they do.
    lasting = around.config.sections["models"].keys()
    found = {labels: points for labels, points in found.items() if labels["model_alias"] in lasting}
    difference = first_difference(*(_up_to(end - _LAST, side) for side in (expected, found)))
    if difference:
        raise FaultFound(difference)
    return (
        f"kills: all equal. {events} in {time.monotonic() - started:,.0f} s; "
        f"{sum(map(len, expected.values())):,} points of {len(expected):,} series in "
        f"{(end - START) // STEP:,} intervals, all there and equal, {n_again:,} of them written "
        f"again; --seed {seed}"
    )


def _up_to(last: int, points: Points) -> Points:
    """Leave out what a run that was under way in the end may have written or not."""
    return {
        labels: {(timestamp, value) for timestamp, value in of_series if timestamp <= last}
        for labels, of_series in points.items()
    }


def sections(
    source: VictoriaMetrics, target: VictoriaMetrics, name: str, timeout: str = "1s"
) -> dict[str, Any]:
    """Return the configuration of a service whose series have a name of their own."""
    hosts = "|".join("abcdef"[row] for row in STEADY)
    return {
        "settings": {"restore_state": True, "checkpoint_interval": "7m"},
        "reader": {
            "datasource_url": source.url,
            "sampling_period": "1m",
            "timeout": timeout,
            "queries": {
                "load": {"expr": "load"},
                "steady": {"expr": f'load{{host=~"{hosts}"}}'},
            },
        },
        "writer": {
            "datasource_url": target.url,
            "timeout": timeout,
            "metric_format": {"__name__": f"{name}_$VAR", "for": "$QUERY_KEY"},
        },
        "schedulers": {
            "live": {
                "fit_window": f"{FIT_WINDOW}m",
                "fit_every": f"{FIT_EVERY}m",
                "infer_every": "1m",
            }
        },
        "models": {
            **{
                alias: {
                    "class": alias,
                    "queries": ["load"],
                    "schedulers": ["live"],
                    **required(MODELS[alias].section),
                }
                for alias in _MODELS
            },
            "together": {
                "class": "temporal_envelope_multivariate",
                "queries": ["steady"],
                "schedulers": ["live"],
                **required(MODELS["temporal_envelope_multivariate"].section),
            },
            "incidents": {
                "class": "zscore_online",
                "queries": ["steady"],
                "schedulers": ["live"],
                "provide_series": ["anomaly_score", "incident_score"],
            },
        },
        "server": {"addr": "127.0.0.1", "port": 0},
    }


def _run_undisturbed(
    source: VictoriaMetrics, target: VictoriaMetrics, folder: Path, end: int
) -> None:
    unhurried = sections(source, target, "whole", timeout="1m")
    config = Configuration(folder / "whole.yaml", unhurried)
    config.write()
    with nursery(
        "benchmarks.endurance.kills_service",
        str(config.path),
        environ={"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "whole")},
        log=folder / "whole.log",
    ) as children:
        children.start(config.path, START, end, 0.001, folder / "never")
        children.last("tick", START)
    if children.exit_status != 0:
        raise FaultFound(f"the undisturbed service ended with {children.exit_status}")
    if left := list((folder / "whole" / "queue").glob("*.segment")):
        raise FaultFound(f"the queue of the undisturbed service is not empty in the end: {left}")


if __name__ == "__main__":
    sys.exit(main())
