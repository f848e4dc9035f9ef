"""Models by alias, with the defaults of the config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.model import Model, create_model

MakeModel = Callable[..., Model]


def _section_classes(base: type[ModelSection] = ModelSection) -> Iterator[type[ModelSection]]:
    for section_class in base.__subclasses__():
        yield section_class
        yield from _section_classes(section_class)


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Build the model of an alias; parameters that its class does not have are left out.

    Those of the query, `step` (a minute) and `tz` (UTC), may be given too.
    """
    by_alias = {cls.model_fields["class_name"].default: cls for cls in _section_classes()}

    def make(alias: str, **parameters: Any) -> Model:
        section_class = by_alias[alias]
        known = {k: v for k, v in parameters.items() if k in section_class.model_fields}
        of_query = {k: v for k, v in parameters.items() if k in {"step", "tz"}}
        query = Query.model_validate({"alias": "q", "expr": "q", "step": "1m", **of_query})
        return create_model(section_class.model_validate({"class": alias, **known}), query)

    return make
