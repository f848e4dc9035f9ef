"""The kinds of values a key can have: each reads what YAML gives and says what it expects.

A reader of a value raises `ValueError`. A message that starts with "expected" is shown together
with the bad value, any other on its own.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, PlainValidator, SecretStr, WithJsonSchema

from vmanomaly.config.problems import MOST_TOLD, InvalidItemsError, suggest
from vmanomaly.config.secrets import REDACTED
from vmanomaly.config.values.duration import EXPECTED, Duration
from vmanomaly.config.values.scalar import (
    EnvironmentText,
    WrittenFloat,
    WrittenInt,
    environment_text,
    plain,
    resolve,
)

Result = TypeVar("Result")

OUTPUT_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_TENANT = re.compile(r"(\d{1,10})(?::(\d{1,10}))?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|B|[KMGT]i?B?)")
_SIZE_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_MIN_RESPONSE_BYTES = 1 << 20
_LARGEST_ACCOUNT = 2**32 - 1
DURATION_SCHEMA = {"type": "string", "format": "duration", "examples": ["1h"]}
_RANGE_SCHEMA = {
    "type": "array",
    "items": {"anyOf": [{"type": "number"}, {"enum": ["-inf", "inf"]}]},
    "minItems": 2,
    "maxItems": 2,
    "examples": [[0, "inf"]],
}
_DIRECTIONS = ("both", "above_expected", "below_expected")


def stripped(text: str) -> str:
    """Return text without surrounding white space; text from the environment remembers that."""
    if text == text.strip():
        return text
    if isinstance(text, EnvironmentText):
        return EnvironmentText(text.strip(), text.placeholder)
    return text.strip()


def as_text(value: object) -> str:
    """Read text; a plain number gives the text it was written as.

    Text from environment variables remembers their names, which are shown instead of it.
    """
    if (from_environment := environment_text(value)) is not None:
        return from_environment
    if isinstance(value, WrittenInt | WrittenFloat):
        value = value.text
    if isinstance(value, bool):
        spelling = str(value).lower()
        raise ValueError(f"expected text; put it in quotes if it is text: '{spelling}'")
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("expected text")
    return str(value)


def filled_text(value: object) -> str:
    """Read text that is not empty."""
    text = as_text(value)
    if not text.strip():
        raise ValueError("expected text that is not empty")
    return text


def as_number(value: object) -> float:
    """Read a number, also from text; NaN where it is none."""
    if isinstance(value, str):
        value = resolve(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def number(
    what: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> PlainValidator:
    """Make a reader of finite numbers, called `what`, within bounds as in `pydantic.Field`."""

    def read(value: object) -> float:
        result = as_number(value)
        if not (
            math.isfinite(result)
            and (gt is None or result > gt)
            and (ge is None or result >= ge)
            and (lt is None or result < lt)
            and (le is None or result <= le)
        ):
            raise ValueError(f"expected {what}")
        return result

    written = Annotated[float, Field(gt=gt, ge=ge, lt=lt, le=le)]
    return PlainValidator(read, json_schema_input_type=written)


_LARGEST_WHOLE = 2**53
"""Above it, not every whole number is a float."""


def whole(minimum: int | None = None, maximum: int | None = None) -> PlainValidator:
    """Make a reader of whole numbers within bounds, both included."""
    what = "a whole number"
    if minimum is not None and maximum is not None:
        what += f" from {minimum} to {maximum}"
    elif minimum is not None:
        what += f" of {minimum} or more"

    def read(value: object) -> int:
        result = as_number(value)
        above = minimum is None or result >= minimum
        below = maximum is None or result <= maximum
        if not (result.is_integer() and above and below):
            raise ValueError(f"expected {what}")
        if abs(result) > _LARGEST_WHOLE:
            raise ValueError(f"expected {what}, not above {_LARGEST_WHOLE}")
        return int(result)

    written = Annotated[int, Field(ge=minimum, le=maximum)]
    return PlainValidator(read, json_schema_input_type=written)


def choice(*names: str) -> PlainValidator:
    """Make a reader of one of several names."""
    return PlainValidator(one_of(*names), json_schema_input_type=Literal[names])


def as_duration(value: object, minimum_ms: int | None, wording: str = "not negative") -> Duration:
    """Read a duration of at least `minimum_ms`; None allows negative ones."""
    if isinstance(value, Duration):
        result = value
    elif isinstance(value, int | float) and value == 0 and not isinstance(value, bool):
        result = Duration(0)
    elif isinstance(value, str | WrittenInt | WrittenFloat):
        result = _duration(value)
    else:
        raise ValueError(EXPECTED)
    if minimum_ms is not None and result < minimum_ms:
        raise ValueError(f"{EXPECTED}, {wording}")
    return result


def _duration(value: object) -> Duration:
    try:
        return Duration.parse(as_text(value))
    except ValueError:
        if environment_text(value) is None:
            raise
        # Its hint holds the value.
        raise ValueError(EXPECTED) from None


def duration(minimum_ms: int | None, wording: str = "not negative") -> PlainValidator:
    """Make a reader of durations of at least `minimum_ms`; None allows negative ones."""
    return PlainValidator(
        lambda value: as_duration(value, minimum_ms, wording),
        json_schema_input_type=Annotated[str, WithJsonSchema(DURATION_SCHEMA)],
    )


def as_texts(value: object, item: Callable[[object], str] = filled_text) -> tuple[str, ...]:
    """Read a list of texts, each read by `item`."""
    if not isinstance(value, list | tuple):
        raise ValueError("expected a list such as [a, b]")
    return tuple(read_each(enumerate(value), item))


def texts(item: Callable[[object], str] = filled_text) -> PlainValidator:
    """Make a reader of lists of texts, each read by `item`."""
    return PlainValidator(lambda value: as_texts(value, item), json_schema_input_type=list[str])


def choices(*names: str) -> PlainValidator:
    """Make a reader of lists of some of several names."""
    read = one_of(*names)
    one = Annotated[str, WithJsonSchema({"type": "string", "enum": list(names)})]
    return PlainValidator(lambda value: as_texts(value, read), json_schema_input_type=list[one])


def one_of(*names: str) -> Callable[[object], str]:
    """Make a function that reads one of several names."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return str(value)

    return read


