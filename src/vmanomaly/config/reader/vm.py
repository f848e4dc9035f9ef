"""The section of the reader `vm`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.effect import LEARNED_FROM, RESTARTS
from vmanomaly.config.reader.http import HttpReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import UrlPath, as_duration, filled_text, stripped, texts
from vmanomaly.config.values.scalar import environment_text

_SELECTOR = re.compile(r"[A-Za-z_:][\w:.]*(\{.*\})?|\{.*\}", re.DOTALL)
_BARE_MATCHER = re.compile(r"""(\w+)(=~|!~|!=|=)["']?([\w.|*+-]*)["']?""")


def _selector(value: object) -> str:
    text = stripped(filled_text(value))
    if _SELECTOR.fullmatch(text):
        return text
    bare = _BARE_MATCHER.fullmatch(text)
    remedy = '{env="prod"}'
    if bare and environment_text(text) is None:
        remedy = f'{{{bare[1]}{bare[2]}"{bare[3]}"}}'
    raise ValueError(f"expected a series selector; write '{remedy}'")


def _latency_offset(value: object) -> Duration:
    # VictoriaMetrics refuses every query with 0.
    return Duration(as_duration(value, 0) or 1)


class VmReaderSection(HttpReaderSection):
    """VictoriaMetrics, Prometheus, and whatever else answers `query_range`.

    Attributes
    ----------
    query_range_path
        Overrides the path of the query API.
    extra_filters
        Series selectors, sent as `extra_filters[]`.
    latency_offset
        Sent with every query; overrides the server's `-search.latencyOffset`.
    """

    class_name: str = Field("vm", alias="class")
    query_range_path: Annotated[UrlPath | None, LEARNED_FROM] = None
    extra_filters: Annotated[tuple[str, ...], texts(_selector), LEARNED_FROM] = ()
    latency_offset: Annotated[Duration, PlainValidator(_latency_offset), RESTARTS] = Duration(1)
