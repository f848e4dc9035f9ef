"""What goes wrong around a service: databases, the disk, and who edits its configuration."""

from __future__ import annotations

import copy
import errno
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.servers import VictoriaMetrics, replace_file, request, wait_until

_SETTLED_S = 0.05
_DISK_BYTES = 32 << 20


class Database:
    """A database that is killed, or stopped so that it hangs, and comes back.

    Parameters
    ----------
    server
        The running server.
    """

    def __init__(self, server: VictoriaMetrics) -> None:
        self.server = server
        self.fault = ""

    def hang(self) -> None:
        """Stop the server: connections are accepted, and nothing is answered."""
        self.server.signal(signal.SIGSTOP)
        self.fault = "hung"

    def kill(self, writer: int | None = None) -> None:
        """Kill the server. What it has taken must outlive that, which is its own business.

        Parameters
        ----------
        writer
            A process that may be writing; it stands still until the server is gone, so that
            nothing is taken after what was taken has come to the disk.
        """
        if writer is not None:
            os.kill(writer, signal.SIGSTOP)
        try:
            wait_until(lambda: not _n_unread_bytes(self.server), "the last request to be read")
            time.sleep(_SETTLED_S)
            self.server.persist()
            request("GET", f"{self.server.url}/snapshot/delete_all")
            self.server.kill()
        finally:
            if writer is not None:
                os.kill(writer, signal.SIGCONT)
        self.fault = "killed"

    def recover(self) -> None:
        """Be there again."""
        if self.fault == "hung":
            self.server.signal(signal.SIGCONT)
        elif self.fault == "killed":
            self.server.start()
        self.fault = ""


class FullDisk:
    """A disk of its own for a service, that is filled and freed.

    It can also be full for large files only, as by a quota or `ulimit -f`.

    Parameters
    ----------
    folder
        A file system of its own, or any folder: then only the size of files can be limited.
    is_own
        Which of the two.
    """

    def __init__(self, folder: Path, *, is_own: bool) -> None:
        self.folder = folder
        self.is_full = False
        self._is_own = is_own
        self._largest_file = resource.RLIM_INFINITY

    def fill(self, left: int) -> None:
        """Leave so many bytes, where that can be done; else see `limit`."""
        self.is_full = True
        if not self._is_own:
            self._largest_file = left
            return
        free = os.statvfs(self.folder)
        n_bytes = free.f_bavail * free.f_frsize - left
        if n_bytes > 0:
            self._take(n_bytes)

    def refuse_large_files(self, largest: int) -> None:
        """Let no file become larger, once `limit` was called for its process."""
        self.is_full = True
        self._largest_file = largest

    def limit(self, process: int) -> None:
        """Have the size of files that holds now hold for a process."""
        limits = self._largest_file, resource.RLIM_INFINITY
        with suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, limits)

    def _take(self, n_bytes: int) -> None:
        with (self.folder / "ballast").open("wb") as ballast:
            try:
                os.posix_fallocate(ballast.fileno(), 0, n_bytes)
            except OSError as error:
                # What the service has written meanwhile is missing, so the disk is full.
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Give the room back."""
        self.is_full = False
        self._largest_file = resource.RLIM_INFINITY
        (self.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def disk(folder: Path) -> Iterator[FullDisk]:
    """Give a small disk, where this user may mount one; else limit the size of files."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "vmanomaly", str(folder)]
    is_own = not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        yield FullDisk(folder, is_own=is_own)
    finally:
        if is_own:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Configuration:
    """A configuration file that somebody edits, well or not.

    Attributes
    ----------
    path : Path
        The file.
    sections : mapping
        What it holds when nobody edits it.
    """

    path: Path
    sections: Mapping[str, Any]

    def write(self) -> None:
        """Write what is right."""
        replace_file(self.path, yaml.safe_dump(dict(self.sections), sort_keys=False))

    def edit(self, chance: random.Random, *, mistakes: bool = True) -> str:
        """Change something that changes no number of the models in it; return what."""
        edits: dict[str, dict[str, Any]] = {
            "a level": {"settings.logger_levels": {"reader": chance.choice(["ERROR", "WARNING"])}},
            "the reader": {"reader.workers": chance.randint(1, 9)},
            "the writer": {"writer.connection_retry_attempts": chance.randint(1, 5)},
            "the server": {"server.path_prefix": f"/p{chance.randint(1, 9)}"},
            "one model more": {
                "models.another": {
                    "class": "zscore_online",
                    "queries": ["load"],
                    "schedulers": ["live"],
                }
            },
            "one query more": {
                "reader.queries.another": {"expr": "load"},
                "models.of_another": {
                    "class": "zscore_online",
                    "queries": ["another"],
                    "schedulers": ["live"],
                },
            },
            "nothing": {},
        }
        what: str = chance.choice(
            [*edits, *(("a typing error", "half a file") if mistakes else ())]
        )
        if what == "half a file":
            text = yaml.safe_dump(dict(self.sections), sort_keys=False)
            # A half that is valid would be taken for what is wanted.
            self.path.write_text(text[: chance.randrange(1, len(text))] + "\n[")
        elif what == "a typing error":
            self._write({"models.mad_online.decay": "none"})
        else:
            self._write(edits[what])
        return what

    def _write(self, changes: Mapping[str, Any]) -> None:
        sections = copy.deepcopy(dict(self.sections))
        for path, value in changes.items():
            *parents, key = path.split(".")
            place = sections
            for parent in parents:
                place = place.setdefault(parent, {})
            place[key] = value
        replace_file(self.path, yaml.safe_dump(sections, sort_keys=False))


def _n_unread_bytes(server: VictoriaMetrics) -> int:
    """Return what has arrived at a server of loopback and was not read by it."""
    port = f"{int(server.url.rpartition(':')[2]):04X}"
    connections = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        int(connection[4].partition(":")[2], 16)
        for connection in connections
        if connection[1].endswith(f":{port}") and connection[3] != "0A"
    )