def read_each(
    items: Iterable[tuple[str | int, object]], read: Callable[[object], Result]
) -> list[Result]:
    """Read every item; raise `InvalidItemsError` with the first 100 wrong ones."""
    results: list[Result] = []
    wrong: list[tuple[str | int, object, str]] = []
    for key, item in items:
        try:
            results.append(read(item))
        except ValueError as error:
            wrong.append((key, item, str(error)))
            if len(wrong) == MOST_TOLD:
                break
    if wrong:
        raise InvalidItemsError(wrong)
    return results


def check_names(names: Iterable[str], pattern: re.Pattern[str], what: str) -> None:
    """Raise `InvalidItemsError` with every name that is not a valid `what`."""
    wrong: list[tuple[str | int, object, str]] = [
        (name, None, f"not a valid {what}") for name in names if not pattern.fullmatch(name)
    ]
    if wrong:
        raise InvalidItemsError(wrong)


def _flag(value: object) -> bool:
    if isinstance(value, str):
        value = resolve(value.strip())
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError("expected true or false")


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping")
    if holds_redacted(value):
        raise ValueError("a secret in it was redacted; write it again, or as %{NAME}")
    return plain(dict(value))  # type: ignore[return-value]


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping of label names to values")
    check_names(value, LABEL_NAME, "label name")
    return dict(zip(value, read_each(value.items(), as_text), strict=True))


def as_time_zone(value: object) -> str:
    """Read the IANA name of a time zone."""
    name = as_text(value)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        hint = suggest(name, sorted(available_timezones()))
        hint = hint if hint.startswith("did") else "such as Europe/Kyiv"
        raise ValueError(f"expected the IANA name of a time zone ({hint})") from error
    return name


def _tenant(value: object) -> str:
    text = as_text(value).strip()
    if text == "multitenant":
        return text
    match = _TENANT.fullmatch(text)
    if not match or any(int(part or 0) > _LARGEST_ACCOUNT for part in match.groups()):
        raise ValueError(
            "expected a tenant: account or account:project (numbers up to 4294967295) "
            "or multitenant"
        )
    return text


