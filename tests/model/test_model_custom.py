"""Custom models: what their files may import, what their classes are given, what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vmanomaly.config.model import CustomSection
from vmanomaly.config.reader import Query
from vmanomaly.errors import ConfigError
from vmanomaly.model import (
    Channel,
    GroupedBatch,
    Model,
    MultivariateModel,
    create_model,
    create_multivariate_model,
)
from vmanomaly.model.custom import interface
from vmanomaly.model.custom.create import is_multivariate
from vmanomaly.model.scoring import Policy, score_series
from vmanomaly.series import FloatArray, Labels, SeriesBatch

A, B = Labels({"series": "a"}), Labels({"series": "b"})
STEP = 60_000

# Everything that the reference's guide shows of the interface, in another model.
GUIDE = '''
from pickle import dumps

import pandas as pd

from model.model import PICKLE_PROTOCOL, Model, deserialize_basic


class CustomModel(Model):
    """The middle of the range seen at fit, give or take a part of it."""

    def __init__(self, part: float = 0.5, **kwargs):
        own = kwargs.get("args") or {}
        self.part = float(own.get("part", part))
        if not self.part > 0:
            raise ValueError("part must be above 0")
        super().__init__(**kwargs)

    def fit(self, df: pd.DataFrame) -> None:
        self._low, self._high = df["y"].min(), df["y"].max()

    def infer(self, df: pd.DataFrame) -> pd.DataFrame:
        middle, reach = (self._low + self._high) / 2, self.part * (self._high - self._low)
        answer = df[["timestamp", "y"]].copy()
        answer["yhat"] = middle
        answer["yhat_lower"] = middle - reach
        answer["yhat_upper"] = middle + reach
        self._prepare_ci_columns(
            answer,
            scale=self.scale,
            clip_predictions=self.clip_predictions,
            data_range=self.data_range,
        )
        answer["anomaly_score"] = self.get_anomaly_score(
            answer,
            data_range=self.data_range,
            detection_direction=self.detection_direction,
            min_dev_from_expected=self.min_dev_from_expected,
            min_rel_dev_from_expected=self.min_rel_dev_from_expected,
            anomaly_score_outside_data_range=self.anomaly_score_outside_data_range,
        )
        if self.provide_series:
            return answer[self._assemble_output_columns()]
        return answer

    def serialize(self) -> bytes:
        return dumps(self, protocol=PICKLE_PROTOCOL)

    @staticmethod
    def deserialize(model: str | bytes) -> "CustomModel":
        return deserialize_basic(model)
'''

# A class that needs nothing but what each test is about.
SMALL = """
import pandas as pd
from model.model import Model, MultivariateModel, OnlineModel

class CustomModel({base}):
    def fit(self, df):
        {fit}
    def infer(self, df):
        {infer}
