"""Models by the name of a case, with the defaults of the config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.model.cases import CASES, OFFLINE, name_of, section_of
from vmanomaly.config.reader import Query
from vmanomaly.model import Model, create_model

MakeModel = Callable[..., Model]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Build the model of a case; parameters that its class does not have are left out.

    Those of the query, `step` (a minute) and `tz` (UTC), may be given too.
    """

    def make(case: str, **parameters: Any) -> Model:
        section_class = section_of(case)
        known = {
            k: v
            for k, v in parameters.items()
            if k in section_class.model_fields and case not in OFFLINE
        }
        of_query = {k: v for k, v in parameters.items() if k in {"step", "tz"}}
        section = section_class.model_validate({"class": name_of(case), **CASES[case], **known})
        query = Query.model_validate({"alias": "q", "expr": "q", "step": "1m", **of_query})
        return create_model(section, query)

    return make
