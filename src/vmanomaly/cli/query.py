"""The subcommand `query`: what a query gives, as a table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmanomaly.cli.dispatch import DONE
from vmanomaly.cli.options import (
    add_connection,
    connection_of,
    duration,
    expression,
    number_of_series,
)
from vmanomaly.cli.parser import Parser

if TYPE_CHECKING:
    from rich.table import Table

    from vmanomaly.monitoring.metrics import Metrics
    from vmanomaly.series import FloatArray, SeriesBatch

_WIDTH = 40
_BARS = "▁▂▃▄▅▆▇█"


def query(arguments: Sequence[str]) -> int:
    """Run `vmanomaly query` and return the exit status.

    Raises
    ------
    UsageError, ConfigError, DatasourceError
        An argument is wrong, or the server cannot answer.
    """
    options = _parser().parse_args(arguments)
    from rich.console import Console

    from vmanomaly.config.reader import HttpQuery
    from vmanomaly.config.values.duration import Duration
    from vmanomaly.monitoring.metrics import Metrics
    from vmanomaly.reader import create_reader
    from vmanomaly.series import TimeRange

    section = connection_of(options)
    since = options.since
    step = options.step or Duration(max(1000, int(since) // 100 // 1000 * 1000))
    now = round(time.time() * 1000)
    asked = HttpQuery(alias="query", expr=options.expr, step=step, tenant_id=section.tenant_id)
    metrics = Metrics()
    reader = create_reader(section, metrics)
    try:
        batch = reader.read(asked, TimeRange(now - int(since), now), "query", stage="infer")
    finally:
        reader.close()
    console = Console(highlight=False)
    if batch.labels:
        console.print(_table(batch, options.limit, 20 if console.width < 110 else _WIDTH))
    n_hidden = max(0, len(batch.labels) - options.limit)
    more = f"; {n_hidden} more are not shown, see --limit" if n_hidden else ""
    if _is_partial(metrics):
        more += "; the server says that data is missing (isPartial)"
    console.print(
        f"{len(batch.labels)} series, {batch.n_valid_points:,} samples in {since}, a point every "
        f"{step}{more}",
        markup=False,
        soft_wrap=True,
    )
    return DONE


def _is_partial(metrics: Metrics) -> bool:
    """Tell whether an answer was counted as one that lacks data."""
    counted = metrics.reader_responses.collect()
    return any(sample.labels["code"] == "partial" for each in counted for sample in each.samples)


def sparkline(values: FloatArray, width: int = _WIDTH) -> str:
    """Return a line of bars: the last value of each part of the range, blank where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> sparkline(np.array([0.0, 1.0, np.nan, 3.5]), width=4)
    '▁▃ █'
    """
    import numpy as np

    from vmanomaly.series import of_usual_size

    values = of_usual_size(values)
    parts = np.array_split(values, min(width, len(values))) if len(values) else []
    last = np.array([_last(part) for part in parts])
    known = last[np.isfinite(last)]
    if not known.size:
        return ""
    low, high = float(known.min()), float(known.max())
    length = high - low if high > low else 1.0
    highest = len(_BARS) - 1
    shares = (last - low) / length
    return "".join(_BARS[round(share * highest)] if np.isfinite(share) else " " for share in shares)


def _last(values: FloatArray) -> float:
    import numpy as np

    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else float("nan")


def _table(batch: SeriesBatch, limit: int, width: int) -> Table:
    import numpy as np
    from rich.table import Table

    table = Table()
    table.add_column("series", overflow="fold")
    for name in ("last", "min", "max"):
        table.add_column(name, justify="right")
    table.add_column("from the oldest to the newest", no_wrap=True)
    for labels, values in list(zip(batch.labels, batch.values, strict=True))[:limit]:
        known = values[np.isfinite(values)]
        numbers = (known[-1], known.min(), known.max()) if known.size else ()
        cells = [f"{number:.4g}" for number in numbers] or ["-"] * 3
        table.add_row(str(labels), *cells, sparkline(values, width))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly query",
        description="Shows what a query gives, one line per series.",
        epilog="example: vmanomaly query http://localhost:8428 'rate(http_requests_total[5m])'",
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="of VictoriaMetrics or Prometheus")
    parser.add_argument("expr", metavar="EXPR", type=expression, help="MetricsQL or PromQL")
    parser.add_argument(
        "--since", metavar="DURATION", type=duration, default="1h", help="how far back; default 1h"
    )
    parser.add_argument("--step", metavar="DURATION", type=duration, help="distance of the points")
    parser.add_argument(
        "--limit", metavar="N", type=number_of_series, default=50, help="most series shown"
    )
    add_connection(parser)
    return parser
