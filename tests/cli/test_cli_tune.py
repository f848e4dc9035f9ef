"""`vmanomaly tune` and `va.tune`: files and queries, what is printed, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import vmanomaly as va
from tests.loopback import Asked, Handler, serve
from vmanomaly.cli.dispatch import dispatch
from vmanomaly.cli.tune import tune
from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.context import RunContext
from vmanomaly.errors import ConfigError, TableError, UsageError

pytestmark = pytest.mark.slow

FEW = ["--n-trials", "5", "--model", "mad_online"]
NOISE = np.random.default_rng(1).normal(20, 3, 600).round(3)
TIMES = np.arange(600) * 60 + 1_700_000_040


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tune") / "load.csv"
    rows = [f"{at},{host},{y}" for host in "ab" for at, y in zip(TIMES, NOISE, strict=True)]
    path.write_text("\n".join(["time,host,load", *rows]))
    return str(path)


def test_the_yaml_of_a_model_is_printed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    frozen = ["--set", "detection_direction=above_expected", "--set", "decay=0.99"]
    assert tune([file, *FEW, *frozen, "--by", "host"]) == 0
    printed = capsys.readouterr()
    assert "time is the column 'time'" in printed.err
    lines = printed.out.splitlines()
    assert lines[0].startswith("# Tuned on 2 series, 1,200 points: threshold=")
    # Policies belong on the query.
    assert lines[1:3] == ["# On the query:", "#   detection_direction: above_expected"]
    (model,) = yaml.safe_load(printed.out)["models"].values()
    assert model.keys() == {"class", "threshold", "decay"}
    assert model["decay"] == 0.99
    assert read_model_spec(model).class_name == "mad_online"


def test_the_yaml_goes_to_a_file(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.yaml"
    assert tune([file, *FEW, "--out", str(out), "--max-time", "5s"]) == 0
    assert yaml.safe_load(out.read_text())["models"]["tuned"]["class"] == "mad_online"
    assert capsys.readouterr().out == ""
    assert tune([file, *FEW, "--quiet", "--out", str(out)]) == 0
    assert capsys.readouterr().err == ""


def test_a_query_is_tuned_too(capsys: pytest.CaptureFixture[str]) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        form = asked.form
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        times = [start + n * step for n in range(int((end - start) / step) + 1)]
        values = [[at, str(NOISE[n % 600])] for n, at in enumerate(times)]
        result = [{"metric": {"host": host}, "values": values} for host in "abc"]
        data = {"resultType": "matrix", "result": result}
        handler.reply(body=json.dumps({"status": "success", "data": data}).encode())

    with serve(respond) as server:
        arguments = [server.url, "rate(x[5m])", *FEW, "--since", "10h", "--limit", "2"]
        assert tune(arguments) == 0
    assert capsys.readouterr().out.startswith("# Tuned on 2 series, 1,200 points")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}", "--set", "nonsense"], "--set nonsense: expected KEY=VALUE"),
        (["{file}", "--set", "treshold=3"], "frozen_params.treshold: unknown key; did you mean"),
        (["{file}", "--set", "class=std"], "frozen_params.class: not a parameter of the class"),
        (["{file}", "--model", "auto"], "expected a built-in class that can be tuned"),
        (["{file}", "--anomaly-percentage", "2"], "anomaly_percentage: expected"),
        (["{file}", "--n-trials", "0"], "n_trials: expected"),
        (["{file}", "--out", "nowhere/model.yaml"], "the folder nowhere is missing"),
        (["missing.csv"], "missing.csv: no such file"),
        (["http://127.0.0.1:1"], "expected one expression after the URL"),
        ([], "see vmanomaly tune -h"),
    ],
)
def test_a_mistake_has_its_message(
    file: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [each.format(file=file) for each in arguments]
    assert dispatch(["tune", "--model", "mad_online", *given]) == 2
    assert message in capsys.readouterr().err


class TestPython:
    """`va.tune`."""

    DATA: Any = (TIMES.astype("datetime64[s]"), NOISE)

    def test_its_settings_are_those_of_detect(self) -> None:
        steps: list[int] = []
        context = RunContext(on_progress=lambda done, total, name: steps.append(done))
        found = va.tune(
            self.DATA,
            "zscore_online",
            anomaly_percentage=0.05,
            n_trials=9,
            context=context,
            decay=1.0,
            detection_direction="above_expected",
        )
        assert steps == list(range(1, 10))
        assert found.settings["detection_direction"] == "above_expected"
        assert found.evaluation.rank <= found.defaults.rank
        assert (found.n_series, found.n_points, found.n_trials) == (1, 600, 9)
        assert str(found).startswith("zscore_online: z_threshold=")
        scored = va.detect(self.DATA, found.model, fit="5h", **found.settings)
        assert scored.outputs["anomaly_score"].shape == (1, 300)

    def test_it_is_repeatable(self) -> None:
        runs = [
            va.tune(self.DATA, "mad_online", n_trials=12, optimization={"n_jobs": n_jobs})
            for n_jobs in (1, 2)
        ]
        assert runs[0].settings == runs[1].settings
        assert runs[0].evaluation == runs[1].evaluation

    def test_mistakes_are_raised(self) -> None:
        with pytest.raises(ConfigError, match="anomaly_percentage"):
            va.tune(self.DATA, anomaly_percentage=1)
        with pytest.raises(ConfigError, match=r"optimization_params\.trials: unknown key"):
            va.tune(self.DATA, optimization={"trials": 3})
        with pytest.raises(UsageError, match="step"):
            va.tune(self.DATA, step="soon")
        with pytest.raises(TableError):
            va.tune("missing.csv")

    def test_without_optuna_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(ConfigError, match=r"pip install 'vmanomaly\[optuna\]'"):
            va.tune(self.DATA, "mad_online")
        keys: dict[str, Any] = {
            "tuned_class_name": "mad_online",
            "optimization_params": {"anomaly_percentage": 0.01},
        }
        with pytest.raises(ConfigError, match=r"pip install 'vmanomaly\[optuna\]'"):
            va.detect(self.DATA, "auto", **keys)
