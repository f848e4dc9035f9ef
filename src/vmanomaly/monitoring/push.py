"""The service's own metrics, pushed to VictoriaMetrics in the text format of Prometheus."""

from __future__ import annotations

import contextlib
import gzip
import logging
import threading
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from vmanomaly.config.monitoring import PushSection
from vmanomaly.context import RunContext
from vmanomaly.episodes import Episodes
from vmanomaly.errors import CancelledError, DatasourceError
from vmanomaly.http import HttpClient, redact_url

logger = logging.getLogger(__name__)

_PUSHING = "pushing"
_IMPORT_PATH = "api/v1/import/prometheus"
# Runs of many queries end all the time; a database needs no more than one value per second.
_PAUSE_S = 1.0
_LAST_PUSH_S = 3.0


class Pusher:
    """Pushes all metrics in the background: soon after it is asked to, and periodically.

    Requests for a push while another is in progress are combined into one that follows it. A
    push that fails is not repeated, since the next one carries newer values of the same metrics.
    It is logged when pushes begin to fail and when they work again.

    Parameters
    ----------
    section
        Where to push to, and how often.
    registry
        The metrics.
    instance
        Host and port of the service: the label `instance`, unless `extra_labels` has one.
    pause_s
        Minimum number of seconds between two pushes.
    """

    def __init__(
        self,
        section: PushSection,
        registry: CollectorRegistry,
        instance: str,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._registry = registry
        self._client = HttpClient(section, "monitoring.push")
        labels = {"job": "vmanomaly", "instance": instance, **section.extra_labels}
        arguments = urlencode(
            [("extra_label", f"{name}={value}") for name, value in labels.items()]
        )
        url = self._client.url(_IMPORT_PATH, section.tenant_id)
        self._url = f"{url}{'&' if '?' in url else '?'}{arguments}"
        self._frequency_s = section.push_frequency.seconds or None
        self._pause_s = pause_s
        self._episodes = Episodes(logger)
        self._until_stop = RunContext()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitoring.push", daemon=True)

    def start(self) -> None:
        """Push from now on."""
        self._thread.start()

    def push_soon(self) -> None:
        """Push as soon as no other push is in progress. Returns at once."""
        self._wanted.set()

    def stop(self) -> None:
        """Push for the last time and end, within three seconds.

        A push in progress is interrupted: the last one carries newer values.
        """
        self._stopped.set()
        self._wanted.set()
        self._until_stop.cancel()
        if self._thread.is_alive():
            self._thread.join(_LAST_PUSH_S)
        self._client.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._wanted.wait(self._frequency_s)
            self._wanted.clear()
            is_last = self._stopped.is_set()
            if is_last:
                self._push(RunContext(), _LAST_PUSH_S)
            else:
                with contextlib.suppress(CancelledError):
                    self._push(self._until_stop)
            self._stopped.wait(self._pause_s)

    def _push(self, context: RunContext, timeout_s: float | None = None) -> None:
        try:
            self._client.request(
                "POST",
                self._url,
                body=gzip.compress(generate_latest(self._registry), compresslevel=1),
                headers={"Content-Type": CONTENT_TYPE_LATEST, "Content-Encoding": "gzip"},
                timeout_s=timeout_s,
                context=context,
            )
        except DatasourceError as error:
            self._episodes.begin(_PUSHING, f"Cannot push the service's own metrics: {error}")
        else:
            self._episodes.end(_PUSHING, f"Metrics are pushed again to {redact_url(self._url)}")
