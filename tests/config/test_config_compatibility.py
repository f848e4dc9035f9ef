"""What charts, operators and old guides write is accepted, and says so where it does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config_helpers import MINIMAL, changed, load, problems, required, without
from vmanomaly.config import resolved_yaml
from vmanomaly.config.model import CustomSection, Holidays
from vmanomaly.config.model import custom as custom_section
from vmanomaly.config.monitoring import PullSection, PushSection
from vmanomaly.config.reader import HttpQuery, VmReaderSection
from vmanomaly.config.registry import MODELS
from vmanomaly.config.scheduler import BacktestingSection, OneoffSection, PeriodicSection
from vmanomaly.config.section import Section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.writer import RemoteWriteSection, VmWriterSection
from vmanomaly.detector import create_detector
from vmanomaly.model import create_model

BACKTEST = {"class": "backtesting", "fit_window": "1d", "fit_every": "1d"}
RANGE = {"from_iso": "2024-01-01T00:00:00Z", "to_iso": "2024-01-08T00:00:00Z"}
ZERO = "0001-01-01T00:00:00Z"


def optional(section: type[Section]) -> list[str]:
    """Return the keys of a section that may be left out, and where an empty text means that."""
    return [
        key
        for name, field in section.model_fields.items()
        if not field.is_required()
        and name not in section.derived
        and (key := field.alias or name) not in section.meaningful_when_empty
    ]


def with_model(alias: str) -> dict[str, Any]:
    section = required(MODELS[alias].section) | {"class": alias, "queries": "all"}
    return changed({"models.z": section | {"schedulers": "all"}})


SECTIONS: list[tuple[str, type[Section], dict[str, Any]]] = [
    ("reader", VmReaderSection, MINIMAL),
    ("reader.queries.cpu", HttpQuery, MINIMAL),
    ("writer", VmWriterSection, MINIMAL),
    ("writer", RemoteWriteSection, changed({"writer.class": "remote_write"})),
    ("schedulers.live", PeriodicSection, MINIMAL),
    ("schedulers.live", BacktestingSection, changed({"schedulers.live": BACKTEST | RANGE})),
    ("server", ServerSection, MINIMAL),
    ("settings", SettingsSection, MINIMAL),
    ("monitoring.pull", PullSection, changed({"monitoring.pull": {}})),
    ("monitoring.push", PushSection, changed({"monitoring.push": {"url": "http://x"}})),
    (
        "models.z.holidays",
        Holidays,
        changed({"models.z.holidays": {}}, with_model("temporal_envelope")),
    ),
    *(
        ("models.z", MODELS[alias].section, with_model(alias))
        for alias in MODELS.aliases
        if alias != "custom"
    ),
]

DEFAULT_CLASSES = (VmReaderSection, VmWriterSection, PeriodicSection)


class TestEmptyText:
    @pytest.mark.parametrize(
        ("place", "key", "base"),
        [
            pytest.param(place, key, base, id=f"{section.__name__}.{key}")
            for place, section, base in SECTIONS
            for key in optional(section)
            if key != "sampling_period" and (key != "class" or section in DEFAULT_CLASSES)
        ],
    )
    def test_counts_as_left_out(self, place: str, key: str, base: dict[str, Any]) -> None:
        assert load(changed({f"{place}.{key}": ""}, base)) == load(base)

    @pytest.mark.parametrize("section", ["settings", "server", "monitoring", "preset"])
    def test_counts_as_left_out_for_a_section(self, section: str) -> None:
        assert load(changed({section: ""})) == load(MINIMAL)

    def test_takes_the_default_of_another_section(self) -> None:
        content = changed(
            {
                "settings.anomaly_score_outside_data_range": 7,
                "models.z.anomaly_score_outside_data_range": "",
                "reader.tz": "Europe/Kyiv",
                "reader.queries.cpu.tz": "",
                "reader.queries.cpu.step": "",
            }
        )
        config = load(content)
        assert config.models["z"].anomaly_score_outside_data_range == 7
        assert config.reader.queries["cpu"].tz == "Europe/Kyiv"
        assert str(config.reader.queries["cpu"].step) == "1m"

    def test_is_not_enough_for_what_is_required(self) -> None:
        assert problems(changed({"reader.datasource_url": ""})) == [
            "reader.datasource_url: required, but not set"
        ]
        assert problems(changed({"models.z.class": ""}))[0].startswith(
            "models.z.class: required, but not set"
        )
        (problem,) = problems(changed({"reader.sampling_period": ""}))
        assert problem.startswith("reader.sampling_period: required, because these queries")

    def test_of_an_environment_variable(self) -> None:
        text = yaml.safe_dump(changed({"reader.tenant_id": "%{T}"}))
        assert load(text, {"T": ""}) == load(MINIMAL)
        assert load(text, {"T": "7"}).reader.queries["cpu"].tenant_id == "7"

    def test_of_a_later_file_takes_back_a_value(self, tmp_path: Path) -> None:
        from vmanomaly.config import load_config

        (tmp_path / "1.yaml").write_text(yaml.safe_dump(changed({"reader.offset": "-15s"})))
        (tmp_path / "2.yaml").write_text("reader: {offset: ''}\n")
        assert load_config([tmp_path], {}).reader == load(MINIMAL).reader

    def test_keeps_its_meaning_for_push_frequency_and_labels(self) -> None:
        push = {"url": "http://x", "push_frequency": "", "extra_labels": {"zone": ""}}
        config = load(changed({"monitoring.push": push}))
        assert config.monitoring.push is not None
        assert config.monitoring.push.push_frequency == 0
        assert config.monitoring.push.extra_labels == {"zone": ""}

    def test_is_a_value_for_keys_of_a_users_class(self) -> None:
        section = load(changed({"models.z": {"class": "custom", "mode": "", "scale": ""}})).models
        custom = section["z"]
        assert isinstance(custom, CustomSection)
        assert custom.own_keys == {"mode": ""}
        assert custom.scale == (1.0, 1.0)

    def test_does_not_hide_an_unknown_key(self) -> None:
        assert problems(changed({"models.z.zthreshold": "", "writer.user_name": None})) == [
            "models.z.zthreshold: unknown key; did you mean z_threshold?",
            "writer.user_name: unknown key; did you mean user?",
        ]


class TestZeroTimes:
    @pytest.mark.parametrize(
        "times",
        [
            {"from_iso": "2024-01-01T00:00:00Z", "from_s": 0},
            {"from_iso": ZERO, "from_s": 1704067200},
            {"from_iso": "2024-01-01T00:00:00Z", "from_s": 1704067200},
            {"from_iso": "", "from_s": 1704067200},
        ],
    )
    def test_beside_a_real_one(self, times: dict[str, Any]) -> None:
        section = load(changed({"schedulers.live": BACKTEST | RANGE | times})).schedulers["live"]
        assert isinstance(section, BacktestingSection)
        assert section.from_time == 1704067200_000

    def test_in_all_keys_of_oneoff(self) -> None:
        times = {
            f"{name}_{end}_{form}": 0 if form == "s" else f"2024-01-0{day}T00:00:00Z"
            for name in ("fit", "infer")
            for day, end in enumerate(("start", "end"), 1)
            for form in ("iso", "s")
        }
        section = load(changed({"schedulers.live": {"class": "oneoff"} | times})).schedulers["live"]
        assert isinstance(section, OneoffSection)
        assert section.fit_start == section.infer_start == 1704067200_000

    def test_alone_is_the_year_1970(self) -> None:
        times = {"from_s": 0, "to_s": 604_800}
        section = load(changed({"schedulers.live": BACKTEST | times})).schedulers["live"]
        assert isinstance(section, BacktestingSection)
        assert section.from_time == 0

    def test_alone_in_both_forms_is_no_time(self) -> None:
        assert problems(
            changed({"schedulers.live": BACKTEST | RANGE | {"from_iso": ZERO, "from_s": 0}})
        ) == ["schedulers.live.from_iso: required, but not set; or set from_s or from"]

    def test_two_times_that_differ(self) -> None:
        assert problems(changed({"schedulers.live": BACKTEST | RANGE | {"to_s": 5}})) == [
            "schedulers.live.to_s: to_iso already sets another time; keep one"
        ]


class TestKeysWithoutEffect:
    @pytest.mark.parametrize(
        ("place", "value", "why"),
        [
            ("models.z.ttl", "30d", "settings.retention.ttl"),
            ("models.z.forecast_at", ["1h"], "makes no forecasts"),
            ("monitoring.push.config", "file.yaml", "names no setting"),
        ],
    )
    def test_are_accepted_with_a_warning(
        self, place: str, value: object, why: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        base = changed({"monitoring.push": {"url": "http://x"}})
        plain = load(base)
        caplog.clear()
        assert load(changed({place: value}, base)) == plain
        (message,) = caplog.messages
        assert message.startswith(f"{place}: has no effect: ")
        assert why in message

    @pytest.mark.parametrize("alias", ["temporal_envelope", "temporal_envelope_multivariate"])
    def test_forecast_at_is_none_where_there_are_forecasts(
        self, alias: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = load(changed({"models.z.forecast_at": ["1h"]}, with_model(alias)))
        assert config.models["z"].forecast_at == ("1h",)  # type: ignore[attr-defined]
        assert caplog.messages == []

    def test_forecast_at_is_a_key_of_a_users_class(self) -> None:
        keys = {"class": "custom", "forecast_at": ["1h"], "ttl": "1d"}
        section = load(changed({"models.z": keys})).models["z"]
        assert isinstance(section, CustomSection)
        assert section.own_keys == {"forecast_at": ["1h"], "ttl": "1d"}

    def test_forecasts_cannot_be_asked_of_a_class_without_them(self) -> None:
        keys = {"models.z.forecast_at": ["1h"], "models.z.provide_series": ["yhat_1h"]}
        (problem,) = problems(changed(keys))
        assert problem.startswith("models.z.provide_series: this model does not produce yhat_1h")

    def test_of_tuning(self) -> None:
        tuning = {"anomaly_percentage": 0.01, "beta": 0.5, "gc_after_trial": True}
        tuning["show_progress_bar"] = False
        keys = {"class": "auto", "tuned_class_name": "zscore", "optimization_params": tuning}
        load(changed({"models.z": keys}))

    def test_left_out_they_say_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({"models.z.ttl": None, "models.z.forecast_at": ""}))
        assert caplog.messages == []


class TestOldNames:
    def test_of_the_user(self, caplog: pytest.LogCaptureFixture) -> None:
        login = {"username": "me", "password": "secret"}
        config = load(
            changed(
                {
                    "reader": MINIMAL["reader"] | login,
                    "writer": MINIMAL["writer"] | login,
                    "monitoring.push": {"url": "http://x", **login},
                }
            )
        )
        assert config.reader.user == config.writer.user == "me"  # type: ignore[attr-defined]
        assert config.monitoring.push is not None
        assert config.monitoring.push.user == "me"
        assert caplog.messages == [
            f"{place}.username: deprecated; write user"
            for place in ("reader", "writer", "monitoring.push")
        ]

    def test_the_new_name_wins(self, caplog: pytest.LogCaptureFixture) -> None:
        config = load(changed({"reader.username": "old", "reader.user": "new"}))
        assert config.reader.user == "new"  # type: ignore[attr-defined]
        assert caplog.messages == [
            "reader.username: deprecated, and ignored because user is there too"
        ]

    @pytest.mark.parametrize(
        ("old", "alias", "keys"),
        [
            ("model.std.StdModel", "std", {}),
            (
                "model.rolling_quantile.RollingQuantileModel",
                "rolling_quantile",
                {"quantile": 0.9, "window_steps": 9},
            ),
        ],
    )
    def test_of_classes(
        self, old: str, alias: str, keys: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        attached = {"queries": "all", "schedulers": "all"}
        new = old.rpartition(".")[2]
        for name in (old, f"model.online.{new}", alias):
            content = changed({"models.z": {"class": name, **keys, **attached}})
            assert load(content).models["z"].class_name == alias
        assert caplog.messages == [
            f"models.z.class: {old} is deprecated and runs as {alias}; write that"
        ]


class TestPull:
    @pytest.mark.parametrize("name", ["enabled", "enable"])
    @pytest.mark.parametrize(("value", "listens"), [(True, True), (False, False), ("false", False)])
    def test_can_be_turned_off(self, name: str, value: object, listens: bool) -> None:
        config = load(changed({"monitoring.pull": {name: value, "port": "8440"}}))
        assert (config.monitoring.pull is not None) is listens
        if config.monitoring.pull is not None:
            assert config.monitoring.pull.port == 8440

    def test_has_an_older_name(self, caplog: pytest.LogCaptureFixture) -> None:
        load(changed({"monitoring.pull.enable": True}))
        assert caplog.messages == ["monitoring.pull.enable: deprecated; write enabled"]


IDLE: dict[str, Any] = {"reader": {"class": "noop"}, "writer": {"class": "noop"}}


class TestNoop:
    def test_a_config_without_anything_to_run(self, caplog: pytest.LogCaptureFixture) -> None:
        config = load(IDLE)
        assert (config.models, config.schedulers, config.reader.queries) == ({}, {}, {})
        assert config.server is not None
        assert caplog.messages == ["reader.class: noop reads nothing, so that no model runs"]
        assert load(resolved_yaml(config)) == config

    def test_other_keys_have_no_effect(self, caplog: pytest.LogCaptureFixture) -> None:
        keys = {"reader.datasource_url": "", "reader.sampling_period": None, "reader.tz": "UTC"}
        assert load(changed(keys, IDLE)) == load(IDLE)
        assert "reader.tz: has no effect: the class noop does nothing; remove it" in caplog.messages
        assert not any("datasource_url" in message for message in caplog.messages)

    def test_models_of_a_reader_that_reads_nothing_are_checked_and_dropped(self) -> None:
        rest = {key: MINIMAL[key] for key in ("models", "schedulers")}
        assert load(IDLE | rest).models == {}
        (problem,) = problems(changed({"models.z.z_threshold": -1}, IDLE | rest))
        assert problem.startswith("models.z.z_threshold: expected a number above 0")

    def test_a_scheduler_next_to_others(self, caplog: pytest.LogCaptureFixture) -> None:
        config = load(changed({"schedulers.idle": {"class": "noop"}}))
        assert set(config.schedulers) == {"live", "idle"}
        assert caplog.messages == ["schedulers.idle.class: noop runs no model"]
        assert load(resolved_yaml(config)) == config

    def test_a_writer_that_discards(self, caplog: pytest.LogCaptureFixture) -> None:
        config = load(MINIMAL | {"writer": {"class": "noop"}})
        assert config.models
        assert caplog.messages == [
            "writer.class: noop writes nothing: scores are computed and discarded"
        ]

    def test_other_readers_need_what_they_need(self) -> None:
        content = without("models", without("schedulers"))
        assert [problem.partition(":")[0] for problem in problems(content)] == [
            "schedulers",
            "models",
        ]


class TestPeriodOfStd:
    @pytest.mark.parametrize(
        ("step", "period"),
        [
            ("1m", 1440),
            ("1h", 24),
            ("12h", 2),
            ("13h", 12),
            ("1d", 7),
            ("2w", 2),
            ("500ms", 100_000),
        ],
    )
    def test_is_that_of_a_day_or_of_a_week(self, step: str, period: int) -> None:
        content = changed({"models.z": {"class": "std"}, "reader.queries.cpu.step": step})
        config = load(content)
        query = config.reader.queries["cpu"]
        model = create_model(config.models["z"], query)
        assert model.period == period  # type: ignore[attr-defined]
        create_detector(model, config.models["z"], [query])

    def test_as_it_is_set(self) -> None:
        config = load(changed({"models.z": {"class": "std", "period": 5}}))
        model = create_model(config.models["z"], config.reader.queries["cpu"])
        assert model.period == 5  # type: ignore[attr-defined]


def test_a_pattern_is_named_once() -> None:
    content = changed({"models.z.seasonalities": ["hod_smooth", "hod_smooth"]})
    content["models"]["z"]["class"] = "temporal_envelope"
    assert problems(content) == [
        "models.z.seasonalities: hod_smooth occurs more than once; remove the others"
    ]


class TestFolderOfCustomModels:
    @pytest.fixture
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Return the working folder and those of the image, in order."""
        names = ("work", "image/src", "image")
        folders = [tmp_path / name for name in names]
        for folder in folders:
            (folder / "model").mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(folders[0])
        monkeypatch.setattr(custom_section, "_IMAGE_FOLDERS", tuple(folders[1:]))
        return folders

    @pytest.mark.parametrize(
        ("class_name", "file"),
        [
            ("custom", "custom.py"),
            ("custom", "model/custom.py"),
            ("custom", "custom_model.py"),
            ("model.other.Mine", "other.py"),
            ("model.other.Mine", "model/other.py"),
            ("ours.forest.Mine", "ours/forest.py"),
            ("ours.Mine", "ours/__init__.py"),
        ],
    )
    def test_is_the_first_that_holds_the_file(
        self, folders: list[Path], class_name: str, file: str
    ) -> None:
        found = []
        for folder in reversed(folders):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).touch()
            section = load(changed({"models.z": {"class": class_name}})).models["z"]
            assert isinstance(section, CustomSection)
            found.append(section.class_folder)
        assert found == list(reversed(folders))

    def test_is_the_working_folder_if_no_folder_holds_it(self, folders: list[Path]) -> None:
        section = load(changed({"models.z": {"class": "custom"}})).models["z"]
        assert isinstance(section, CustomSection)
        assert section.class_folder == folders[0]

    def test_is_what_the_variable_says_wherever_the_file_is(self, folders: list[Path]) -> None:
        (folders[1] / "custom.py").touch()
        environ = {"VMANOMALY_CUSTOM_MODELS_DIR": str(folders[2])}
        section = load(changed({"models.z": {"class": "custom"}}), environ).models["z"]
        assert isinstance(section, CustomSection)
        assert section.class_folder == folders[2]


