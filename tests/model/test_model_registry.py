from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.errors import ConfigError
from vmanomaly.model import Model, create_model
from vmanomaly.model.mad_online import OnlineMADModel
from vmanomaly.model.zscore_online import OnlineZscoreModel


def test_parameters_come_from_the_section(make_model: Callable[..., Model]) -> None:
    assert make_model("zscore_online", z_threshold=4.0, decay=0.5) == OnlineZscoreModel(
        z_threshold=4.0, decay=0.5, min_n_samples_seen=16, history_strength=1.0
    )
    assert make_model("mad_online", compression=50, history_strength=2.0) == OnlineMADModel(
        threshold=2.5, compression=50, decay=1.0, min_n_samples_seen=16, history_strength=2.0
    )


def test_a_class_without_code_names_those_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without_code = replace(MODELS["prophet"], implementation=None)
    monkeypatch.setitem(MODELS._by_name, "prophet", without_code)
    section: Any = SimpleNamespace(class_name="prophet")
    query = Query(alias="cpu", expr="cpu", step="1m")
    with pytest.raises(ConfigError, match=r"prophet is known, but not part of .*zscore_online"):
        create_model(section, query)


@pytest.mark.slow
def test_no_compiler_is_imported_before_a_model_is_created() -> None:
    code = "import sys, vmanomaly.model, vmanomaly.model.scoring; print('numba' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert answer.stdout.strip() == b"False"
