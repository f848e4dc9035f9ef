"""Certificates of an authority of the tests' own, and a front that asks for them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.integration.servers import Front, free_port, replace_file

USER, PASSWORD = "scott", "tiger-of-the-tests"


class Certificates:
    """A certificate authority, and the files of the certificates that it issued."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.bundle = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.bundle)

    def issue(self, name: str, *, host: str = "127.0.0.1", life: timedelta | None = None) -> Path:
        """Write certificate and key for a host into the file `name`, replacing an older one."""
        until = None if life is None else datetime.now(UTC) + life
        issued = self._authority.issue_cert(host, not_after=until)
        path = self._folder / name
        replace_file(path, issued.private_key_and_cert_chain_pem.bytes())
        return path


class TlsFront(Front):
    """A front that serves TLS at `tls_url`, with a handshake for each request."""

    def __init__(self, folder: Path, target: str, certificate: Path, directives: str = "") -> None:
        port = free_port()
        self.tls_url = f"https://127.0.0.1:{port}"
        super().__init__(
            folder,
            target,
            "return 503;",
            f"listen 127.0.0.1:{port} ssl;\nkeepalive_timeout 0;\n"
            f"ssl_certificate {certificate};\nssl_certificate_key {certificate};\n{directives}",
        )

    def restart(self) -> None:
        self.stop()
        self.start()


def wants_client_certificate(bundle: Path) -> str:
    return f"ssl_client_certificate {bundle}; ssl_verify_client on;"


def wants_password(folder: Path, password: str = PASSWORD) -> str:
    """Return directives for Basic auth; calling it again changes the password."""
    digest = b64encode(hashlib.sha1(password.encode()).digest()).decode()  # noqa: S324
    replace_file(folder / "htpasswd", f"{USER}:{{SHA}}{digest}\n")
    return f"auth_basic database; auth_basic_user_file {folder / 'htpasswd'};"
