"""Certificates, keys and other secrets in files, which are reread when they change."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vmanomaly.errors import DatasourceError

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection

Signature: TypeAlias = tuple[int, int, int]


class SecretFile:
    """The content of a small file, reread when the file changes.

    Parameters
    ----------
    path
        The file.
    key
        The key that names it in the configuration, for messages.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._read: tuple[Signature | None, str] = (None, "")

    def read(self) -> str:
        """Return the content, without white space around it.

        Raises
        ------
        DatasourceError
            The file cannot be read, or is empty.
        """
        signature, content = self._read
        current = _signature(self._path)
        if current is None or current != signature:
            if current is not None and not self._path.is_file():
                # Reading a pipe could take for ever.
                raise DatasourceError(f"`{self._key}` {self._path} is not a file", "io_error")
            try:
                content = self._path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise DatasourceError(
                    f"Cannot read `{self._key}` {self._path}: {error}", "io_error"
                ) from error
            if not content:
                raise DatasourceError(f"`{self._key}` {self._path} is empty", "io_error")
            self._read = (current, content)
        return content


def secret_file(path: Path | None, key: str) -> SecretFile | None:
    """Return the file, if there is one."""
    return None if path is None else SecretFile(path, key)


def tls_signature(section: HttpSection) -> tuple[Signature | None, ...]:
    """Return a value that changes when a file of certificates or keys is replaced."""
    return tuple(
        None if path is None else _signature(path)
        for path in (_bundle(section), section.tls_cert_file, section.tls_key_file)
    )


def tls_context(section: HttpSection) -> ssl.SSLContext:
    """Return how connections are encrypted, and whom to trust.

    Raises
    ------
    OSError
        A file cannot be read, or is not what it should be.
    """
    context = ssl.create_default_context(cafile=_bundle(section))
    if section.verify_tls is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if section.tls_cert_file is not None:
        context.load_cert_chain(section.tls_cert_file, section.tls_key_file)
    return context


def _bundle(section: HttpSection) -> Path | None:
    return section.verify_tls if isinstance(section.verify_tls, Path) else None


def _signature(path: Path) -> Signature | None:
    """Return a value that changes when a file is replaced, or None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
