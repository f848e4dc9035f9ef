"""What the routes of the API work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fastapi import HTTPException, Request

from vmanomaly.config import Config
from vmanomaly.executor import Executor
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.resources import available_memory
from vmanomaly.service.workers import create_executor
from vmanomaly.tasks import Tasks

JSON_TYPE = "application/json"
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


@dataclass(frozen=True)
class Api:
    """What the routes of the API work with.

    Attributes
    ----------
    config
        Gives the configuration that runs: a reload replaces it.
    tasks
        All tasks of the process.
    metrics
        The service's own metrics.
    """

    config: Callable[[], Config]
    tasks: Tasks
    metrics: Metrics

    def executor(self) -> Executor:
        """Return what executes a task, as the settings say, apart from what jobs use.

        Half of the memory is for all tasks.
        """
        config = self.config()
        n_tasks = config.server.max_concurrent_tasks if config.server else 1
        return replace(
            create_executor(config.settings),
            apart=True,
            memory_bytes=available_memory() // 2 // n_tasks,
        )


def media_type(request: Request) -> str:
    """Return what the body of a request is, without parameters such as the character set."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def only_json(request: Request) -> None:
    """Refuse a body that is not JSON.

    A form on a web page can send other types than this to another host without asking.
    """
    if request.method == "POST" and media_type(request) != JSON_TYPE:
        raise HTTPException(415, "expected a body of the type application/json")
