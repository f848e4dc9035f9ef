from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.config.values.duration import Duration

SECOND, MINUTE, HOUR, DAY, WEEK = 1_000, 60_000, 3_600_000, 86_400_000, 604_800_000


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("50s", 50 * SECOND),
        ("4m", 4 * MINUTE),
        ("3h", 3 * HOUR),
        ("2d", 2 * DAY),
        ("1w", WEEK),
        ("1ms", 1),
        ("1000d", 1000 * DAY),
        ("1h30m", 90 * MINUTE),
        ("1w2d3h4m5s6ms", WEEK + 2 * DAY + 3 * HOUR + 4 * MINUTE + 5 * SECOND + 6),
        ("1m5ms", MINUTE + 5),
        ("1.5h", 90 * MINUTE),
        ("1D", DAY),
        ("1W", WEEK),
        ("0s", 0),
        (" 5m ", 5 * MINUTE),
        ("-15s", -15 * SECOND),
        ("+15s", 15 * SECOND),
        ("PT1H", HOUR),
        ("P7D", 7 * DAY),
        ("P1H", HOUR),
        ("PT1D", DAY),
        ("P14D", 14 * DAY),
        ("PT12H", 12 * HOUR),
        ("PT1M", MINUTE),
        ("P1DT12H", 36 * HOUR),
        ("P1W", WEEK),
        ("PT0.5S", 500),
        ("-PT15S", -15 * SECOND),
    ],
)
def test_parse(text: str, milliseconds: int) -> None:
    assert Duration.parse(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a duration such as"),
        ("P", "expected a duration such as"),
        ("PT", "expected a duration such as"),
        ("PT1DT1H", "expected a duration such as"),
        ("five minutes", "expected a duration such as"),
        ("5 minutes", "expected a duration such as"),
        ("30m1h", "expected a duration such as"),
        ("1h1h", "expected a duration such as"),
        ("1y", "expected a duration such as"),
        ("--1s", "expected a duration such as"),
        ("60", "write 60s for seconds"),
        ("5M", "write 5m for minutes"),
        ("P1M", "write PT1M or 1m for minutes"),
        ("0.1ms", "the finest is 1ms"),
        ("999999999999999w", "the longest is"),
    ],
)
def test_parse_refuses(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="expected a duration") as caught:
        Duration.parse(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("90s", "1m30s"),
        ("14d", "2w"),
        ("1000d", "1000d"),
        ("36h", "1d12h"),
        ("0h", "0s"),
        ("-90s", "-1m30s"),
        ("1500ms", "1s500ms"),
    ],
)
def test_text_is_short(text: str, short: str) -> None:
    assert str(Duration.parse(text)) == short


@given(st.integers(-(2**53), 2**53))
def test_text_gives_the_same_duration(milliseconds: int) -> None:
    assert Duration.parse(str(Duration(milliseconds))) == milliseconds


@given(st.text(max_size=20))
def test_no_text_gives_anything_but_a_duration_or_a_message(text: str) -> None:
    try:
        assert isinstance(Duration.parse(text), Duration)
    except ValueError as error:
        assert str(error).startswith("expected a duration")  # noqa: PT017 - both outcomes are right


def test_seconds() -> None:
    assert Duration.parse("1m500ms").seconds == 60.5
