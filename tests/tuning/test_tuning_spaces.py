"""What is searched for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vmanomaly.config.model import ModelSection
from vmanomaly.config.registry import MODELS
from vmanomaly.config.tuned import NOT_TUNED, parameters_of, starting_values
from vmanomaly.config.values.mappings import leaf_paths
from vmanomaly.tuning.spaces import Dimension, Facts, space_of

DAY = 86_400_000
CLASSES = [alias for alias in MODELS.aliases if alias not in NOT_TUNED]
FACTS = [
    Facts(step=60_000, n_points=20),
    Facts(step=300_000, n_points=5 * 7 * 288, tz="Europe/Berlin", limit=0.4, spread=2.0),
    Facts(step=DAY, n_points=90, limit=0.01),
]
BUSINESS = ["detection_direction", "min_dev_from_expected", "min_rel_dev_from_expected"]
PATTERN = {"share": 0.0, "strength": 0.0, "shape": None}


def section_of(alias: str, chosen: Mapping[str, Any]) -> ModelSection:
    parameters = parameters_of(alias, chosen, {})
    return MODELS[alias].section.model_validate({**parameters, "class": alias})


def named(space: tuple[Dimension, ...]) -> dict[str, Dimension]:
    return {dimension.name: dimension for dimension in space}


@pytest.mark.parametrize("facts", FACTS, ids=["short", "long", "daily"])
@pytest.mark.parametrize("alias", CLASSES)
class TestEveryClass:
    def test_takes_every_option(self, alias: str, facts: Facts) -> None:
        for dimension in space_of(alias, facts, {}, BUSINESS):
            for option in dimension.options:
                section_of(alias, option)

    def test_starts_with_its_defaults(self, alias: str, facts: Facts) -> None:
        default = section_of(alias, {})
        for dimension in space_of(alias, facts, {}):
            option = dimension.options[dimension.default]
            if "args" in option:
                continue  # The defaults of a library.
            assert section_of(alias, option) == default, dimension.name

    def test_offers_each_option_once_and_always_a_choice(self, alias: str, facts: Facts) -> None:
        space = space_of(alias, facts, {}, BUSINESS)
        assert len(named(space)) == len(space) > 0
        for dimension in space:
            shown = [repr(option) for option in dimension.options]
            assert len(set(shown)) == len(shown) > 1
            assert 0 <= dimension.default < len(shown)

    def test_never_touches_what_is_frozen(self, alias: str, facts: Facts) -> None:
        space = space_of(alias, facts, {})
        for dimension in space:
            for option in dimension.options:
                for path in leaf_paths(option):
                    frozen: dict[str, Any] = {path[-1]: None}
                    for key in reversed(path[:-1]):
                        frozen = {key: frozen}
                    assert dimension.name not in named(space_of(alias, facts, frozen))


@pytest.mark.parametrize("key", ["groupby", "holidays"])
def test_some_keys_are_never_tuned(key: str) -> None:
    for alias in CLASSES:
        for facts in FACTS:
            for dimension in space_of(alias, facts, {}):
                assert all(key not in option for option in dimension.options)


def test_policies_are_tuned_only_if_they_are_named() -> None:
    names = named(space_of("mad_online", FACTS[1], {}, ["detection_direction"]))
    assert set(names) == {"threshold", "decay", "detection_direction"}
    assert not {*BUSINESS} & {*named(space_of("mad_online", FACTS[1], {}))}


def test_deviations_are_in_units_of_the_spread() -> None:
    (dimension,) = space_of("mad_online", FACTS[1], {"threshold": 3, "decay": 1}, BUSINESS[1:2])
    assert [option["min_dev_from_expected"] for option in dimension.options] == [0, 0.5, 1, 2, 4]


def test_a_season_needs_two_cycles() -> None:
    seasons = [
        [option.get("seasonal_interval") for option in named(space)["season"].options]
        if "season" in named(space)
        else None
        for space in (space_of("quantile_online", facts, {}) for facts in FACTS)
    ]
    assert seasons == [None, [None, "1d", "7d", "7d"], [None, "7d", "7d"]]


def test_hints_narrow_the_search() -> None:
    recommended = ["hod_plateau"]
    hours = {"share": 1.0, "strength": 0.9, "shape": "plateau"}
    patterns = {"hod": hours, "dow": PATTERN, "month": PATTERN, "recommended": recommended}
    profile = {"not_measured": [], "seasonalities": patterns}
    hinted = Facts(step=300_000, n_points=10_080, profile=profile)
    found = named(space_of("temporal_envelope", hinted, {}))["seasonalities"]
    options = [tuple(option["seasonalities"]) for option in found.options]
    assert ("hod_plateau",) in options
    # The default stays, whatever the hints say: the first trial has it.
    assert [names for names in options if any(name.startswith("dow") for name in names)] == [
        ("hod_smooth", "dow_smooth")
    ]
    assert len(found.options) < len(
        named(space_of("temporal_envelope", FACTS[1], {}))["seasonalities"].options
    )
    seasons = named(space_of("quantile_online", hinted, {}))["season"].options
    assert [option.get("seasonal_interval") for option in seasons] == [None, "1d"]


def test_what_was_not_measured_is_searched() -> None:
    patterns = {"hod": PATTERN, "dow": PATTERN, "month": PATTERN, "recommended": []}
    profile = {"not_measured": ["dow"], "seasonalities": patterns}
    facts = Facts(step=300_000, n_points=10_080, profile=profile)
    seasons = named(space_of("quantile_online", facts, {}))["season"].options
    assert "7d" in [option.get("seasonal_interval") for option in seasons]


def test_a_forest_expects_no_more_than_the_limit() -> None:
    for facts in FACTS:
        space = named(space_of("isolation_forest", facts, {}))
        options = space["contamination"].options if "contamination" in space else ()
        shares = [option["contamination"] for option in options]
        assert all(share == "auto" or share <= facts.limit for share in shares)


def test_civil_time_is_searched_only_outside_utc() -> None:
    for facts in FACTS:
        found = "tz_seasonalities" in named(space_of("prophet", facts, {}))
        assert found == (facts.tz != "UTC")


def test_every_required_key_has_a_value_to_start_with() -> None:
    for alias in CLASSES:
        section_of(alias, starting_values(alias))
