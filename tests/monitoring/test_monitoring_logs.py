from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from vmanomaly.logs import configure_logging, set_logger_levels

NAMES = ("vmanomaly", "vmanomaly.reader", "vmanomaly.reader.vm", "vmanomaly.writer.vm")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in NAMES]
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, level in zip(NAMES, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


def test_lines_name_the_component(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    logging.getLogger("vmanomaly.reader.vm").info("read %d series", 3)
    logging.getLogger("vmanomaly.reader.vm").debug("not shown")
    logging.getLogger("urllib3").info("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Z INFO reader.vm read 3 series")


def test_the_more_specific_level_wins() -> None:
    configure_logging("INFO")
    set_logger_levels({"reader.vm": "debug", "reader": "ERROR", "vmanomaly": "warning"})
    levels = [logging.getLogger(name).getEffectiveLevel() for name in NAMES]
    assert levels == [logging.WARNING, logging.ERROR, logging.DEBUG, logging.WARNING]