def holds_redacted(value: object) -> bool:
    """Tell whether a value of the resolved config stands for a secret that was left out."""
    if isinstance(value, Mapping):
        return any(map(holds_redacted, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_redacted, value))
    return isinstance(value, str) and REDACTED in value


def as_url(value: object) -> str:
    """Read an address that starts with http:// or https://."""
    text = stripped(as_text(value))
    expected = "expected a URL such as http://localhost:8428"
    if REDACTED in text:
        raise ValueError("the secrets in this URL were redacted; write them again")
    if not text.startswith(("http://", "https://")):
        raise ValueError(f"{expected}; write http:// or https:// in front")
    if re.search(r"\s", text):
        raise ValueError(f"{expected}; write %20 for a space, or remove it")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(
            f"{expected}; host and port are ambiguous: in a user or password, write characters "
            "such as / : @ # as %2F %3A %40 %23"
        ) from error
    if not parts.hostname:
        raise ValueError(f"{expected}; the host is missing")
    return text


def _proxy_url(value: object) -> str:
    text = as_url(value)
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("expected the URL of a proxy such as http://proxy:3128; remove its path")
    return text


def _url_path(value: object) -> str:
    text = filled_text(value)
    if REDACTED in text:
        raise ValueError("the secrets in this path were redacted; write them again")
    return text


_looks_for_files: ContextVar[bool] = ContextVar("looks_for_files", default=True)


@contextmanager
def not_looking_for_files() -> Iterator[None]:
    """Take every file for one that can be read: whoever names it is not to learn about them."""
    token = _looks_for_files.set(False)
    try:
        yield
    finally:
        _looks_for_files.reset(token)


def _file(value: object) -> Path:
    path = Path(value if isinstance(value, Path) else filled_text(value))
    if not _looks_for_files.get():
        return path
    try:
        if not stat.S_ISFIFO(path.stat().st_mode):
            with path.open("rb"):
                return path
        reason = "Is a pipe"
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    raise ValueError(f"expected a file that can be read ({reason})")


def _tls_verification(value: object) -> bool | Path:
    try:
        return _flag(value)
    except ValueError:
        pass
    try:
        return _file(value)
    except ValueError as error:
        raise ValueError(
            f"expected true, false or the path of a CA bundle ({_reason(error)})"
        ) from error


def _reason(error: ValueError) -> str:
    cause = error.__cause__
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else "no such file"


def _secret(value: object) -> SecretStr:
    if isinstance(value, SecretStr):
        return value
    if isinstance(value, WrittenInt | WrittenFloat):
        value = value.text
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected text; put it in quotes")
    # Not `as_text`: the writer of the resolved config needs the placeholder of the value.
    text = value if isinstance(value, str) else str(value)
    if text == REDACTED:
        raise ValueError("this secret was redacted; write it again, or as %{NAME}")
    if "\n" in text or "\r" in text:
        raise ValueError("expected a secret without line breaks")
    return SecretStr(text)


def _headers(value: object) -> dict[str, SecretStr]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping of header names to values")
    check_names(value, _HEADER_NAME, "header name")
    return dict(zip(value, read_each(value.items(), _secret), strict=True))


def _range(value: object) -> tuple[float, float]:
    expected = "expected a list [low, high] with low below high; '-inf' and 'inf' are allowed"
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(expected)
    low, high = (_bound(item) for item in value)
    if not low < high:
        raise ValueError(expected)
    return low, high


def _bound(value: object) -> float:
    if isinstance(value, str) and value.strip().lower() in ("inf", "+inf", "-inf"):
        return float(value)
    return as_number(value)


def _pair(what: str, allowed: Callable[[float], bool], schema: dict[str, Any]) -> PlainValidator:
    of_two = {"type": "array", "items": schema, "minItems": 1, "maxItems": 2}
    schema = {"anyOf": [schema, of_two]}

    def read(value: object) -> tuple[float, float]:
        given = list(value) if isinstance(value, list | tuple) else [value]
        numbers = [as_number(item) for item in given]
        if not all(math.isfinite(item) and allowed(item) for item in numbers):
            raise ValueError(f"expected {what}")
        if len(numbers) not in (1, 2):
            raise ValueError(f"expected {what}")
        return numbers[0], numbers[-1]

    return PlainValidator(read, json_schema_input_type=Annotated[float, WithJsonSchema(schema)])


