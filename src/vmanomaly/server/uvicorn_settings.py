"""Which settings of `server.uvicorn_config` are passed on to uvicorn."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

import uvicorn

from vmanomaly.closest import closest
from vmanomaly.errors import ConfigError

logger = logging.getLogger(__name__)

_PASSED_ON = (
    "access_log",
    "date_header",
    "forwarded_allow_ips",
    "h11_max_incomplete_event_size",
    "headers",
    "limit_concurrency",
    "log_level",
    "proxy_headers",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_keyfile_password",
    "ssl_version",
    "timeout_graceful_shutdown",
    "timeout_keep_alive",
)


def uvicorn_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that have an effect here, with our defaults.

    Others that uvicorn knows, such as `workers`, have none, since the service runs its own
    listeners in one process. A warning names them.

    Parameters
    ----------
    given
        The content of `server.uvicorn_config`.

    Raises
    ------
    ConfigError
        There is a key that uvicorn does not know.

    Examples
    --------
    >>> uvicorn_settings({"timeout_keep_alive": 60})
    {'log_level': 'warning', 'timeout_keep_alive': 60}
    """
    known = inspect.signature(uvicorn.Config).parameters.keys()
    problems = []
    for key in given.keys() - known:
        close = closest(key, _PASSED_ON)
        hint = "" if close is None else f"; did you mean {close}?"
        problems.append(f"server.uvicorn_config.{key}: unknown key{hint}")
    if problems:
        raise ConfigError(sorted(problems))
    ignored = sorted(given.keys() - set(_PASSED_ON))
    if ignored:
        logger.warning("server.uvicorn_config: without effect here: %s", ", ".join(ignored))
    passed_on = {key: value for key, value in given.items() if key in _PASSED_ON}
    return {"log_level": "warning", **passed_on}
