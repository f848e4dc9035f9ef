"""Durations that cannot work together, and keys that do nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import yaml

from tests.config_helpers import MINIMAL, changed, load, problems


def warnings(changes: dict[str, Any], caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load(changed(changes))
    return caplog.messages


@pytest.mark.parametrize(
    ("changes", "path", "remedy"),
    [
        (
            {"reader.sampling_period": "5m"},
            "schedulers.live.infer_every",
            "set it to 5m or more, or the step to 1m",
        ),
        (
            {"reader.queries.cpu.step": "2m"},
            "schedulers.live.infer_every",
            "the query cpu (2m)",
        ),
        (
            {"schedulers.live.infer_every": "1h", "schedulers.live.fit_every": "30m"},
            "schedulers.live.fit_every",
            "set it to 1h or more",
        ),
        (
            {"schedulers.live.fit_window": "30s"},
            "schedulers.live.fit_window",
            "30s is shorter than the step of the query cpu (1m)",
        ),
        ({"reader.timeout": "2m"}, "reader.timeout", "set it to 1m or less"),
        (
            {"settings.retention": {"ttl": "1h", "check_interval": "2h"}},
            "settings.retention.check_interval",
            "set it to 1h or less",
        ),
        ({"models.z.args": {"a": 1}}, "models.z.args", "no library model inside"),
    ],
)
def test_warning(
    changes: dict[str, Any], path: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    (warning,) = warnings(changes, caplog)
    assert warning.startswith(f"{path}: ")
    assert remedy in warning


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reader.sampling_period": "1m", "schedulers.live.infer_every": "1m"},
        {"schedulers.live.infer_every": "10s", "reader.sampling_period": "10s"},
        {"reader.timeout": "1m"},
        {"settings.retention": {"ttl": "1h", "check_interval": "1h"}},
        {"server": {"max_concurrent_tasks": 2, "ui_default_state": "#/?a=1"}},
        {"models.z.class": "custom", "models.z.args": {"a": 1}},
        {"models.z.args": {}},
    ],
)
def test_no_warning(changes: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(changes, caplog) == []


def test_a_key_twice(caplog: pytest.LogCaptureFixture) -> None:
    load("settings: {n_workers: 1,\n n_workers: 2}\n" + yaml.safe_dump(MINIMAL))
    (warning,) = caplog.messages
    assert warning.startswith(
        "settings.n_workers: occurs a second time here, and this one counts ("
    )
    assert warning.endswith("config.yaml:2); remove one of them")


def test_the_least_latency_offset_is_sent_in_place_of_none() -> None:
    reader = load(changed({"reader.latency_offset": "0s"})).reader
    assert int(reader.latency_offset) == 1  # type: ignore[attr-defined]


ENVELOPE = "temporal_envelope_multivariate"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {
                "models.z.class": ENVELOPE,
                "models.z.max_channels": 10,
                "models.z.recommended_max_channels": 11,
            },
            "models.z.recommended_max_channels: must not be above max_channels (10)",
        ),
        ({"models.z.class": ENVELOPE, "models.z.args": {"a": 1}}, "models.z.args: must be empty"),
        (
            {"reader.extra_filters": ["a=b"]},
            ("reader.extra_filters[0]: expected a series selector, got 'a=b'; write '{a=\"b\"}'"),
        ),
        (
            {"reader.extra_filters": ["a b"]},
            (
                "reader.extra_filters[0]: expected a series selector, got 'a b'; "
                "write '{env=\"prod\"}'"
            ),
        ),
    ],
)
def test_error(changes: dict[str, Any], problem: str) -> None:
    (found,) = problems(changed(changes))
    assert found.startswith(problem)


def test_right_selectors_and_channels() -> None:
    filters = ['{a="b"}', "up", 'up{a=~"b|c"}', '{a="b" or c="d"}']
    channels = {"class": ENVELOPE, "max_channels": 50}
    changes: dict[str, Any] = {"reader.extra_filters": filters}
    changes |= {f"models.z.{key}": value for key, value in channels.items()}
    assert load(changed(changes)).reader.extra_filters == tuple(filters)  # type: ignore[attr-defined]
