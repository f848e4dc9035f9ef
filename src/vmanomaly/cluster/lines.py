"""What a member logs, on its way to the log of the head."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

_MAX_LINES = 1_000
_FORMATTER = logging.Formatter()


@dataclass(frozen=True)
class Line:
    """An event that a member logged.

    Attributes
    ----------
    created
        When, Unix seconds.
    level
        As a number of `logging`.
    name
        Of the logger.
    message
        What happened.
    trace
        Of an exception; None if there is none.
    problems
        Those of a configuration.
    """

    created: float
    level: int
    name: str
    message: str
    trace: str | None = None
    problems: tuple[str, ...] = ()

    def record(self, member: int) -> logging.LogRecord:
        """Return the event as the head logs it."""
        return logging.makeLogRecord(
            {
                "created": self.created,
                "levelno": self.level,
                "levelname": logging.getLevelName(self.level),
                "name": self.name,
                "msg": self.message,
                "exc_text": self.trace,
                "problems": list(self.problems),
                "member": member,
            }
        )


class Lines(logging.Handler):
    """Keeps the latest events until they are taken, at most 1,000.

    Examples
    --------
    >>> lines = Lines()
    >>> lines.handle(logging.makeLogRecord({"msg": "ready"}))
    True
    >>> [line.message for line in lines.take()], lines.take()
    (['ready'], ())
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=_MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an event."""
        trace = _FORMATTER.formatException(record.exc_info) if record.exc_info else None
        line = Line(
            record.created,
            record.levelno,
            record.name,
            record.getMessage(),
            trace,
            tuple(getattr(record, "problems", ())),
        )
        self._lines.append(line)

    def take(self) -> tuple[Line, ...]:
        """Return the events since the last call, the oldest first."""
        return tuple(self._lines.popleft() for _ in range(len(self._lines)))
