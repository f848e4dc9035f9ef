"""The distance between the scores that a database holds."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson

from vmanomaly.config.reader import VmReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import DatasourceError, TooLargeError, UsageError
from vmanomaly.http import HttpClient, data_of, redact_url
from vmanomaly.series import IntArray, TimeRange

_FIRST_WINDOW_MS = 3_600_000
_GROWTH = 8
_ENOUGH_SAMPLES = 10
_MAX_BYTES = 64 << 20


def find_step(section: VmReaderSection, time_range: TimeRange, selector: str) -> Duration | None:
    """Return how far apart the samples of some series are, those of the densest series.

    The newest samples tell; the window in which they are looked for grows until it holds enough.

    Parameters
    ----------
    section
        How to connect to the database.
    time_range
        Where samples may be.
    selector
        Of the series.

    Returns
    -------
    Duration or None
        The most frequent distance, milliseconds. None if no series has two samples.

    Raises
    ------
    DatasourceError
        The server cannot be reached or refuses the query.
    UsageError
        The series that tells has too many samples.
    """
    client = HttpClient(section, "reader")
    length, window = time_range.end - time_range.start, _FIRST_WINDOW_MS

    def ask(expr: str) -> Any:
        return _ask(client, section, expr, time_range.end)

    try:
        while True:
            window = min(window, length)
            found = ask(f"topk(1, count_over_time({selector}[{window}ms]))")
            n_samples = float(found[0]["value"][1]) if found else 0
            if n_samples >= _ENOUGH_SAMPLES or window == length:
                break
            window *= _GROWTH
        if n_samples < 2:
            return None
        # Functions drop the name, so that it is not known which of the names it is.
        samples = ask(f"{_narrowed(selector, found[0]['metric'])}[{window}ms]")
        times = [np.array([round(1000 * at) for at, _ in each["values"]]) for each in samples]
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise DatasourceError(
            f"{redact_url(section.datasource_url)} answered with something other than samples. Is "
            "`reader.datasource_url` right?",
            "io_error",
        ) from error
    except TooLargeError as error:
        raise UsageError(
            "the distance of the scores cannot be told, since a series has too many of them in "
            f"{Duration(window)}; give --step, or a shorter --since"
        ) from error
    finally:
        client.close()
    return most_frequent_distance(max(times, key=len)) if times else None


def most_frequent_distance(timestamps: IntArray) -> Duration | None:
    """Return the most frequent distance between two neighbours, the shortest of several.

    Parameters
    ----------
    timestamps : ndarray of int64
        Unix milliseconds, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> print(most_frequent_distance(np.array([0, 1, 2, 7, 8, 9, 30]) * 300_000))
    5m
    >>> most_frequent_distance(np.array([0])) is None
    True
    """
    distances, counts = np.unique(np.diff(timestamps), return_counts=True)
    return Duration(int(distances[counts.argmax()])) if distances.size else None


def _narrowed(selector: str, labels: dict[str, str]) -> str:
    matchers = [
        f"{name}={orjson.dumps(value).decode()}"
        for name, value in labels.items()
        if name != "__name__"
    ]
    return selector[:-1] + "".join(f",{each}" for each in matchers) + "}"


def _ask(client: HttpClient, section: VmReaderSection, expr: str, at: int) -> Any:
    """Return the `result` of an instant query."""
    arguments = [("query", expr), ("time", f"{at / 1000:.3f}")]
    arguments += [("extra_filters[]", each) for each in section.extra_filters]
    url = client.url("api/v1/query", section.tenant_id)
    answer = client.request("GET", f"{url}?{urlencode(arguments)}", max_bytes=_MAX_BYTES)
    return data_of(answer, redact_url(section.datasource_url))["result"]