"""


def grid(values: Any, start: int = 0) -> SeriesBatch:
    values = np.ascontiguousarray(values, np.float64)
    timestamps = (start + 1 + np.arange(values.shape[1], dtype=np.int64)) * STEP
    return SeriesBatch((A, B)[: len(values)], timestamps, values)


def small(base: str = "Model", fit: str = "pass", infer: str = "return df") -> str:
    return SMALL.format(base=base, fit=fit, infer=infer)


class Folder:
    """A folder with the file of a custom model."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, name: str = "custom.py") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def section(self, name: str = "custom", **keys: Any) -> CustomSection:
        return CustomSection.model_validate({"class": name, "class_folder": self.path, **keys})

    def model(
        self, query: Mapping[str, Any] | None = None, name: str = "custom", **keys: Any
    ) -> Model:
        return create_model(self.section(name, **keys), queries(query)[0])

    def problem(self, **keys: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.model(**keys)
        (problem,) = caught.value.problems
        return problem


def queries(*settings: Mapping[str, Any] | None) -> list[Query]:
    return [
        Query.model_validate({"alias": f"q{n}", "expr": "q", "step": "1m", **(each or {})})
        for n, each in enumerate(settings)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def run(model: Model, past: Any, present: Any, *, provide: tuple[str, ...] | None = None) -> Any:
    """Return what is written, by output, and the errors."""
    state = model.fit(grid(past))
    batch = grid(present, np.shape(past)[1])
    output = model.infer(state, batch, np.zeros(1, np.int64))
    return score_series(batch, output, None, provide).outputs, {**state.errors, **output.errors}


class TestTheFile:
    @pytest.mark.parametrize("name", ["custom.py", "model/custom.py", "custom_model.py"])
    def test_it_is_found_under_each_of_its_names(self, folder: Folder, name: str) -> None:
        file = folder.write(GUIDE, name)
        model = folder.model(args={"part": 1})
        written, errors = run(model, [[0.0, 10.0]], [[5.0, 10.0, 15.0, -10.0]])
        assert not errors
        assert list(written) == ["anomaly_score", "yhat", "yhat_lower", "yhat_upper"]
        assert written["anomaly_score"].tolist() == [[0.0, 0.5, 1.0, 1.5]]
        assert sys.modules["model.custom"].__file__ == str(file)

    def test_another_file_in_the_package(self, folder: Folder) -> None:
        folder.write(small().replace("CustomModel", "Mine"), "model/other.py")
        assert not folder.model(name="model.other.Mine").online

    def test_a_package_of_the_folder_with_modules_beside_it(self, folder: Folder) -> None:
        folder.write("NAME = 'Mine'", "beside_mine.py")
        folder.write("import beside_mine\n" + small(), "my_models_a/level.py")
        assert folder.model(name="my_models_a.level.CustomModel").fit(grid([[1.0]]))

    def test_a_key_of_its_own_may_stand_in_the_section(self, folder: Folder) -> None:
        folder.write(GUIDE)
        written, _ = run(folder.model(part=2.0), [[0.0, 10.0]], [[15.0]])
        assert written["anomaly_score"].tolist() == [[0.5]]

    def test_a_changed_folder_is_not_answered_from_memory(self, tmp_path: Path) -> None:
        one, two = Folder(tmp_path / "one"), Folder(tmp_path / "two")
        one.write(small())
        two.write(small("OnlineModel"))
        assert [each.model().online for each in (one, two, one)] == [False, True, False]

    @pytest.mark.slow
    def test_the_package_is_there_for_custom_models_only(self) -> None:
        code = (
            "import sys, vmanomaly.cli, vmanomaly.service; "
            "print([name for name in ('model', 'model.model', 'pandas') if name in sys.modules])"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert answer.stdout.strip() == b"[]"


class TestWhatIsWrongWithIt:
    def test_no_file(self, folder: Folder) -> None:
        assert folder.problem() == (
            f"there is no custom.py, model/custom.py or custom_model.py in {folder.path}; put the "
            "file of the model there, or name its folder in VMANOMALY_CUSTOM_MODELS_DIR"
        )

    def test_no_such_module(self, folder: Folder) -> None:
        assert folder.problem(name="nowhere.at.All") == (
            f"there is no module nowhere.at; it must be installed, or lie in {folder.path} "
            "(another folder: VMANOMALY_CUSTOM_MODELS_DIR)"
        )

    @pytest.mark.parametrize("name", ["custom.py", "custom_model.py"])
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("x = 1\nclass CustomModel(:\n", ":2: SyntaxError: invalid syntax"),
            ("x = 1\nx = {\n", ":2: SyntaxError: '{' was never closed"),
            ("\nimport nowhere\n", ":2: ModuleNotFoundError: No module named 'nowhere'"),
            ("\n\n1 / 0\n", ":3: ZeroDivisionError: division by zero"),
            ("import json\njson.loads('')\n", ":2: JSONDecodeError: Expecting value"),
            ("class Mine: ...\nclass Other: ...\n", " has no class CustomModel; its classes are"),
            ("x = 1\n", " has no class CustomModel; it has no class at all"),
        ],
    )
    def test_its_text(self, folder: Folder, name: str, text: str, problem: str) -> None:
        file = folder.write(text, name)
        for _ in range(2):
            found = folder.problem()
            assert found.startswith(f"{file}{problem}")
            assert "\n" not in found

    def test_an_error_in_a_module_beside_it_is_told_there(self, folder: Folder) -> None:
        beside = folder.write("x = undefined\n", "beside_broken.py")
        folder.write("import beside_broken\n")
        assert folder.problem() == f"{beside}:1: NameError: name 'undefined' is not defined"

    def test_no_model(self, folder: Folder) -> None:
        folder.write("class CustomModel: ...\n")
        assert folder.problem() == (
            "model.custom.CustomModel is not a model; derive it from Model, OnlineModel or "
            "MultivariateModel of model.model, or from Model or MultivariateModel of "
            "vmanomaly.model"
        )

    def test_a_method_is_missing(self, folder: Folder) -> None:
        folder.write(
            "from model.model import Model\nclass CustomModel(Model):\n    def fit(self, df): ..."
        )
        assert "Can't instantiate abstract class CustomModel" in folder.problem()
        assert "infer" in folder.problem()

    def test_a_parameter_that_it_refuses(self, folder: Folder) -> None:
        file = folder.write(GUIDE)
        line = GUIDE.partition("raise ValueError")[0].count("\n") + 1
        assert folder.problem(args={"part": -1}) == (
            f"model.custom.CustomModel cannot be made: {file}:{line}: "
            "ValueError: part must be above 0"
        )

    def test_a_key_that_nobody_knows(self, folder: Folder) -> None:
        folder.write(GUIDE)
        found = folder.problem(provide_serie=["y"])
        assert found.endswith(
            "TypeError: CustomModel does not take the key provide_serie; "
            "did you mean provide_series?"
        )

    def test_keys_of_online_models_for_one_that_is_not(self, folder: Folder) -> None:
        folder.write(small())
        assert "does not take the key decay" in folder.problem(decay=0.5)
        assert folder.model(decay=1, min_n_samples_seen=16), "as in a resolved configuration"
        folder.write(small("OnlineModel"), "model/online_one.py")
        assert folder.model(name="model.online_one.CustomModel", decay=0.5).online

    def test_groups_of_a_model_of_single_series(self, folder: Folder) -> None:
        folder.write(small())
        assert folder.problem(groupby=["host"]) == (
            "groupby: model.custom.CustomModel is not multivariate"
        )

    @pytest.mark.slow
    def test_pandas_is_not_installed(self, folder: Folder) -> None:
        folder.write(GUIDE)
        folder.write(small().replace("import pandas as pd", ""), "model/without.py")
        code = f"""
import sys
from pathlib import Path
sys.modules["pandas"] = None
from vmanomaly.config.model import CustomSection
from vmanomaly.config.reader import Query
from vmanomaly.errors import ConfigError
from vmanomaly.model import create_model
for name in ("custom", "model.without.CustomModel"):
    keys = {{"class": name, "class_folder": Path({str(folder.path)!r})}}
    section = CustomSection.model_validate(keys)
    try:
        create_model(section, Query(alias="q", expr="q", step="1m"))
    except ConfigError as error:
        print(error)
"""
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert answer.stdout.decode().splitlines() == [
            (f"{name} needs pandas, which is not installed: pip install 'vmanomaly[pandas]'")
            for name in ("model.custom", "model.without.CustomModel")
        ]


class TestWhatItIsGiven:
    def test_frames_of_finite_samples_that_are_new(self, folder: Folder) -> None:
        folder.write(
            small(
                fit="self.seen = [df]",
                infer="self.seen.append(df); return df.assign(anomaly_score=0.0)",
            )
        )
        model = folder.model()
        state = model.fit(grid([[1.0, np.nan, 3.0, np.inf]]))
        model.infer(state, grid([[3.0, 9.0, np.nan, 5.0, 6.0]], 2), np.array([0, 3]))
        model.infer(state, grid([[5.0, 6.0]], 5), np.array([0]))
        (instance,) = state.instances.values()  # type: ignore[attr-defined]
        fitted, inferred = instance.seen
        assert list(fitted.columns) == ["timestamp", "y"]
        assert fitted["timestamp"].dtype == "datetime64[ns]"
        assert fitted["timestamp"].tolist() == [
            pd.Timestamp("1970-01-01 00:01"),
            pd.Timestamp("1970-01-01 00:03"),
        ]
        assert fitted["y"].tolist() == [1.0, 3.0]
        assert fitted.index.tolist() == [0, 1]
        assert inferred["y"].tolist() == [5.0, 6.0]

    def test_an_online_model_gets_one_micro_batch_at_a_time(self, folder: Folder) -> None:
        folder.write(
            small(
                "OnlineModel",
                fit="self.calls = [(self.n_samples_seen_, df['y'].tolist())]",
                infer="self.calls.append((self.n_samples_seen_, df['y'].tolist())); "
                "return df.assign(anomaly_score=7.0)",
            )
        )
        model = folder.model(min_n_samples_seen=4)
        state = model.fit(grid([[1.0, 2.0]]))
        present = grid([[3.0, np.nan, np.nan, np.nan, 4.0, 5.0, 6.0]], 2)
        output = model.infer(state, present, np.array([0, 2, 4, 6]))
        (instance,) = state.instances.values()  # type: ignore[attr-defined]
        assert instance.calls == [(0, [1.0, 2.0]), (2, [3.0]), (3, [4.0, 5.0]), (5, [6.0])]
        assert instance.n_samples_seen_ == 6
        assert state.n_samples_seen.tolist() == [6]
        scores = score_series(present, output, None, None).outputs["anomaly_score"][0]
        np.testing.assert_array_equal(scores, [0, np.nan, np.nan, np.nan, 0, 0, 7])

    def test_a_class_may_count_by_itself(self, folder: Folder) -> None:
        text = small("OnlineModel", infer="return df.assign(anomaly_score=0.0)")
        folder.write(text + "    @property\n    def n_samples_seen_(self):\n        return 5\n")
        _, errors = run(folder.model(), [[1.0]], [[1.0]])
        assert not errors

    def test_old_files_say_online_and_multivariate_by_attributes(self, folder: Folder) -> None:
        text = small(infer="return df.assign(anomaly_score=0.0)")
        folder.write(text + "    is_online = True\n    is_multivariate = True\n")
        assert is_multivariate(folder.section())
        assert create_multivariate_model(folder.section(), queries({})).online

    def test_the_policies_of_the_query_before_those_of_the_model(self, folder: Folder) -> None:
        folder.write(small(fit="self.fitted = True", infer="raise AssertionError"))
        model = folder.model(
            {"data_range": [0, 9], "min_dev_from_expected": 2, "detection_direction": "both"},
            data_range=(1.0, 2.0),
            detection_direction="above_expected",
            min_rel_dev_from_expected=5,
            scale=[1, 2],
            clip_predictions=True,
            provide_series=["yhat"],
            anomaly_score_outside_data_range=3,
            args={"a": [1]},
        )
        (instance,) = model.fit(grid([[1.0]])).instances.values()  # type: ignore[attr-defined]
        found = {k: v for k, v in vars(instance).items() if k != "fitted"}
        assert found == {
            "args": {"a": [1]},
            "provide_series": ["yhat"],
            "scale": (1.0, 2.0),
            "clip_predictions": True,
            "anomaly_score_outside_data_range": 3.0,
            "data_range": (0.0, 9.0),
            "detection_direction": "both",
            "min_dev_from_expected": (2.0, 2.0),
            "min_rel_dev_from_expected": (5.0, 5.0),
            "groupby": [],
        }

    def test_objects_share_nothing(self, folder: Folder) -> None:
        folder.write(small(fit="self.args['seen'].append(len(df))"))
        state = folder.model(args={"seen": []}).fit(grid([[1.0], [2.0]]))
        found = [each.args["seen"] for each in state.instances.values()]  # type: ignore[attr-defined]
        assert found == [[1], [1]]


POLICIES: list[dict[str, Any]] = [
    {},
    {"data_range": [0, 12]},
    {"data_range": [6, 100]},
    {"detection_direction": "above_expected"},
    {"detection_direction": "below_expected", "data_range": [0, 12]},
    {"min_dev_from_expected": [3, 9]},
    {"min_rel_dev_from_expected": 120, "min_dev_from_expected": 2},
]


class TestScores:
    """The guide's way, a score of its own and bounds alone give what built-in models give."""

    PAST = ((0.0, 10.0),)
    PRESENT = ((5.0, 7.0, 12.0, 16.0, -4.0, 1.0),)

    def expected(self, policy: Policy) -> dict[str, FloatArray]:
        from vmanomaly.model import ModelOutput

        batch = grid(self.PRESENT, 2)
        shape = batch.values.shape
        bounds = {
            name: np.full(shape, value)
            for name, value in (("yhat", 5.0), ("yhat_lower", 0.0), ("yhat_upper", 10.0))
        }
        everywhere = np.ones(shape, np.bool_)
        return score_series(
            batch, ModelOutput(bounds, everywhere, everywhere), policy, None
        ).outputs

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize(
        "keys", [{}, {"scale": [1, 3]}, {"clip_predictions": True, "scale": 2}]
    )
    @pytest.mark.parametrize("helpers", [True, False])
    def test_policies(
        self, folder: Folder, policy: dict[str, Any], keys: dict[str, Any], *, helpers: bool
    ) -> None:
        without = "return df.assign(yhat=5.0, yhat_lower=0.0, yhat_upper=10.0)"
        folder.write(GUIDE if helpers else small(infer=without))
        written, errors = run(folder.model(policy, **keys), self.PAST, self.PRESENT)
        assert not errors
        expected = self.expected(Policy.of(folder.section(**keys), *queries(policy)))
        assert set(written) == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(written[name], values, err_msg=name)

    def test_the_helpers_against_the_definition(self, folder: Folder) -> None:
        folder.write(GUIDE)
        written, _ = run(folder.model(), self.PAST, self.PRESENT)
        np.testing.assert_allclose(
            written["anomaly_score"], np.abs(np.array(self.PRESENT) - 5) / 5, rtol=1e-15
        )

    def test_a_score_of_its_own_obeys_the_query(self, folder: Folder) -> None:
        folder.write(small(infer="return df.assign(anomaly_score=1, yhat=5.0)"))
        for policy, expected in (
            ({}, [1, 1, 1]),
            ({"data_range": [0, 10]}, [1, 1, 1.01]),
            ({"detection_direction": "above_expected"}, [0, 1, 1]),
            ({"min_dev_from_expected": 3}, [0, 0, 1]),
        ):
            written, _ = run(folder.model(policy), self.PAST, [[4.0, 6.0, 11.0]])
            assert written["anomaly_score"].tolist() == [expected]

    def test_what_left_out_arguments_of_the_helpers_mean(self) -> None:
        class Mine(interface.Model):
            def fit(self, df: Any) -> None: ...
            def infer(self, df: Any) -> Any: ...

        mine = Mine(scale=2, data_range=[-np.inf, 8], clip_predictions=True)
        df = pd.DataFrame({"y": [5.0, 9.0], "yhat": 5.0, "yhat_lower": 4.0, "yhat_upper": 7.0})
        mine._prepare_ci_columns(df)
        assert df.iloc[0].tolist() == [5.0, 5.0, 3.0, 8.0]
        assert mine.get_anomaly_score(df).tolist() == [0.0, 4 / 3]
        assert mine.get_anomaly_score(df, min_dev_from_expected=4).tolist() == [0.0, 4 / 3]
        assert mine.get_anomaly_score(df, data_range=(0, 20), min_dev_from_expected=4).tolist() == [
            0.0,
            0.0,
        ]
        assert mine._assemble_output_columns()[:2] == ["timestamp", "anomaly_score"]
        with pytest.raises(ValueError, match="the frame has no column yhat; it has y"):
            mine.get_anomaly_score(df[["y"]])


class TestWhatItReturns:
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ("None", "infer returned NoneType, expected a pandas DataFrame"),
            ("df['y'].to_numpy()", "infer returned ndarray, expected a pandas DataFrame"),
            ("df[['y']]", "infer returned no column timestamp; it returned y"),
            ("df[1:]", "infer returned 1 rows for 2 points"),
            ("df[::-1]", "infer returned other timestamps than it was given"),
            ("df.assign(timestamp=df.timestamp + pd.Timedelta('1s'))", "other timestamps"),
            ("df.assign(timestamp=df.timestamp.dt.tz_localize('UTC'))", "other timestamps"),
            ("df.assign(timestamp='x')", "other timestamps"),
            (
                "df.assign(anomaly_score='high')",
                "the column anomaly_score that contains something other than numbers",
            ),
            ("df.assign(**{'a b': 1})", "a column 'a b', which cannot be the name of an output"),
            ("df.rename(columns={'y': 0})", "a column 0, which cannot be the name"),
            ("pd.concat([df, df], axis=1)", "infer returned a column twice"),
            ("df", "not all of yhat, yhat_lower and yhat_upper to compute it from; it returned no"),
            ("df.assign(yhat=1, yhat_upper=2)", "it returned yhat, yhat_upper"),
        ],
    )
    def test_mistakes_are_told(self, folder: Folder, answer: str, message: str) -> None:
        folder.write(small(infer=f"return {answer}"))
        written, errors = run(folder.model(), [[1.0]], [[1.0, 2.0]])
        assert message in str(errors[A])
        assert all(np.isnan(values).all() for values in written.values())

    def test_all_columns_of_numbers_are_outputs(self, folder: Folder) -> None:
        folder.write(
            small(infer="return df.assign(level=[1, None], is_up=True, anomaly_score=[0.5, None])")
        )
        written, errors = run(folder.model(), [[1.0]], [[1.0, 2.0]])
        assert not errors
        assert {k: v.tolist()[0] for k, v in written.items() if k != "level"} == {
            "anomaly_score": [0.5, 0.0],
            "is_up": [1.0, 1.0],
        }
        np.testing.assert_array_equal(written["level"], [[1.0, np.nan]])

    def test_an_infinite_score_is_the_largest(self, folder: Folder) -> None:
        folder.write(small(infer="return df.assign(anomaly_score=float('inf'))"))
        written, _ = run(folder.model(), [[1.0]], [[1.0]])
        assert written["anomaly_score"].item() == np.finfo(np.float64).max

    def test_only_what_is_asked_for_is_looked_at(self, folder: Folder) -> None:
        folder.write(small(infer="return df.assign(yhat=1.5, note='text')"))
        asked = ("yhat", "y")
        written, errors = run(
            folder.model(provide_series=list(asked)), [[1.0]], [[4.0]], provide=asked
        )
        assert not errors
        assert {name: values.item() for name, values in written.items()} == {"yhat": 1.5, "y": 4.0}
        _, errors = run(folder.model(provide_series=["trend"]), [[1.0]], [[4.0]], provide=())
        assert str(errors[A]) == "infer returned no trend; it returned yhat"


