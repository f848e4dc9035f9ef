from __future__ import annotations

import pytest

import vmanomaly
from vmanomaly.series import UnitKey
from vmanomaly.state.compatibility import CHANGES, Change, parse_version, reason_against
from vmanomaly.state.decision import Verdict, decide
from vmanomaly.state.index import StoredUnit

TABLE = (
    Change("1.2.0", frozenset({"std"}), "the phases of std are counted from 1970"),
    Change("2.0.0", None, "rows are ordered"),
)
UNIT = UnitKey("live", "m", ("cpu",))


@pytest.mark.parametrize(
    ("stored", "running", "class_name", "usable"),
    [
        ("1.1.0", "1.1.0", "std", True),
        ("1.1.0", "1.1.9", "std", True),
        ("1.1.9", "1.1.0", "std", True),
        ("1.1.0", "1.2.0", "std", False),
        ("1.1.0", "1.2.0", "mad_online", True),
        ("1.2.0", "1.3.5", "std", True),
        ("1.3.0", "1.2.0", "mad_online", False),
        ("1.9.0", "2.0.0", "mad_online", False),
        ("2.0.0", "2.0.1", "mad_online", True),
        ("2.0.0", "1.9.0", "mad_online", False),
        ("later", "1.0.0", "mad_online", False),
    ],
)
def test_who_may_use_what(stored: str, running: str, class_name: str, usable: bool) -> None:
    assert (reason_against(stored, running, class_name, TABLE) is None) is usable


def test_the_reason_is_told() -> None:
    assert reason_against("1.1.0", "1.2.3", "std", TABLE) == (
        "it is of version 1.1.0: the phases of std are counted from 1970"
    )


def test_the_table_is_in_order_and_of_versions_that_there_are() -> None:
    versions = [parse_version(change.version) or (0, 0, 0) for change in CHANGES]
    assert versions == sorted(versions)
    assert all(version <= (parse_version(vmanomaly.__version__) or ()) for version in versions)


def test_this_version_may_use_its_own_states() -> None:
    assert reason_against(vmanomaly.__version__, vmanomaly.__version__, "mad_online") is None


def entry(version: str = "1.0.0", **signature: str) -> StoredUnit:
    return StoredUnit(signature, "mad_online", version, 0, 1, 1, "a", "m")


def test_decisions() -> None:
    wanted = {UNIT: {"a": "1"}}
    (reused,) = decide(wanted, {UNIT: entry(a="1")}, "1.0.0").values()
    assert reused.verdict is Verdict.REUSE
    (new,) = decide(wanted, {}, "1.0.0").values()
    assert str(new) == "fitted, because nothing is stored for it"
    (changed,) = decide(wanted, {UNIT: entry(a="2", b="1")}, "1.0.0").values()
    assert str(changed) == "refitted, because this has changed: a, b"
    many = {f"key{n}": "1" for n in range(6)}
    (changed,) = decide({UNIT: many}, {UNIT: entry()}, "1.0.0").values()
    assert str(changed).endswith("key0, key1, key2, key3 and 2 more")
    (newer,) = decide(wanted, {UNIT: entry("1.1.0", a="1")}, "1.0.0").values()
    assert str(newer) == "refitted, because it is of the newer version 1.1.0"
    (unwanted,) = decide({}, {UNIT: entry(a="1")}, "1.0.0").values()
    assert str(unwanted) == "dropped, because it is no longer in the configuration"