class TestWholeConfigs:
    def test_as_a_chart_writes_it(self) -> None:
        chart = {
            "preset": "",
            "settings": {"restore_state": False},
            "monitoring": {"pull": {"enabled": True, "port": 8440}},
            "models": {"range": {"class": "zscore", "z_threshold": 3.0}},
            "schedulers": {"once": {"class": "periodic", "infer_every": "1m", "fit_window": "2d"}},
            "reader": {
                "class": "vm",
                "datasource_url": "http://select:8481/select/",
                "queries": {"series": "sum(vm_cache_entries)"},
                "sampling_period": "1m",
                "tenant_id": "",
            },
            "writer": {
                "class": "vm",
                "datasource_url": "http://insert:8480/insert/",
                "tenant_id": "",
            },
        }
        config = load(chart)
        assert list(config.models) == ["range"]
        assert config.reader.queries["series"].tenant_id is None

    def test_as_an_operator_writes_it(self) -> None:
        operator = {
            "models": {
                "m": {
                    "class": "model.online.StdModel",
                    "queries": ["q"],
                    "ttl": "2d",
                    "forecast_at": ["1h"],
                }
            },
            "schedulers": {"s": BACKTEST | RANGE | {"from_s": 0, "to_s": 0, "exact": True}},
            "reader": {
                "class": "vm",
                "datasource_url": "http://read:8428",
                "sampling_period": "30s",
                "data_range": ["0", "inf"],
                "verify_tls": False,
                "queries": {"q": {"expr": "up", "data_range": ["-inf", "1"]}},
            },
            "writer": {"class": "vm", "datasource_url": "http://write:8428"},
            "monitoring": {"pull": {"addr": "0.0.0.0", "port": "8080"}},
            "server": {"port": "8490", "path_prefix": "/"},
        }
        config = load(operator)
        assert config.server is not None
        assert (config.server.port, config.server.path_prefix) == (8490, "")
        assert config.monitoring.pull is not None
        assert config.monitoring.pull.port == 8080
        assert config.reader.queries["q"].data_range == (float("-inf"), 1.0)


class TestMistakesOfGuides:
    def test_a_key_of_the_reader_among_its_queries(self) -> None:
        assert problems(changed({"reader.queries.extra_filters": ['{job="a"}']})) == [
            (
                "reader.queries.extra_filters: a key of reader, not the alias of a query; move it "
                "out of queries"
            )
        ]

    def test_dots_for_what_is_left_out(self) -> None:
        (problem,) = problems("reader:\n  sampling_period: 1m\n  ...\n")
        assert problem.endswith("a line of ... cannot stand for what is left out: remove it")

    def test_keys_of_a_kubernetes_resource(self) -> None:
        assert problems(changed({"reader.datasourceURL": "http://x"})) == [
            "reader.datasourceURL: unknown key; did you mean datasource_url?"
        ]