class TestErrors:
    def test_a_series_fails_alone_at_fit(self, folder: Folder) -> None:
        folder.write(
            small(
                fit="assert df['y'].iloc[0] > 0, 'too low'",
                infer="return df.assign(anomaly_score=0.5)",
            )
        )
        state = folder.model().fit(grid([[-1.0], [1.0]]))
        assert state.labels == (B,)
        assert str(state.errors[A]) == "too low"

    def test_a_series_fails_alone_at_infer(self, folder: Folder) -> None:
        folder.write(
            small(
                "OnlineModel",
                infer="assert df['y'].iloc[0] < 5, 'too high'; return df.assign(anomaly_score=0.5)",
            )
        )
        model = folder.model(min_n_samples_seen=1)
        state = model.fit(grid([[1.0], [1.0]]))
        batch = grid([[1.0, 9.0, 1.0], [1.0, 2.0, 3.0]], 1)
        output = model.infer(state, batch, np.arange(3))
        assert {labels: str(error) for labels, error in output.errors.items()} == {A: "too high"}
        np.testing.assert_array_equal(
            score_series(batch, output, None, None).outputs["anomaly_score"],
            [[0.5, np.nan, np.nan], [0.5, 0.5, 0.5]],
        )
        assert state.n_samples_seen.tolist() == [2, 4]
        assert state.last_seen.tolist() == [2 * STEP, 4 * STEP]

    def test_a_new_series_that_fails_at_once_is_not_kept(self, folder: Folder) -> None:
        folder.write(
            small("OnlineModel", infer="assert len(df) > 1; return df.assign(anomaly_score=0.5)")
        )
        model = folder.model()
        state = model.fit(SeriesBatch((), np.empty(0, np.int64), np.empty((0, 0))))
        output = model.infer(state, grid([[1.0], [2.0]]), np.zeros(1, np.int64))
        assert set(output.errors) == {A, B}
        assert len(state) == 0
        model.infer(state, grid([[1.0, 2.0], [2.0, 3.0]]), np.zeros(1, np.int64))
        assert state.labels == (A, B)

    def test_errors_of_all_blocks_are_kept(self, folder: Folder) -> None:
        folder.write(small(fit="assert False, len(df)"))
        model = folder.model()
        one, two = grid([[1.0, 2.0], [3.0, 4.0]]).blocks(1)
        state = model.fit(one)
        state.append(model.fit(two))
        assert set(state.errors) == {A, B}


