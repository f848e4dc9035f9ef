"""A stand-in for VictoriaLogs, which aggregates log lines that it is given.

It answers `stats_query_range` as VictoriaLogs does: what was measured on a build of July 2025, and,
with `exclusive_end`, what the source of later releases says. Of LogsQL it knows `*` and
`field:=value` filters, and `stats` with the functions below. `field_names` and `field_values`
answer as its documentation says. Nothing here uses the product's code.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.loopback import Asked, Handler, Loopback, serve

PATH = "/select/logsql/stats_query_range"
FIELDS = ("/select/logsql/field_names", "/select/logsql/field_values")
NS = 10**9

_UNITS = {"ns": 1, "ms": 10**6, "s": NS, "m": 60 * NS, "h": 3600 * NS, "KiB": 1024}
_STATS = re.compile(
    r"^(?P<filter>.*?)\|\s*(?:stats\s+)?(?:by\s*\((?P<by>[^)]*)\)\s*)?(?P<rest>.+)$"
)
_CALL = re.compile(r"(?P<name>\w+)\((?P<field>[^)]*)\)(?:\s+(?:as\s+)?(?P<result>\w+))?")
_FILTER = re.compile(r'^(?P<field>[\w.:]+):=(?:"(?P<prefix>.*)"\*|(?P<value>\S+))$')

Fields = dict[str, str]


def nanoseconds(time: str) -> int:
    """Return the Unix time of an RFC 3339 timestamp with up to nine decimals."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * NS + int(fraction.ljust(9, "0") or 0)


def number(text: str) -> float:
    """Return the number that a field holds, its unit applied; NaN where it holds none."""
    found = re.fullmatch(r"((?:[0-9.]+[a-zA-Z]*)+)", text)
    if not found:
        return math.nan
    parts = re.findall(r"([0-9.]+)([a-zA-Z]*)", text)
    return sum(float(amount) * _UNITS.get(unit, 1) for amount, unit in parts)


def _count(_: list[str], logs: list[Fields], _step_s: float) -> str:
    return str(len(logs))


def _rate(_: list[str], logs: list[Fields], step_s: float) -> str:
    return f"{len(logs) / step_s:.12g}"


def _sum(values: list[str], _: list[Fields], _step_s: float) -> str:
    numbers = [number(value) for value in values]
    return f"{sum(numbers):.12g}" if numbers else "NaN"


def _avg(values: list[str], _: list[Fields], _step_s: float) -> str:
    numbers = [number(value) for value in values]
    return f"{sum(numbers) / len(numbers):.12g}" if numbers else "NaN"


def _max(values: list[str], _: list[Fields], _step_s: float) -> str:
    return max(values, key=number, default="")


def _uniq_values(values: list[str], _: list[Fields], _step_s: float) -> str:
    return json.dumps(sorted(set(values)))


_FUNCTIONS: dict[str, Callable[[list[str], list[Fields], float], str]] = {
    "count": _count,
    "rate": _rate,
    "sum": _sum,
    "avg": _avg,
    "max": _max,
    "uniq_values": _uniq_values,
}


