"""The tree of the image in a folder, and its service as a container would run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.servers import Process

CHECKOUT = Path(__file__).parents[2]
IN_IMAGE = Path(__file__).with_name("in-image.sh")
BUILD_TIMEOUT_S = 900
PYTHON = Path(sys.base_prefix)


class Image:
    """The tree that the Dockerfile builds; needs root.

    Parameters
    ----------
    folder
        An empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir(parents=True)

    def build(self) -> None:
        """Run what the Dockerfile runs."""
        context = self.root.with_name("context")
        _copy_context(context)
        command = self._command("rw", {context: "/src"})
        environ = {
            "PATH": f"{PYTHON}/bin:/usr/bin:/bin",
            "HOME": "/nonexistent",
            **_for_downloads(),
        }
        done = subprocess.run(
            [*command, "/src/packaging/image/build-tree.sh", "/src"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def write(self, path: str, content: str) -> None:
        """Put a file there that is mounted, such as a configuration."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def container(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        entrypoint: str | None = None,
        volumes: Mapping[Path, str] | None = None,
        environ: Mapping[str, str] | None = None,
        uid: int = 1000,
    ) -> Process:
        """Return a process on a read-only root, of a user without home and capabilities.

        Parameters
        ----------
        arguments
            Those of the container.
        log
            Its output.
        entrypoint
            In place of that of the image.
        volumes
            Folders of this machine, and where they are in the container; writable for everyone.
        environ
            In addition to that of the image.
        uid
            Number of the user and of the group.
        """
        for folder in volumes or {}:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        of_image = _environ(CHECKOUT / "Dockerfile", f"{PYTHON}/bin:/usr/bin:/bin")
        command = [
            *self._command("ro", volumes or {}),
            *("/usr/bin/setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
            *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
            *("/usr/bin/env", "--chdir=/vmanomaly", "-i", "HOME=/nonexistent"),
            *(f"{name}={value}" for name, value in {**of_image, **(environ or {})}.items()),
            entrypoint or "vmanomaly",
            *arguments,
        ]
        return Process(command, log)

    def _command(self, mode: str, volumes: Mapping[Path, str]) -> list[str]:
        folders = [f"{folder}:{place}" for folder, place in volumes.items()]
        return [
            *("unshare", "--mount", str(IN_IMAGE)),
            *(str(self.root), str(PYTHON), mode, *folders, "--"),
        ]


def _copy_context(folder: Path) -> None:
    """Copy what `.dockerignore` leaves of the checkout."""
    for line in (CHECKOUT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, target = CHECKOUT / line[1:], folder / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(
                    source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
                )
            else:
                shutil.copy(source, target)


def _for_downloads() -> dict[str, str]:
    """Return the variables that say how packages are fetched on this machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "UV_", "SSL_CERT")) or name.lower().endswith("_proxy")
    }


def _environ(dockerfile: Path, path: str) -> dict[str, str]:
    """Return the variables that the Dockerfile sets, `PATH` before the one given."""
    found = re.search(r"^ENV ((?:.*\\\n)*.*)$", dockerfile.read_text(), re.MULTILINE)
    assert found is not None
    pairs = (pair.split("=", 1) for pair in found[1].replace("\\\n", " ").split())
    return {name: value.replace("$PATH", path) for name, value in pairs}