class TestStoredState:
    def test_the_bytes_are_those_of_serialize(self, folder: Folder) -> None:
        own = "    def serialize(self):\n        return self.stored\n"
        own += "    @staticmethod\n    def deserialize(model):\n"
        own += "        made = CustomModel(); made.stored = model; return made\n"
        folder.write(small(fit="self.stored = b'x' * len(df)") + own)
        model = folder.model(scale=3)
        state = model.fit(grid([[1.0, np.nan, 2.0], [1.0, np.nan, np.nan]]))
        arrays = state.arrays()
        assert arrays["serialized"].tobytes() == b"xxx"
        assert arrays["offsets"].tolist() == [0, 2, 3]
        again = model.restore(state.labels, arrays)
        assert again.last_seen.tolist() == [3 * STEP, STEP]
        restored = again.instances  # type: ignore[attr-defined]
        assert [restored[A].stored, restored[B].stored] == [b"xx", b"x"]
        assert restored[A].scale == (3.0, 3.0), "the settings in force, not those of long ago"

    def test_the_guides_model_goes_on_where_it_was(self, folder: Folder) -> None:
        folder.write(GUIDE)
        model = folder.model(part=1)
        state = model.fit(grid([[0.0, 10.0], [4.0, 8.0]]))
        again = model.restore(state.labels, state.arrays())
        present = grid([[3.0], [30.0]], 2)
        one, two = (model.infer(s, present, np.zeros(1, np.int64)) for s in (state, again))
        assert one.outputs["anomaly_score"].tolist() == [[0.2], [6.0]]
        np.testing.assert_array_equal(one.outputs["anomaly_score"], two.outputs["anomaly_score"])

    def test_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "stored").write_bytes(b"\x80\x05K\x07.")
        assert interface.deserialize_basic(str(tmp_path / "stored")) == 7

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda a: a.pop("serialized"), "not the bytes of one object per series"),
            (lambda a: a.update(offsets=np.array([0, 1])), "not the bytes"),
            (lambda a: a.update(offsets=np.array([0, 9, 3])), "not the bytes"),
            (lambda a: a.update(offsets=np.zeros(3)), "not the bytes"),
            (lambda a: a.update(serialized=np.zeros(3)), "not the bytes"),
            (lambda a: a.pop("last_seen"), "column last_seen: found nothing"),
        ],
    )
    def test_other_arrays_are_refused(
        self, folder: Folder, change: Callable[[dict[str, Any]], object], message: str
    ) -> None:
        folder.write(GUIDE)
        model = folder.model()
        state = model.fit(grid([[0.0, 10.0], [4.0, 8.0]]))
        arrays = dict(state.arrays())
        change(arrays)
        with pytest.raises(ValueError, match=message):
            model.restore(state.labels, arrays)

    @pytest.mark.parametrize(
        ("deserialize", "message"),
        [("raise KeyError('old')", "'old'"), ("return 7", "it returned int, expected CustomModel")],
    )
    def test_a_deserialize_that_fails(self, folder: Folder, deserialize: str, message: str) -> None:
        own = f"    @staticmethod\n    def deserialize(model):\n        {deserialize}\n"
        folder.write(small() + own)
        model = folder.model()
        state = model.fit(grid([[1.0]]))
        with pytest.raises(ValueError, match=f'deserialize, {{series="a"}}: {message}'):
            model.restore(state.labels, state.arrays())

    @pytest.mark.parametrize(
        ("serialize", "message"),
        [("raise OSError('full')", "full"), ("return None", "it returned NoneType, not bytes")],
    )
    def test_a_serialize_that_fails(self, folder: Folder, serialize: str, message: str) -> None:
        folder.write(small() + f"    def serialize(self):\n        {serialize}\n")
        state = folder.model().fit(grid([[1.0]]))
        with pytest.raises(ValueError, match=f'serialize, {{series="a"}}: {message}'):
            state.arrays()


