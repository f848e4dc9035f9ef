"""One line an event: time, level, logger, message."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping

_PACKAGE = "vmanomaly."


class Formatter(logging.Formatter):
    """Formats a record as one line; a trace, where there is one, follows on lines of its own.

    Examples
    --------
    >>> record = logging.makeLogRecord(
    ...     {"created": 0.25, "levelname": "INFO", "name": "vmanomaly.reader.vm", "msg": "ready"}
    ... )
    >>> Formatter().format(record)
    '1970-01-01T00:00:00.250Z INFO reader.vm ready'
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(component)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        record.component = record.name.removeprefix(_PACKAGE)
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time of a record in ISO 8601, UTC, with milliseconds."""
        seconds, fraction = divmod(record.created, 1)
        day_and_time = time.strftime(datefmt or "%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{day_and_time}.{int(fraction * 1000):03d}Z"


def configure_logging(level: str) -> None:
    """Send everything from `level` on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("vmanomaly").setLevel(level)


def set_logger_levels(levels: Mapping[str, str]) -> None:
    """Set the level of components by prefix; of several that match, the longest holds.

    Parameters
    ----------
    levels
        Level by component, as in the section `settings.logger_levels`: `reader.vm`, `model`, or
        `vmanomaly` for all.
    """
    for component, level in levels.items():
        name = component.removeprefix(_PACKAGE)
        full_name = "vmanomaly" if name == "vmanomaly" else _PACKAGE + name
        logging.getLogger(full_name).setLevel(level.upper())
