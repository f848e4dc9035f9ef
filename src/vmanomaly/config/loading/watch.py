"""Whether the files of a configuration have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from vmanomaly.config.loading.document import MAX_BYTES
from vmanomaly.config.loading.load import config_files
from vmanomaly.errors import ConfigError

# Longer than it takes to write a file or to replace a folder.
_SETTLE_S = 1.0


class ConfigWatch:
    """Compares the content of files with their former content, whatever their times and links say.

    So it notices a file that was replaced, edited in place, or is reached through a link that now
    points elsewhere, as in a mounted ConfigMap of Kubernetes; but not one that was only touched.

    Parameters
    ----------
    paths
        Files, and folders of them, as for `load_config`.
    pause
        Waits for that many seconds.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.yaml")
    ...     written = file.write_text("a: 1")
    ...     watch = ConfigWatch([file], pause=lambda seconds: None)
    ...     written = file.write_text("a: 2")
    ...     watch.has_changed(), watch.has_changed()
    (True, False)
    """

    def __init__(self, paths: Iterable[Path], pause: Callable[[float], object]) -> None:
        self._paths = list(paths)
        self._pause = pause
        self._known = self._digests()

    def has_changed(self) -> bool:
        """Tell whether the files hold something else than at the last call.

        What changes within a second is still being written, and is checked at the next call.
        """
        found = self._digests()
        if found == self._known:
            return False
        self._pause(_SETTLE_S)
        if self._digests() != found:
            return False
        self._known = found
        return True

    def _digests(self) -> list[tuple[str, str | None]]:
        return [(str(file), _digest(file)) for path in self._paths for file in _files(path)]


def _files(path: Path) -> list[Path]:
    try:
        return config_files(path)
    except ConfigError:
        return [path]


def _digest(file: Path) -> str | None:
    """Return what tells one content from another; None for what cannot be read repeatedly.

    That is a file that cannot be read at all, or a pipe such as standard input, whose content goes
    to whoever reads it first.
    """
    try:
        if not file.is_file():
            return None
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(MAX_BYTES + 1)).hexdigest()
    except OSError:
        return None