class TestMultivariate:
    CHANNELS = (
        Channel("cpu", Labels({"host": "a"})),
        Channel("mem", Labels({"host": "a"})),
        Channel("cpu", Labels({"host": "b"})),
    )

    def batch(self, values: Any, start: int = 0) -> GroupedBatch:
        values = np.array(values)
        timestamps = (start + 1 + np.arange(values.shape[1], dtype=np.int64)) * STEP
        return GroupedBatch((A, B), self.CHANNELS, np.array([0, 2, 3]), timestamps, values)

    def model(self, folder: Folder, *policies: Mapping[str, Any]) -> MultivariateModel:
        assert is_multivariate(folder.section())
        return create_multivariate_model(folder.section(), queries(*policies))

    def test_a_column_a_channel_and_a_score_a_group(self, folder: Folder) -> None:
        folder.write(
            small(
                "MultivariateModel",
                fit="self.fitted = df",
                infer="self.inferred = df; "
                "return df.assign(anomaly_score=df.iloc[:, 1:].sum(axis=1), level=1)",
            )
        )
        model = self.model(folder, {})
        state = model.fit(self.batch([[1, 2, np.nan], [3, np.nan, 4], [5, 6, 7.0]]))
        present = self.batch([[1, 2], [3, 4], [5, np.nan]], 3)
        output = model.infer(state, present, np.zeros(1, np.int64))
        assert not output.errors
        assert list(output.outputs) == ["anomaly_score", "level"]
        np.testing.assert_array_equal(output.outputs["anomaly_score"], [[4, 6], [5, np.nan]])
        first, second = state.instances.values()  # type: ignore[attr-defined]
        assert list(first.fitted) == ["timestamp", 'cpu{host="a"}', 'mem{host="a"}']
        assert first.fitted.iloc[:, 1:].to_numpy().tolist() == [[1.0, 3.0]]
        assert list(second.inferred) == ["timestamp", 'cpu{host="b"}']
        assert second.inferred['cpu{host="b"}'].tolist() == [5.0]
        assert state.n_samples_seen.tolist() == [3, 4]

    def test_it_must_give_a_score(self, folder: Folder) -> None:
        folder.write(small("MultivariateModel"))
        model = self.model(folder, {})
        state = model.fit(self.batch(np.ones((3, 1))))
        output = model.infer(state, self.batch(np.ones((3, 1)), 1), np.zeros(1, np.int64))
        assert str(output.errors[A]) == "infer returned no anomaly_score; it returned no output"

    def test_online_groups_learn_by_micro_batches(self, folder: Folder) -> None:
        folder.write(
            small(
                "OnlineModel, MultivariateModel",
                infer="self.n = getattr(self, 'n', 0) + len(df); "
                "return df.assign(anomaly_score=self.n)",
            )
        )
        model = self.model(folder, {})
        assert model.online
        state = model.fit(self.batch(np.ones((3, 1))))
        output = model.infer(state, self.batch(np.ones((3, 5)), 1), np.array([0, 2, 4]))
        assert output.outputs["anomaly_score"].tolist() == [[2, 2, 4, 4, 5]] * 2

    def test_policies_that_the_queries_do_not_share_are_not_its_business(
        self, folder: Folder
    ) -> None:
        folder.write(small("MultivariateModel"))
        one, two = (
            {"data_range": [0, 1], "detection_direction": "above_expected"},
            {
                "data_range": [0, 2],
                "detection_direction": "above_expected",
            },
        )
        state = self.model(folder, one, two).fit(self.batch(np.ones((3, 1))))
        instance = state.instances[A]  # type: ignore[attr-defined]
        assert instance.data_range == (-np.inf, np.inf)
        assert instance.detection_direction == "above_expected"


