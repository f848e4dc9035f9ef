"""The web UI on the scores of the demo."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from vmanomaly.config import Config
from vmanomaly.config.server import ServerSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.server.api import Api
from vmanomaly.server.listener import AddressInUseError
from vmanomaly.server.server import Server
from vmanomaly.service.health import HealthStatus
from vmanomaly.tasks import Tasks

_TASK_STOP_S = 5.0


def serve(config: Config, tell: Callable[[str], None]) -> None:
    """Serve the web UI until the process is interrupted.

    Parameters
    ----------
    config
        Says where the scores are.
    tell
        Called with the address.
    """
    metrics = Metrics(config.preset)
    metrics.start_time_seconds.set(time.time())
    metrics.config_last_reload_successful.set(1)
    section = (config.server or ServerSection()).model_copy(update={"addr": "127.0.0.1"})
    tasks = Tasks(lambda: section.max_concurrent_tasks, metrics)
    server = _create_server(config, section, tasks, metrics)
    is_over = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: is_over.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    server.start()
    try:
        tell(f"http://127.0.0.1:{server.port}{section.path_prefix}/vmui/#/incidents?since=7d")
        is_over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        tasks.stop(_TASK_STOP_S)
        server.stop()


def _create_server(
    config: Config, section: ServerSection, tasks: Tasks, metrics: Metrics
) -> Server:
    """Return a server on the usual port or, where that is taken, on a free one."""
    usual: int = ServerSection.model_fields["port"].default

    def on(port: int) -> Server:
        return Server(
            section.model_copy(update={"port": port}),
            config.monitoring,
            metrics.registry,
            lambda: HealthStatus([], needs_restart=False),
            list,
            lambda: config.preset,
            Api(lambda: config, tasks, metrics),
        )

    if section.port:
        return on(section.port)
    try:
        return on(usual)
    except AddressInUseError:
        return on(0)
