"""The connection pools of a client, made again when a certificate or key file changes."""

from __future__ import annotations

import logging
import ssl
import threading
from typing import TYPE_CHECKING

import urllib3

from vmanomaly.errors import DatasourceError
from vmanomaly.http.credentials import proxy_headers
from vmanomaly.http.exchange import create_pools
from vmanomaly.http.tls import Signature, tls_context, tls_signature
from vmanomaly.http.urls import redact_url

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection

logger = logging.getLogger(__name__)


class Pools:
    """The connections of a section of the configuration. Safe to use from several threads.

    Parameters
    ----------
    section
        The section.
    role
        Where it is in the configuration, for messages.
    """

    def __init__(self, section: HttpSection, role: str) -> None:
        self._section = section
        self._role = role
        self._lock = threading.Lock()
        self._manager: urllib3.PoolManager | None = None
        self._signature: tuple[Signature | None, ...] = ()
        if section.verify_tls is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def current(self) -> urllib3.PoolManager:
        """Return the pools that belong to the files as they are now.

        Raises
        ------
        DatasourceError
            The files cannot be used, and there are no connections yet.
        """
        signature = tls_signature(self._section)
        with self._lock:
            if self._manager is not None and signature == self._signature:
                return self._manager
            try:
                context = tls_context(self._section)
            except (OSError, ssl.SSLError) as error:
                role, url = self._role, redact_url(self._section.datasource_url)
                problem = (
                    f"Cannot use `{role}.verify_tls`, `{role}.tls_cert_file` or "
                    f"`{role}.tls_key_file` for {url}: {error}"
                )
                if self._manager is None:
                    raise DatasourceError(problem, "ssl_error") from error
                # Certificate and key are replaced one after the other: until they match, the
                # connections keep using what was loaded before.
                logger.warning("%s; still using the files read before", problem)
                self._signature = signature
                return self._manager
            if self._manager is not None:
                self._manager.clear()
            self._signature = signature
            self._manager = create_pools(
                context, self._section.proxy_url, proxy_headers(self._section)
            )
            return self._manager

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            if self._manager is not None:
                self._manager.clear()
                self._manager = None
