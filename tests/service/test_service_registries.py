from __future__ import annotations

from pkgutil import resolve_name

import pytest

from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS

IMPLEMENTATIONS = [
    implementation
    for registry in (READERS, WRITERS, SCHEDULERS, MODELS)
    for alias in registry.available
    if (implementation := registry[alias].implementation) is not None
]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_every_class_that_is_called_available_is_there(implementation: str) -> None:
    assert isinstance(resolve_name(implementation), type)
