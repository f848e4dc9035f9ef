from __future__ import annotations

import io
import json
import logging
import threading
import warnings

import pytest

from vmanomaly.logs import (
    JsonFormatter,
    TextFormatter,
    configure_logging,
    set_logger_levels,
    warnings_only,
)

NAMES = ("vmanomaly", "vmanomaly.reader", "vmanomaly.reader.vm", "vmanomaly.writer.vm")


def test_lines_name_the_component(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    logging.getLogger("vmanomaly.reader.vm").info("read %d series", 3)
    logging.getLogger("vmanomaly.reader.vm").debug("not shown")
    logging.getLogger("urllib3").info("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Z INFO reader.vm read 3 series")


def test_the_more_specific_level_wins() -> None:
    configure_logging("INFO")
    set_logger_levels({"reader.vm": "debug", "reader": "ERROR", "vmanomaly": "warning"}, "INFO")
    levels = [logging.getLogger(name).getEffectiveLevel() for name in NAMES]
    assert levels == [logging.WARNING, logging.ERROR, logging.DEBUG, logging.WARNING]


def test_levels_that_are_no_longer_set_follow_the_command_line_again() -> None:
    configure_logging("INFO")
    set_logger_levels({"reader.vm": "debug", "vmanomaly": "warning"}, "INFO")
    set_logger_levels({"writer": "error"}, "INFO", before=["reader.vm", "vmanomaly"])
    levels = [logging.getLogger(name).getEffectiveLevel() for name in NAMES]
    assert levels == [logging.INFO, logging.INFO, logging.INFO, logging.ERROR]


def test_json_has_a_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    logger = logging.getLogger("vmanomaly.service.unit")
    try:
        raise ZeroDivisionError("in the\nmodel")
    except ZeroDivisionError:
        logger.exception("Error during stage '%s'", "fit")
    logger.error("wrong", extra={"problems": ["a: b", "c: ü \ud800"]})
    error, wrong = map(json.loads, capsys.readouterr().err.splitlines())
    assert list(error) == ["time", "level", "logger", "message", "trace"]
    assert error["logger"] == "service.unit"
    assert error["message"] == "Error during stage 'fit'"
    assert error["trace"].endswith("ZeroDivisionError: in the\nmodel")
    assert wrong["problems"] == ["a: b", "c: ü \ud800"]


def test_a_message_cannot_look_like_another_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    logging.getLogger("vmanomaly.cli").info("alias '%s'", "a\n2026-01-01 ERROR \x1b[31mb\u2028ü")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("alias 'a\\n2026-01-01 ERROR \\x1b[31mb\\u2028ü'")


def test_problems_follow_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    logging.getLogger("vmanomaly.cli").error("wrong", extra={"problems": ["a: b", "c: d"]})
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR cli wrong")
    assert others == ["  a: b", "  c: d"]


def test_warnings_and_errors_of_threads_are_events_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="t")
    thread.start()
    thread.join()
    warning, error = map(json.loads, capsys.readouterr().err.splitlines())
    assert warning["logger"] == "py.warnings"
    assert error["message"] == "The thread 't' ended with an error"
    assert "ZeroDivisionError" in error["trace"]


def test_only_warnings_are_logged_above_a_progress_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("INFO")
    logger = logging.getLogger("vmanomaly.reader.vm")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", bar := io.StringIO())
        with warnings_only():
            logger.info("hidden")
            logger.warning("above")
    logger.info("after")
    assert bar.getvalue().endswith("WARNING reader.vm above\n")
    assert bar.getvalue().count("\n") == 1
    assert capsys.readouterr().err.endswith("INFO reader.vm after\n")


def test_a_line_of_a_member_says_which() -> None:
    record = logging.makeLogRecord(
        {
            "created": 0.25,
            "levelname": "ERROR",
            "name": "vmanomaly.reader.vm",
            "msg": "broken",
            "exc_text": "Traceback: x",
            "member": 2,
        }
    )
    assert (
        TextFormatter().format(record)
        == "1970-01-01T00:00:00.250Z ERROR reader.vm member 2: broken\nTraceback: x"
    )
    event = json.loads(JsonFormatter().format(record))
    assert (event["member"], event["message"], event["trace"]) == (2, "broken", "Traceback: x")
