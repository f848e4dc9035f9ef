"""The rules that concern more than one section."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.config_helpers import MINIMAL, changed, load, problems, without

TWO_OF_EACH = changed(
    {
        "reader.queries.ram": {"expr": "avg(ram)"},
        "schedulers.slow": {"fit_window": "1w", "infer_every": "1h"},
    }
)


class TestAttachment:
    def test_left_out_is_all_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        model = load(changed({"models": {"z": {"class": "mad_online"}}}, TWO_OF_EACH)).models["z"]
        assert model.queries == ("cpu", "ram")
        assert model.schedulers == ("live", "slow")
        assert caplog.messages == [
            (
                "models.z.queries: left out, so the model runs on all of them; "
                "write queries: all to say so"
            ),
            (
                "models.z.schedulers: left out, so the model runs on all of them; "
                "write schedulers: all to say so"
            ),
        ]

    def test_all_is_silent(self, caplog: pytest.LogCaptureFixture) -> None:
        assert load(TWO_OF_EACH).models["z"].queries == ("cpu", "ram")
        assert caplog.messages == []

    @pytest.mark.parametrize("key", ["queries", "schedulers"])
    @pytest.mark.parametrize("nothing", [None, []])
    def test_unattached_models_are_dropped(
        self, key: str, nothing: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        spare = {"class": "mad_online", "queries": "all", "schedulers": "all", key: nothing}
        assert list(load(changed({"models.spare": spare})).models) == ["z"]
        assert caplog.messages == [f"models.spare: not run, because it is attached to no {key}"]

    def test_unused_queries_and_schedulers_are_dropped(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = load(
            changed({"models.z.queries": ["ram"], "models.z.schedulers": ["slow"]}, TWO_OF_EACH)
        )
        assert list(config.reader.queries) == ["ram"]
        assert list(config.schedulers) == ["slow"]
        assert caplog.messages == [
            "reader.queries.cpu: not run, because no model uses it",
            "schedulers.live: not run, because no model uses it",
        ]

    def test_nothing_attached(self) -> None:
        assert problems(changed({"models.z.queries": None})) == [
            "models: none is attached to a query and a scheduler: nothing to run"
        ]

    def test_repeated_names_count_once(self) -> None:
        config = load(changed({"models.z.queries": ["cpu", "cpu"]}))
        assert config.models["z"].queries == ("cpu",)

    def test_numbers_are_names(self) -> None:
        sections = changed(
            {"reader.queries": {"1.10": {"expr": "x"}}, "models.z.queries": ["1.10"]}
        )
        assert load(sections).models["z"].queries == ("1.10",)

    def test_unknown_names(self) -> None:
        assert problems(
            changed({"models.z.queries": ["cpu", "rma"], "models.z.schedulers": [[]]}, TWO_OF_EACH)
        ) == [
            "models.z.queries[1]: no such query, got 'rma'; did you mean ram?",
            "models.z.schedulers[0]: expected text, got a list",
        ]

    def test_a_single_name(self) -> None:
        assert problems(changed({"models.z.queries": "cpu"})) == [
            "models.z.queries: expected a list of aliases, all or null, got 'cpu'"
        ]

    def test_a_missing_reader_is_told_once(self) -> None:
        sections = without("reader", changed({"models.z.queries": ["cpu"]}))
        assert len(problems(sections)) == 1


class TestTenants:
    def test_query_tenant_without_reader_tenant(self) -> None:
        assert problems(changed({"reader.queries.cpu.tenant_id": "1:0"})) == [
            (
                "reader.queries.cpu.tenant_id: a query has a tenant and the reader has none; "
                "set reader.tenant_id too, such as multitenant"
            )
        ]

    @pytest.mark.parametrize(
        ("reader", "query", "writer"),
        [
            (None, None, None),
            (None, None, "1:0"),
            ("0:0", None, "0:0"),
            ("0", None, "0:0"),
            ("multitenant", "1:0", "1:0"),
            ("multitenant", None, "multitenant"),
            ("multitenant", "1:0", "multitenant"),
        ],
    )
    def test_safe(
        self, reader: Any, query: Any, writer: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.load(reader, query, writer)
        assert caplog.messages == []

    @pytest.mark.parametrize(
        ("reader", "query", "writer", "read"),
        [
            ("0:0", None, None, "0:0"),
            ("0:0", None, "1:0", "0:0"),
            ("multitenant", None, None, "multitenant"),
            ("multitenant", None, "0:0", "multitenant"),
            ("0:0", "1:0", "0:0", "1:0"),
        ],
    )
    def test_not_safe(
        self, reader: Any, query: Any, writer: Any, read: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.load(reader, query, writer)
        assert caplog.messages == [
            (
                f"writer.tenant_id: the reader uses the tenants {read} and the writer "
                f"{writer or 'none'}; set it to multitenant to write scores back to the tenant "
                "they were computed for, unless those go to a single-node server, which has no "
                "tenants"
            )
        ]

    def test_two_tenants_and_one_writer(self, caplog: pytest.LogCaptureFixture) -> None:
        load(
            changed(
                {
                    "reader.tenant_id": "0:0",
                    "reader.queries.ram": {"expr": "x", "tenant_id": "1:0"},
                    "writer.tenant_id": "0:0",
                }
            )
        )
        (message,) = caplog.messages
        assert "the tenants 0:0, 1:0 and the writer 0:0" in message

    @staticmethod
    def load(reader: Any, query: Any, writer: Any) -> None:
        load(
            changed(
                {
                    "reader.tenant_id": reader,
                    "reader.queries.cpu.tenant_id": query,
                    "writer.tenant_id": writer,
                }
            )
        )


class TestMultivariate:
    def config(self, **query: Any) -> dict[str, Any]:
        return changed(
            {
                "reader.tenant_id": "0:0",
                "reader.queries.ram": {"expr": "x", **query},
                "models.m": {
                    "class": "temporal_envelope_multivariate",
                    "queries": ["cpu", "ram"],
                    "schedulers": "all",
                },
            }
        )

    def found(self, **query: Any) -> list[str]:
        return problems(self.config(**query))

    def test_same_step_and_tenant(self) -> None:
        assert load(self.config()).models["m"].queries == ("cpu", "ram")

    def test_steps(self) -> None:
        assert self.found(step="2m") == [
            (
                "models.m.queries: the queries of a multivariate model must have the same step: "
                "cpu has 1m, ram has 2m"
            )
        ]

    def test_offsets(self) -> None:
        assert self.found(offset="-15s") == [
            (
                "models.m.queries: the queries of a multivariate model must have the same offset: "
                "cpu has 0s, ram has -15s"
            )
        ]

    def test_queries_together_are_no_part_of_a_metric_name(self) -> None:
        changes = {
            "reader.queries.ram": {"expr": "x"},
            "models.m": {
                "class": "temporal_envelope_multivariate",
                "queries": ["ram", "cpu"],
                "schedulers": "all",
            },
            "writer.metric_format": {"__name__": "$QUERY_KEY_$VAR", "for": "$QUERY_KEY"},
        }
        assert (
            "writer.metric_format.__name__: gives 'cpu,ram_anomaly_score' for the query cpu,ram, "
            "which is not a valid metric name; letters, digits, _ and : are allowed, not starting "
            "with a digit"
        ) in problems(changed(changes))

    def test_tenants(self) -> None:
        assert self.found(tenant_id="1:0") == [
            (
                "models.m.queries: the queries of a multivariate model must have the same "
                "tenant_id: cpu has 0:0, ram has 1:0"
            )
        ]

    @pytest.mark.parametrize(
        ("class_name", "keys", "agree"),
        [
            ("temporal_envelope_multivariate", {}, True),
            ("isolation_forest_multivariate", {}, True),
            ("isolation_forest_multivariate", {"seasonal_features": ["hod"]}, False),
        ],
    )
    def test_time_zones(self, class_name: str, keys: dict[str, Any], agree: bool) -> None:
        """Where one forest looks at the calendar of all queries, they must have the same."""
        model = {f"models.m.{key}": value for key, value in {"class": class_name, **keys}.items()}
        same, other = self.config(), self.config(tz="Asia/Tokyo")
        load(changed(model, same))
        if agree:
            load(changed(model, other))
            return
        assert problems(changed(model, other)) == [
            (
                "models.m.queries: the queries of a multivariate model must have the same tz: "
                "cpu has UTC, ram has Asia/Tokyo"
            )
        ]


class TestClipping:
    CPU: ClassVar = {"reader.queries.cpu.data_range": [0, 1]}

    def test_a_range_without_clipping_is_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        load(changed(self.CPU))
        assert caplog.messages == [
            (
                "models.z.clip_predictions: left out, although there is a data_range (cpu): a "
                "value inside it can never be an anomaly where the expected range is wider; set it "
                "to true, or to false to keep it so"
            )
        ]

    @pytest.mark.parametrize(
        "changes", [{}, {**CPU, "models.z.clip_predictions": True}, {"models.z.queries": ["cpu"]}]
    )
    def test_nothing_else_is(
        self, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        load(changed(changes))
        assert caplog.messages == []

    def test_who_says_no_knows_it(self, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({**self.CPU, "models.z.clip_predictions": False}))
        assert caplog.messages == []


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "value", "expected"),
        [
            ("data_range", [0, "inf"], (0, float("inf"))),
            ("detection_direction", "below_expected", "below_expected"),
            ("min_dev_from_expected", [1, 2], (1, 2)),
            ("min_rel_dev_from_expected", [3], (3, 3)),
        ],
    )
    def test_on_a_model_they_are_deprecated(
        self, policy: str, value: Any, expected: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = load(changed({f"models.z.{policy}": value, "models.z.clip_predictions": True}))
        assert getattr(config.models["z"], policy) == expected
        assert getattr(config.reader.queries["cpu"], policy) is None
        assert caplog.messages == [
            f"models.z.{policy}: deprecated on a model; put it on the query, where it wins"
        ]

    def test_groupby_needs_a_multivariate_model(self, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({"models.z.groupby": ["host"]}))
        assert caplog.messages == [
            "models.z.groupby: zscore_online is not multivariate and ignores it"
        ]


class TestPoliciesWithoutYhat:
    FOREST: ClassVar = changed({"models.z.class": "isolation_forest"})

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("scale", 2),
            ("clip_predictions", True),
            ("detection_direction", "above_expected"),
            ("min_dev_from_expected", 1),
            ("min_rel_dev_from_expected", [1, 2]),
        ],
    )
    def test_on_the_model(self, key: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({f"models.z.{key}": value}, self.FOREST))
        assert caplog.messages == [
            (
                f"models.z.{key}: has no effect: this class gives no yhat, which it is about; "
                "remove it"
            )
        ]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("detection_direction", "above_expected"),
            ("min_dev_from_expected", 1),
            ("min_rel_dev_from_expected", [0, 2]),
        ],
    )
    def test_on_a_query(self, key: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({f"reader.queries.cpu.{key}": value}, self.FOREST))
        assert caplog.messages == [
            (
                f"models.z.queries: {key} (cpu) has no effect here: this class gives no yhat, "
                "which it is about; use it with another model"
            )
        ]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("data_range", [0, 1]),
            ("detection_direction", "both"),
            ("min_dev_from_expected", 0),
        ],
    )
    def test_nothing_else_is_warned_of(
        self, key: str, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = load(changed({f"reader.queries.cpu.{key}": value}, self.FOREST))
        assert getattr(config.reader.queries["cpu"], key) is not None
        assert caplog.messages == []


class TestState:
    def test_restore_state_needs_a_folder(self) -> None:
        assert problems(changed({"settings.restore_state": True})) == [
            (
                "settings.restore_state: needs the environment variable VMANOMALY_MODEL_DUMPS_DIR, "
                "the folder in which models are kept; set it, or set restore_state to false"
            )
        ]

    def test_the_folder_of_models(self, caplog: pytest.LogCaptureFixture) -> None:
        environ = {"VMANOMALY_MODEL_DUMPS_DIR": "/models"}
        config = load(changed({"settings.restore_state": True}), environ)
        assert config.settings.restore_state
        assert config.model_folder == Path("/models")
        assert caplog.messages == []

    def test_schedulers_that_end_keep_no_state(self, caplog: pytest.LogCaptureFixture) -> None:
        environ = {"VMANOMALY_MODEL_DUMPS_DIR": "/models"}
        once = {"class": "backtesting", "fit_window": "1h", "fit_every": "1h"}
        once |= {"from": "2025-05-08", "to": "2025-05-09"}
        load(changed({"settings.restore_state": True, "schedulers.once": once}), environ)
        assert caplog.messages[0] == (
            "schedulers.once: backtesting runs once and ends: it keeps no state, and "
            "settings.restore_state changes nothing for it"
        )


@pytest.mark.parametrize("preset", ["default", "default:v1.2", None, ""])
def test_default_preset(preset: Any) -> None:
    assert load(changed({"preset": preset})).preset == "default"


def test_an_alias_from_the_environment_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    content = changed(
        {
            "reader.queries": {"%{QUERY}": {"expr": "x"}},
            "models": {"%{MODEL}": MINIMAL["models"]["z"]},
        }
    )
    load(content, {"QUERY": "hunter2", "MODEL": "hunter3"})
    assert "reader.queries.%{QUERY}: comes from an environment variable" in caplog.text.replace(
        '"', ""
    )
    assert "models.%{MODEL}: comes from an environment variable" in caplog.text.replace('"', "")
    assert "hunter" not in caplog.text
