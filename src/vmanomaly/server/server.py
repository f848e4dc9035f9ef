"""The listeners that a configuration describes, and what each of them serves."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.server import ServerSection
from vmanomaly.errors import VmanomalyError
from vmanomaly.server.api import Api
from vmanomaly.server.app import create_app
from vmanomaly.server.listener import Listener
from vmanomaly.server.routes.api import api_routers
from vmanomaly.server.routes.health import health_router
from vmanomaly.server.routes.metrics import metrics_router
from vmanomaly.server.routes.pages import pages_router
from vmanomaly.server.routes.presets import presets_router
from vmanomaly.server.routes.status import status_router
from vmanomaly.server.routes.ui import ui_router
from vmanomaly.server.uvicorn_settings import uvicorn_settings
from vmanomaly.service.health import HealthStatus


class Server:
    """Serves everything on `server.addr:port`, and health and metrics on `monitoring.pull` too.

    Parameters
    ----------
    section
        The section `server`; None opens no listener for it.
    monitoring
        The section `monitoring`.
    registry
        The service's own metrics.
    health
        Returns what is wrong at the moment.
    unready_reasons
        Returns one line for each thing that is missing before the service is ready.
    preset
        Returns the name of the preset in use.
    api
        What the routes of the API work with.

    Raises
    ------
    AddressInUseError
        An address is in use or does not belong to this machine.
    ListenerError
        The certificate, or something in `uvicorn_config`, cannot be used.
    ConfigError
        A key of `uvicorn_config` is unknown.
    """

    def __init__(
        self,
        section: ServerSection | None,
        monitoring: MonitoringSection,
        registry: CollectorRegistry,
        health: Callable[[], HealthStatus],
        unready_reasons: Callable[[], list[str]],
        preset: Callable[[], str],
        api: Api,
    ) -> None:
        monitored = [health_router(health, unready_reasons), metrics_router(registry)]
        prefix, settings = "", {}
        self._listeners: list[Listener] = []
        if section is not None:
            prefix, settings = section.path_prefix, uvicorn_settings(section.uvicorn_config)
            app = create_app(
                [
                    *monitored,
                    status_router(registry, api.config, health),
                    *api_routers(api),
                    presets_router(preset),
                    pages_router(),
                    ui_router(prefix, api.config),
                ],
                [prefix],
                section.auth,
                openapi_url=f"{prefix}/openapi.json",
                cors_allowed_origins=section.cors_allowed_origins,
                api_requests=api.metrics.api_requests,
            )
            tls = {}
            if section.tls_cert_file is not None:
                tls = {"ssl_certfile": section.tls_cert_file, "ssl_keyfile": section.tls_key_file}
            self._listeners.append(
                Listener("server", section.addr, section.port, app, {**settings, **tls})
            )
        pull = monitoring.pull
        if pull is not None and (section is None or pull.port != section.port):
            # Probes and scrapers may know of the prefix or not.
            app = create_app(monitored, ["", prefix])
            try:
                listener = Listener("monitoring.pull", pull.addr, pull.port, app, settings)
            except VmanomalyError:
                self.stop()
                raise
            self._listeners.append(listener)

    @property
    def port(self) -> int | None:
        """The port of the first listener; None without listeners."""
        return self._listeners[0].port if self._listeners else None

    def start(self) -> None:
        """Answer requests, in the background."""
        for listener in self._listeners:
            listener.start()

    def stop(self) -> None:
        """Stop answering requests, and close the addresses."""
        for listener in self._listeners:
            listener.stop()
