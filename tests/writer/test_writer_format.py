from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import SteppedClock
from vmanomaly.series import Labels, Origin
from vmanomaly.writer.format import (
    TenancyWarnings,
    added_labels,
    fill_placeholders,
    kept_labels,
    written_labels,
)

ORIGIN = Origin(("query_name_1",), "zscore", "every_minute", "default")
DEFAULT_FORMAT = {"__name__": "$VAR", "for": "$QUERY_KEY"}
MISSING = (
    "The label `vm_account_id` was not found in the label set of cpu, but "
    "tenant_id='multitenant' is set in writer. The data will be written to the default tenant "
    "0:0. Ensure that the query retains the necessary multi-tenant labels, or adjust the "
    "aggregation settings to preserve `vm_account_id` key in the label set."
)
UNEXPECTED = (
    "The label set for the metric cpu contains multi-tenancy labels, but the write endpoint is "
    "configured for single-tenant mode (tenant_id != 'multitenant'). Either adjust the query in "
    "the reader to avoid multi-tenancy labels or ensure that reserved key `vm_account_id` is not "
    "explicitly set for single-tenant environments."
)

label_names = st.sampled_from(
    ["__name__", "cpu", "for", "preset", "model_alias", "x"]
    + [f"exported_{name}" for name in ("for", "preset", "x", "exported_for")]
)
label_sets = st.dictionaries(label_names, st.text(max_size=3))


def test_written_labels_of_the_documented_example() -> None:
    labels = written_labels(
        {"__name__": "node_load", "cpu": "1", "device": "eth0", "instance": "node-exporter:9100"},
        {
            "__name__": "PREFIX1_$VAR",
            "for": "PREFIX2_$QUERY_KEY",
            "custom_label_1": "label_name_1",
            "custom_label_2": "label_name_2",
        },
        ORIGIN,
        "anomaly_score",
    )
    assert labels == Labels(
        {
            "__name__": "PREFIX1_anomaly_score",
            "for": "PREFIX2_query_name_1",
            "custom_label_1": "label_name_1",
            "custom_label_2": "label_name_2",
            "cpu": "1",
            "device": "eth0",
            "instance": "node-exporter:9100",
            "model_alias": "zscore",
            "scheduler_alias": "every_minute",
            "preset": "default",
        }
    )


def test_placeholders_are_replaced_everywhere_but_only_once() -> None:
    assert fill_placeholders("$VAR/$QUERY_KEY_$VAR$VAR", "yhat", "cpu") == "yhat/cpu_yhatyhat"
    assert fill_placeholders("$QUERY_KEY", "yhat", "$VAR") == "$VAR"
    assert fill_placeholders("$VARIABLE", "yhat", "cpu") == "yhatIABLE"


def test_placeholders_work_in_every_value() -> None:
    added = added_labels({"__name__": "score", "kind": "$VAR of $QUERY_KEY"}, ORIGIN, "y")
    assert added["__name__"] == "score"
    assert added["kind"] == "y of query_name_1"


def test_metric_format_wins_over_the_labels_of_the_service() -> None:
    metric_format = {**DEFAULT_FORMAT, "model_alias": "mine"}
    labels = written_labels({"model_alias": "theirs"}, metric_format, ORIGIN, "y")
    assert labels["model_alias"] == "mine"
    assert labels["exported_model_alias"] == "theirs"


def test_a_taken_exported_label_is_prefixed_again() -> None:
    labels = written_labels({"preset": "a", "exported_preset": "b"}, DEFAULT_FORMAT, ORIGIN, "y")
    assert labels["preset"] == "default"
    assert labels["exported_preset"] == "b"
    assert labels["exported_exported_preset"] == "a"


def test_empty_values_are_as_no_label() -> None:
    labels = written_labels(
        {"for": "", "cpu": "", "mode": "idle", "team": "core"},
        {**DEFAULT_FORMAT, "team": ""},
        ORIGIN,
        "y",
    )
    assert "cpu" not in labels
    assert "exported_for" not in labels
    assert labels["team"] == "core"


@given(label_sets, label_sets)
def test_kept_labels_are_those_of_the_input_under_free_names(
    labels: dict[str, str], added: dict[str, str]
) -> None:
    kept = kept_labels(labels, added)
    filled = {name: value for name, value in labels.items() if value and name != "__name__"}
    assert not set(kept) & set(added)
    assert "__name__" not in kept
    assert sorted(kept.values()) == sorted(filled.values())
    for name, value in filled.items():
        if name not in added:
            assert kept[name] == value
        else:
            moved = [other for other in kept if other.startswith("exported_")]
            assert any(
                other.removesuffix(name).replace("exported_", "") == "" and kept[other] == value
                for other in moved
                if other.endswith(name)
            )


@given(label_sets)
def test_names_of_added_labels_do_not_depend_on_the_output(extra: dict[str, str]) -> None:
    metric_format = {**extra, **DEFAULT_FORMAT}
    assert list(added_labels(metric_format, ORIGIN, "y")) == list(
        added_labels(metric_format, ORIGIN, "anomaly_score")
    )


@pytest.mark.parametrize(
    ("multitenant", "n_with_account", "expected"),
    [
        (False, 0, None),
        (True, 3, None),
        (True, 0, MISSING),
        (True, 2, MISSING),
        (False, 3, UNEXPECTED),
        (False, 1, UNEXPECTED),
    ],
)
def test_tenancy_cases(
    multitenant: bool, n_with_account: int, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    warnings = TenancyWarnings(multitenant, logging.getLogger("vmanomaly.writer"))
    assert warnings.check("cpu", 3, n_with_account) is (expected is not None)
    assert caplog.messages == ([] if expected is None else [expected])


def test_tenancy_warnings_come_once_per_query_in_ten_minutes() -> None:
    clock = SteppedClock()
    warnings = TenancyWarnings(True, logging.getLogger("vmanomaly.writer"), clock)
    assert warnings.check("cpu", 1, 0)
    assert warnings.check("memory", 1, 0)
    clock.advance(599_900)
    assert not warnings.check("cpu", 1, 0)
    assert not warnings.check("cpu", 1, 1)
    clock.advance(100)
    assert warnings.check("cpu", 1, 0)
    assert not warnings.check("cpu", 1, 0)
