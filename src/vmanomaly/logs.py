"""One line per event: time, level, logger, message; as text, or as JSON for log collectors."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TextIO

from vmanomaly.exhaustion import exhausted
from vmanomaly.printable import on_one_line

_ROOT = "vmanomaly"
_PACKAGE = f"{_ROOT}."

LogFormat = Literal["text", "json"]

logger = logging.getLogger(__name__)


class TextFormatter(logging.Formatter):
    """Formats a record as one line; a trace, or a list of problems, follows on separate lines.

    Of a member of a cluster, the line says which.

    Examples
    --------
    >>> record = logging.makeLogRecord(
    ...     {"created": 0.25, "levelname": "INFO", "name": "vmanomaly.reader.vm", "msg": "ready"}
    ... )
    >>> TextFormatter().format(record)
    '1970-01-01T00:00:00.250Z INFO reader.vm ready'
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(component)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        member = _member(record)
        of_member = "" if member is None else f" member {member}:"
        record.component = f"{_component(record)}{of_member}"
        return "\n  ".join([super().format(record), *_problems(record)])

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line without a trace: a single one, whatever the message holds."""
        return on_one_line(super().formatMessage(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time of a record in ISO 8601, UTC, with milliseconds."""
        return _iso_time(record)


class JsonFormatter(logging.Formatter):
    r"""Formats a record as one line of JSON, pure ASCII, whatever it holds.

    The keys are `time`, `level`, `logger` and `message`; `member` is there in a cluster, `trace`
    when there is one, and `problems` when a configuration is wrong.

    Examples
    --------
    >>> record = logging.makeLogRecord(
    ...     {"created": 0.25, "levelname": "INFO", "name": "vmanomaly.cli", "msg": "a\nb"}
    ... )
    >>> print(JsonFormatter().format(record))
    {"time": "1970-01-01T00:00:00.250Z", "level": "INFO", "logger": "cli", "message": "a\nb"}
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        event: dict[str, str | int | list[str]] = {
            "time": _iso_time(record),
            "level": record.levelname,
            "logger": _component(record),
            "message": record.getMessage(),
        }
        if (member := _member(record)) is not None:
            event["member"] = member
        if record.exc_text:
            event["trace"] = record.exc_text
        elif record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        if problems := _problems(record):
            event["problems"] = problems
        return json.dumps(event)


_FORMATTERS: dict[LogFormat, type[logging.Formatter]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
}


def configure_logging(level: str, log_format: LogFormat = "text") -> None:
    """Send everything from `level` on to standard error, warnings and uncaught errors included."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[log_format]())
    handler.addFilter(_name_exhausted)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _log_uncaught


def set_logger_levels(levels: Mapping[str, str], default: str, before: Iterable[str] = ()) -> None:
    """Set the level of components by prefix; of several that match, the longest applies.

    Parameters
    ----------
    levels
        Level by component, as in the section `settings.logger_levels`: `reader.vm`, `model`, or
        `vmanomaly` for all.
    default
        The level of all others.
    before
        Components whose levels were set earlier.
    """
    for component in before:
        _logger_of(component).setLevel(logging.NOTSET)
    logging.getLogger(_ROOT).setLevel(default)
    for component, level in levels.items():
        _logger_of(component).setLevel(level.upper())


def _logger_of(component: str) -> logging.Logger:
    name = component.removeprefix(_PACKAGE)
    return logging.getLogger(_ROOT if name == _ROOT else _PACKAGE + name)


@contextmanager
def warnings_only() -> Iterator[None]:
    """Log only warnings and worse while the block runs, to what is standard error meanwhile.

    A progress bar replaces standard error, so that lines appear above it.
    """
    handlers: list[logging.StreamHandler[TextIO]] = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [(handler, handler.level, handler.stream) for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.WARNING)
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, level, stream in before:
            handler.setLevel(level)
            handler.setStream(stream)


def _name_exhausted(record: logging.LogRecord) -> bool:
    """Put the resource that is used up in place of a trace: where it was noticed says nothing."""
    remedy = exhausted(record.exc_info[1]) if record.exc_info else None
    if remedy is not None:
        record.msg, record.args = f"{record.getMessage()}: {remedy}", ()
        record.exc_info = record.exc_text = None
    return True


def _component(record: logging.LogRecord) -> str:
    return record.name.removeprefix(_PACKAGE)


def _member(record: logging.LogRecord) -> int | None:
    member: int | None = getattr(record, "member", None)
    return member


def _problems(record: logging.LogRecord) -> list[str]:
    problems: list[str] = getattr(record, "problems", [])
    return problems


def _iso_time(record: logging.LogRecord) -> str:
    seconds, fraction = divmod(record.created, 1)
    day_and_time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{day_and_time}.{int(fraction * 1000):03d}Z"


def _log_uncaught(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is not None:
        name = arguments.thread.name if arguments.thread else "?"
        logger.critical("The thread '%s' ended with an error", name, exc_info=error)
