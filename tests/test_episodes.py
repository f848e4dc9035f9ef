import logging
import threading

import pytest

from tests.fakes import SteppedClock
from vmanomaly.episodes import Episodes

logger = logging.getLogger("vmanomaly.test")


@pytest.fixture(autouse=True)
def log_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "vmanomaly")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (line.levelname, line.getMessage())
        for line in caplog.records
        if line.levelno > logging.DEBUG
    ]


def test_an_episode_is_told_when_it_begins_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SteppedClock()
    episodes = Episodes(logger, clock)
    assert episodes.end("disk", "The disk has space again") is None
    for number in range(3):
        clock.advance(20_000)
        assert episodes.begin("disk", f"full {number}", logging.ERROR) is (number == 0)
    clock.advance(20_000)
    over = episodes.end("disk", "The disk has space again")
    assert over is not None
    assert (over.n, over.seconds) == (3, 60.0)
    assert told(caplog) == [
        ("ERROR", "full 0"),
        ("INFO", "The disk has space again after 60 s and 3 failures"),
    ]
    assert [line.message for line in caplog.records if line.levelno == logging.DEBUG] == [
        "full 1",
        "full 2",
    ]
    assert episodes.begin("disk", "full 3")


def test_keys_are_episodes_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    episodes = Episodes(logger)
    episodes.begin("a", "a fails")
    episodes.begin("b", "b fails")
    episodes.end("a")
    episodes.begin("b", "b fails")
    episodes.begin("a", "a fails")
    assert [message for _, message in told(caplog)] == ["a fails", "b fails", "a fails"]


def test_a_change_of_the_cause_is_told_and_the_episode_continues() -> None:
    episodes = Episodes(logger)
    causes = ["full", "full", "locked", "full", "full"]
    news = [episodes.begin("disk", cause, cause=cause) for cause in causes]
    assert news == [True, False, True, True, False]
    over = episodes.end("disk")
    assert over is not None
    assert over.n == 5


def test_what_lasts_is_told_again_where_that_is_wanted() -> None:
    clock = SteppedClock()
    episodes = Episodes(logger, clock, again_after_s=600.0)
    news = []
    for _ in range(25):
        news.append(episodes.begin("tenant", "no account"))
        clock.advance(60_000)
    assert [number for number, is_news in enumerate(news) if is_news] == [0, 10, 20]


def test_an_error_comes_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    Episodes(logger).begin("unit", "cannot be stored", error=ZeroDivisionError("oops"))
    (line,) = caplog.records
    assert line.exc_info is not None
    assert isinstance(line.exc_info[1], ZeroDivisionError)


def test_a_message_may_hold_percent_signs(caplog: pytest.LogCaptureFixture) -> None:
    episodes = Episodes(logger)
    episodes.begin("push", "http://vm/?a=%s%20b fails")
    episodes.end("push", "http://vm/?a=%s%20b works")
    assert [message.split(" after")[0] for _, message in told(caplog)] == [
        "http://vm/?a=%s%20b fails",
        "http://vm/?a=%s%20b works",
    ]


def test_the_number_of_episodes_is_bounded() -> None:
    episodes = Episodes(logger, max_keys=10)
    for key in range(25):
        episodes.begin(key, "fails")
    assert [key for key in range(25) if episodes.end(key) is not None] == list(range(15, 25))


def test_clear_ends_all_without_a_line(caplog: pytest.LogCaptureFixture) -> None:
    episodes = Episodes(logger)
    episodes.begin("a", "a fails")
    episodes.clear()
    assert episodes.end("a", "a works") is None
    assert told(caplog) == [("WARNING", "a fails")]


def test_of_many_threads_one_tells_the_beginning_and_one_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    episodes = Episodes(logger)
    together = threading.Barrier(8)

    def fail() -> None:
        together.wait(60)
        for _ in range(100):
            episodes.begin("a", "a fails")
        together.wait(60)
        episodes.end("a", "a works")

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begin, end = told(caplog)
    assert begin == ("WARNING", "a fails")
    assert end[1].startswith("a works after ")
    assert end[1].endswith(" and 800 failures")