class TestBatches:
    """Classes that take whole batches of series."""

    def model(self, name: str = "BatchBand", **keys: Any) -> Model:
        keys = {"class": f"tests.model.custom_models.{name}", "class_folder": Path(), **keys}
        return create_model(CustomSection.model_validate(keys), queries({})[0])

    def test_parameters_are_keys_of_the_section(self) -> None:
        assert vars(self.model()) == {"width": 3.0}
        assert vars(self.model(width=2)) == {"width": 2}
        assert vars(self.model("BatchOnlineLast", decay=0.5)) == {
            "decay": 0.5,
            "min_n_samples_seen": 16,
        }

    def test_groups(self) -> None:
        keys = {"class": "tests.mahalanobis.Mahalanobis", "threshold": 5.0}
        section = CustomSection.model_validate({**keys, "groupby": ["host"]})
        assert is_multivariate(section)
        assert vars(create_multivariate_model(section, queries({}, {}))) == {"threshold": 5.0}

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            ({"widht": 2}, "BatchBand does not take the key widht; did you mean width?"),
            ({"args": {"width": 2}}, "BatchBand does not take the key args"),
            ({"decay": 0.5}, "BatchBand does not take the key decay"),
            (
                {"provide_series": ["trend"]},
                "provide_series: this model does not produce trend; it produces anomaly_score, y",
            ),
        ],
    )
    def test_other_keys_are_refused(self, keys: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            self.model(**keys)

    def test_step_and_time_zone_of_the_query(self, folder: Folder) -> None:
        folder.write(
            """
            from tests.model.custom_models import BatchBand
            from dataclasses import dataclass

            @dataclass(frozen=True, kw_only=True)
            class CustomModel(BatchBand):
                step: int
                tz: str
                args: dict
            """
        )
        model = folder.model({"tz": "Europe/Berlin"}, args={"a": 1})
        assert vars(model) == {
            "width": 3.0,
            "step": 60_000,
            "tz": "Europe/Berlin",
            "args": {"a": 1},
        }

    def test_it_may_take_whatever_it_is_given(self, folder: Folder) -> None:
        folder.write(
            """
            from tests.model.custom_models import BatchBand

            class CustomModel(BatchBand):
                def __init__(self, **keys):
                    super().__init__(width=keys["sigmas"])
            """
        )
        assert vars(folder.model(sigmas=4)) == {"width": 4}
