"""What a configuration may say about the class that `auto` tunes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config_helpers import changed, load, problems
from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.tuned import tuned_section


def auto(tuned: str = "mad_online", **keys: Any) -> dict[str, Any]:
    optimization = {"anomaly_percentage": 0.01, **keys.pop("optimization", {})}
    return {
        "class": "auto",
        "tuned_class_name": tuned,
        "optimization_params": optimization,
        **keys,
    }


def loaded(**keys: Any) -> AutoSection:
    section = load(changed({"models.z": auto(**keys)})).models["z"]
    assert isinstance(section, AutoSection)
    return section


def wrong(**keys: Any) -> list[str]:
    return problems(changed({"models.z": auto(**keys)}))


@pytest.mark.parametrize("name", ["mad", "mad_online", "model.mad.MADModel"])
def test_the_class_may_have_any_of_its_names(name: str) -> None:
    assert loaded(tuned=name).tuned_class_name == "mad_online"


def test_the_key_of_the_prose_is_corrected() -> None:
    keys = auto()
    keys["tuned_model_class"] = keys.pop("tuned_class_name")
    found = problems(changed({"models.z": keys}))
    assert any("tuned_model_class" in line and "tuned_class_name" in line for line in found)


def test_frozen_keys_merge_from_both_places() -> None:
    section = loaded(
        frozen_params={"decay": 0.99, "threshold": 9},
        optimization={"frozen_params": {"threshold": 4}},
    )
    inside: Any = tuned_section(section)
    assert (inside.decay, inside.threshold) == (0.99, 4)
    chosen: Any = tuned_section(section, {"threshold": 7, "compression": 50})
    assert (chosen.threshold, chosen.compression) == (4, 50)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"treshold": 3}, "treshold: unknown key; did you mean threshold?"),
        ({"threshold": -1}, "threshold: expected a number above 0, got -1"),
        ({"class": "mad_online"}, "class: not a parameter of the class; remove it"),
        ({"class_name": "mad"}, "class_name: not a parameter of the class; remove it"),
        ({"queries": ["q"]}, "queries: not a parameter of the class; remove it"),
        ({"z_threshold": 3}, "z_threshold: not a key of mad_online, only of"),
    ],
)
def test_frozen_keys_are_checked_where_they_stand(keys: dict[str, Any], problem: str) -> None:
    (found,) = wrong(frozen_params=keys)
    assert found.startswith(f"models.z.frozen_params.{problem}")
    (found,) = wrong(optimization={"frozen_params": keys})
    assert found.startswith(f"models.z.optimization_params.frozen_params.{problem}")


def test_outputs_are_those_of_the_class() -> None:
    assert loaded(provide_series=["anomaly_score", "y"]).provide_series == ("anomaly_score", "y")
    (found,) = wrong(provide_series=["trend"])
    assert found.startswith("models.z.provide_series: this model does not produce trend")
    assert loaded(tuned="std", provide_series=["trend"]).provide_series == ("trend",)


def test_a_wrong_shared_key_is_reported_once() -> None:
    (found,) = wrong(scale=-1)
    assert found.startswith("models.z.scale")


def test_groups_are_those_of_the_class(caplog: pytest.LogCaptureFixture) -> None:
    section = loaded(tuned="temporal_envelope_multivariate", groupby=["host"])
    assert section.multivariate
    assert tuned_section(section).groupby == ("host",)
    assert not [line for line in caplog.messages if "groupby" in line]
    assert not loaded(groupby=["host"]).multivariate
    assert [line for line in caplog.messages if "groupby" in line]


def test_policies_and_outputs_reach_the_class() -> None:
    inside = tuned_section(
        loaded(scale=[2, 3], clip_predictions=True, anomaly_score_outside_data_range=5)
    )
    assert (inside.scale, inside.clip_predictions) == ((2, 3), True)
    assert inside.anomaly_score_outside_data_range == 5


def test_a_frozen_policy_wins() -> None:
    inside = tuned_section(
        loaded(detection_direction="both", frozen_params={"detection_direction": "below_expected"})
    )
    assert inside.detection_direction == "below_expected"


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "many"])
def test_n_jobs_is_a_number_of_workers(n_jobs: Any) -> None:
    (found,) = wrong(optimization={"n_jobs": n_jobs})
    assert "n_jobs: expected a whole number of 1 or more, or -1" in found


@pytest.mark.parametrize("share", [0.5, 1, -0.1, "nan"])
def test_the_limit_is_a_share_below_half(share: Any) -> None:
    (found,) = wrong(optimization={"anomaly_percentage": share})
    assert "anomaly_percentage: expected" in found


def test_only_some_policies_can_be_tuned() -> None:
    (found,) = wrong(optimization={"optimized_business_params": ["scale"]})
    assert "optimized_business_params" in found
    assert "detection_direction" in found


def test_keys_that_a_class_needs_have_a_value_to_start_with() -> None:
    inside: Any = tuned_section(loaded(tuned="rolling_quantile"))
    assert (inside.quantile, inside.window_steps) == (0.9, 60)


def test_args_are_those_of_both() -> None:
    made = loaded(tuned="zscore_online", args={"a": 1}, frozen_params={"args": {"b": 2}})
    assert tuned_section(made).args == {"a": 1, "b": 2}