@dataclass
class VictoriaLogs:
    """The logs, by tenant, and how the server behaves.

    Attributes
    ----------
    lines
        JSON lines with `_time`, by tenant.
    exclusive_end
        Whether `end` is exclusive and rounded up to a bucket, as later releases do.
    most_buckets
        A query of more buckets takes too long: the answer breaks off.
    early_abort
        Whether it takes too long before anything is sent: the status is 503 then.
    longest_range_s
        As `-search.maxQueryTimeRange`.
    overloaded
        How many of the next requests are refused because there are too many.
    """

    lines: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    exclusive_end: bool = False
    most_buckets: int | None = None
    early_abort: bool = False
    longest_range_s: int | None = None
    overloaded: int = 0

    def add(self, *lines: Fields, tenant: tuple[str, str] = ("0", "0")) -> None:
        """Store log lines."""
        self.lines[tenant] += map(json.dumps, lines)

    def respond(self, handler: Handler, asked: Asked) -> None:
        """Answer a request."""
        parts = urlsplit(asked.path)
        if parts.path == "/health":
            handler.reply(body=b"OK", mime="text/plain")
        elif parts.path in FIELDS:
            self._fields(handler, asked, parse_qs(parts.query, strict_parsing=True))
        elif parts.path != PATH:
            text = f'unsupported path requested: "{parts.path}"'
            handler.reply(400, text.encode(), mime="text/plain")
        elif self.overloaded:
            self.overloaded -= 1
            handler.reply(503, b"couldn't start executing the request in 10.000 seconds")
        else:
            arguments = asked.body.decode() or parts.query
            self._query(handler, asked, parse_qs(arguments, strict_parsing=True))

    def _fields(self, handler: Handler, asked: Asked, form: dict[str, list[str]]) -> None:
        if "query" not in form:
            handler.reply(400, b"missing `query` arg", mime="text/plain")
            return
        tenant = (asked.headers.get("AccountID", "0"), asked.headers.get("ProjectID", "0"))
        logs = [json.loads(line) for line in self.lines.get(tenant, ())]
        logs = [log for log in logs if _matches(form["query"][0].strip(), log)]
        if "field" in form:
            hits = Counter(log.get(form["field"][0], "") for log in logs)
        else:
            hits = Counter(name for log in logs for name in log)
        found = hits.most_common(int(form.get("limit", ["1000"])[0]))
        values = [{"value": value, "hits": n} for value, n in found if value]
        handler.reply(body=json.dumps({"values": values}).encode())

    def _query(self, handler: Handler, asked: Asked, form: dict[str, list[str]]) -> None:
        tenant = tuple(asked.headers.get(name, "0") for name in ("AccountID", "ProjectID"))
        query, step = form["query"][0].strip(), form["step"][0]
        start, end = int(form["start"][0]), int(form["end"][0])
        found = _STATS.match(query.replace("\n", " "))
        if not all(each.isdigit() for each in tenant):
            self._refuse(handler, "cannot obtain tenantID")
            return
        if found is None:
            self._refuse(handler, f"missing `| stats ...` pipe in the query [{query}]")
            return
        step_ns = round(number(step))
        assert step_ns > 0
        if self.exclusive_end:
            start, end = start - start % step_ns, -(-end // step_ns) * step_ns - 1
        if self.longest_range_s is not None and end - start > self.longest_range_s * NS:
            limit = f"-search.maxQueryTimeRange={self.longest_range_s}s"
            self._refuse(handler, f"too big time range selected; it cannot exceed {limit}")
            return
        if self.most_buckets is not None and (end - start) // step_ns >= self.most_buckets:
            self._abort(handler)
            return
        filters = [found["filter"], *form.get("extra_filters", [])]
        logs = [json.loads(line) for line in self.lines.get((tenant[0], tenant[1]), ())]
        logs = [log for log in logs if start <= nanoseconds(log["_time"]) <= end]
        for each in filters:
            logs = [log for log in logs if _matches(each.strip(), log)]
        by = [name.strip().strip('"') for name in (found["by"] or "").split(",") if name.strip()]
        result = _aggregate(logs, by, _CALL.finditer(found["rest"]), step_ns)
        data = {"resultType": "matrix", "result": result}
        handler.reply(body=json.dumps({"status": "success", "data": data}).encode())

    @staticmethod
    def _refuse(handler: Handler, words: str) -> None:
        error = {"status": "error", "errorType": "422", "error": words}
        handler.reply(422, json.dumps(error).encode())

    def _abort(self, handler: Handler) -> None:
        words = b"the request couldn't be executed in 30.001 seconds; possible solutions: [...]"
        if self.early_abort:
            handler.reply(503, words, mime="text/plain")
            return
        handler.reply_in_chunks([b'{"status":"success","data":{'], end=False)
        text = "; see the last line in the response and/or in the server log for the reason\n"
        handler.wfile.write(b"\nthe connection has been aborted" + text.encode())


def _matches(text: str, log: Fields) -> bool:
    found = _FILTER.match(text)
    assert found or text == "*", text
    if found is None:
        return True
    value = log.get(found["field"], "")
    return value.startswith(found["prefix"]) if found["value"] is None else value == found["value"]


def _aggregate(
    logs: list[Fields], by: list[str], calls: Iterator[re.Match[str]], step_ns: int
) -> list[dict[str, Any]]:
    buckets: dict[tuple[str, ...], dict[int, list[Fields]]] = defaultdict(lambda: defaultdict(list))
    for log in logs:
        time = nanoseconds(log["_time"])
        buckets[tuple(log.get(name, "") for name in by)][time - time % step_ns].append(log)
    series = []
    for call in calls:
        function = _FUNCTIONS[call["name"]]
        argument = call["field"].strip()
        name = call["result"] or f"{call['name']}({argument or '*'})"
        for labels, of_time in sorted(buckets.items()):
            metric = {"__name__": name, **dict(zip(by, labels, strict=True))}
            values = []
            for time, members in sorted(of_time.items()):
                texts = [log[argument] for log in members if argument in log]
                value = function(texts, members, step_ns / NS)
                values.append([time / NS if time % NS else time // NS, value])
            series.append({"metric": metric, "values": values})
    return series


@contextmanager
def victorialogs() -> Iterator[tuple[VictoriaLogs, Loopback]]:
    """Start a server without logs; stop it at the end."""
    logs = VictoriaLogs()
    with serve(logs.respond) as server:
        yield logs, server
