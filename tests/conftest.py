"""What holds for all tests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.examples import examples

# How long an example takes says more about the machine than about the code. The rest is that of
# Hypothesis, also where it would take fewer risks: on a CI server every run tries other examples.
settings.register_profile(
    "vmanomaly",
    settings.get_profile("default"),
    max_examples=examples(40).max_examples,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("vmanomaly")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: not {"integration", "ui"} & set(item.path.parts))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test, or the code that it runs, does to the logging of the process."""
    root = logging.getLogger()
    root_level, handlers, hook = root.level, root.handlers[:], threading.excepthook
    levels, ours = our_levels(), logging.getLogger("vmanomaly")
    our_handlers, propagates = ours.handlers[:], ours.propagate
    yield
    logging.captureWarnings(False)
    threading.excepthook = hook
    root.setLevel(root_level)
    root.handlers[:] = handlers
    ours.handlers[:], ours.propagate = our_handlers, propagates
    for name, level in our_levels().items():
        if level != (before := levels.get(name, logging.NOTSET)):
            logging.getLogger(name).setLevel(before)


def our_levels() -> dict[str, int]:
    return {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if name.startswith("vmanomaly") and isinstance(logger, logging.Logger)
    }
