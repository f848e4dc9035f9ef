from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from vmanomaly.model import Model
from vmanomaly.model.mad_online import OnlineMADModel
from vmanomaly.model.zscore_online import OnlineZscoreModel


def test_parameters_come_from_the_section(make_model: Callable[..., Model]) -> None:
    assert make_model("zscore_online", z_threshold=4.0, decay=0.5) == OnlineZscoreModel(
        z_threshold=4.0, decay=0.5, min_n_samples_seen=16, history_strength=1.0
    )
    assert make_model("mad_online", compression=50, history_strength=2.0) == OnlineMADModel(
        threshold=2.5, compression=50, decay=1.0, min_n_samples_seen=16, history_strength=2.0
    )


@pytest.mark.slow
def test_no_compiler_is_imported_before_a_model_is_created() -> None:
    code = "import sys, vmanomaly.model, vmanomaly.model.scoring; print('numba' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert answer.stdout.strip() == b"False"