def _size(value: object) -> int:
    match = _SIZE.fullmatch(as_text(value).strip())
    if not match:
        raise ValueError("expected a size such as 512MiB, 1GiB or a number of bytes")
    amount, unit = match.groups()
    if unit in ("", "B"):
        factor = 1
    elif unit.endswith("iB") or len(unit) == 1:
        factor = 2 ** _SIZE_UNITS[unit[0]]
    else:
        factor = 1000 ** (_SIZE_UNITS[unit[0]] // 10)
    return int(float(amount) * factor)


def _response_size(value: object) -> int:
    size = _size(value)
    if size < _MIN_RESPONSE_BYTES:
        raise ValueError("expected at least 1MiB")
    return size


def _probabilities(count: int) -> PlainValidator:
    what = f"expected a list of {count} numbers from 0 to 1, each above the one before"

    def read(value: object) -> tuple[float, ...]:
        if not isinstance(value, list | tuple) or len(value) != count:
            raise ValueError(what)
        numbers = [as_number(item) for item in value]
        if not all(0 <= item <= 1 for item in numbers) or sorted(set(numbers)) != numbers:
            raise ValueError(what)
        return tuple(numbers)

    probability = Annotated[float, Field(ge=0, le=1)]
    written = Annotated[list[probability], Field(min_length=count, max_length=count)]
    return PlainValidator(read, json_schema_input_type=written)


Text = Annotated[str, PlainValidator(filled_text, json_schema_input_type=str)]
Flag = Annotated[bool, PlainValidator(_flag, json_schema_input_type=bool)]
FreeMapping = Annotated[
    dict[str, Any], PlainValidator(_mapping, json_schema_input_type=dict[str, Any])
]
LabelMapping = Annotated[dict[str, str], PlainValidator(_labels)]
TimeZone = Annotated[str, PlainValidator(as_time_zone)]
Tenant = Annotated[str, PlainValidator(_tenant)]
Url = Annotated[str, PlainValidator(as_url)]
ProxyUrl = Annotated[str, PlainValidator(_proxy_url)]
UrlPath = Annotated[str, PlainValidator(_url_path)]
Folder = Annotated[Path, PlainValidator(lambda value: Path(as_text(value)))]
ExistingFile = Annotated[Path, PlainValidator(_file)]
TlsVerification = Annotated[bool | Path, PlainValidator(_tls_verification)]
Secret = Annotated[SecretStr, PlainValidator(_secret)]
Headers = Annotated[dict[str, SecretStr], PlainValidator(_headers)]
Size = Annotated[int, PlainValidator(_size)]
ResponseSize = Annotated[int, PlainValidator(_response_size)]
Port = Annotated[int, whole(0, 65535)]
Count = Annotated[int, whole(1)]

PositiveDuration = Annotated[Duration, duration(1, "above 0")]
NonNegativeDuration = Annotated[Duration, duration(0)]
SchedulerDuration = Annotated[Duration, duration(1000, "at least 1s")]
Offset = Annotated[Duration, duration(None)]

Direction = Annotated[str, choice(*_DIRECTIONS)]
DataRange = Annotated[
    tuple[float, float],
    PlainValidator(
        _range, json_schema_input_type=Annotated[list[float], WithJsonSchema(_RANGE_SCHEMA)]
    ),
]
Deviation = Annotated[
    tuple[float, float],
    _pair(
        "a number of 0 or more, or a list of two: [lower, upper]",
        lambda x: x >= 0,
        {"type": "number", "minimum": 0},
    ),
]
Scale = Annotated[
    tuple[float, float],
    _pair(
        "a number above 0, or a list of two: [lower, upper]",
        lambda x: x > 0,
        {"type": "number", "exclusiveMinimum": 0},
    ),
]
TwoQuantiles = Annotated[tuple[float, ...], _probabilities(2)]
ThreeQuantiles = Annotated[tuple[float, ...], _probabilities(3)]
