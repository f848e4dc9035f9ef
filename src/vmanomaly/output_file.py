"""Files for the user, which are written completely or stay as they were."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path

from vmanomaly.errors import UsageError, VmanomalyError
from vmanomaly.exhaustion import exhausted

_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# The file itself may still be writable, such as one that is mounted into a container.
_NOT_REPLACEABLE = _FORBIDDEN | {errno.EBUSY}
_WRONG_PATH = _FORBIDDEN | {
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
}


def write_file(path: Path, text: str) -> None:
    """Write text to a file, UTF-8.

    A file that exists keeps its content until the new one is complete, and its permissions.

    Parameters
    ----------
    path
        A new file or one to replace; a link to one; or a device or a pipe.
    text
        The whole content.

    Raises
    ------
    UsageError
        There can be no such file, or it may not be written.
    VmanomalyError
        It cannot be completed, for example because the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_file(Path(folder, "a.txt"), "a")
    ...     [(file.name, file.read_text()) for file in Path(folder).iterdir()]
    [('a.txt', 'a')]
    """
    content = text.encode()
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            target.write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        message = f"cannot write {path}: {exhausted(error) or error.strerror}"
        kind = UsageError if error.errno in _WRONG_PATH else VmanomalyError
        raise kind(message) from error


def _replace(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".vmanomaly-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE:
            raise
        target.write_bytes(content)
    finally:
        temporary.unlink(missing_ok=True)
