"""The subcommand `report`: the scores of a run as an HTML page."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vmanomaly.cli.dispatch import DONE
from vmanomaly.cli.options import add_connection, connection_of, duration
from vmanomaly.cli.output import write_output
from vmanomaly.cli.parser import Parser
from vmanomaly.errors import UsageError
from vmanomaly.output_file import write_file

if TYPE_CHECKING:
    from vmanomaly.report import ScoredSeries

_DEFAULT_SINCE_MS = 7 * 86_400_000
_MINUTE_MS = 60_000
_MOST_STEPS = 20_000


def report(arguments: Sequence[str]) -> int:
    """Run `vmanomaly report` and return the exit status.

    Raises
    ------
    UsageError, ConfigError, DatasourceError
        An argument is wrong, or there are no scores.
    """
    options = _parser().parse_args(arguments)
    target = Path(options.out)
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {target}: expected a name that ends in .html")
    if not target.parent.is_dir():
        raise UsageError(f"--out {target}: the folder {target.parent} does not exist")
    from vmanomaly.episodes import counted
    from vmanomaly.http.urls import redact_url
    from vmanomaly.report import Report, render

    is_url = options.source.startswith(("http://", "https://"))
    scored, resolution = _queried(options) if is_url else (_stored(options), "")
    shown = redact_url(options.source) if is_url else options.source
    if not scored:
        raise UsageError(
            f"{shown}: no anomaly scores {f'in {options.since}' if options.since else 'there'}"
            + ("; see --since, --prefix and --match" if is_url else "")
        )
    page = render(Report("Anomalies", f"Scores in {shown}.", scored))
    write_file(target, page)
    n_series = len({(item.query, item.series) for item in scored})
    n_models = len({item.model for item in scored})
    write_output(
        f"{target}: {n_series} series scored by {counted(n_models, 'model')}{resolution}; open it "
        "in a browser\n"
    )
    return DONE


def _stored(options: argparse.Namespace) -> list[ScoredSeries]:
    from vmanomaly.report.stored import read_stored

    path = Path(options.source)
    if not path.exists():
        raise UsageError(f"no file {path}; a URL begins with http:// or https://")
    return read_stored(path, None if options.since is None else int(options.since))


def _queried(options: argparse.Namespace) -> tuple[list[ScoredSeries], str]:
    """Return the scores, and in words how far apart they are."""
    from vmanomaly.config.values.duration import Duration
    from vmanomaly.report.contents import ANOMALY_SCORE
    from vmanomaly.report.queried import read_queried, selector_of
    from vmanomaly.report.queried_step import find_step
    from vmanomaly.series import TimeRange

    since = options.since or Duration(_DEFAULT_SINCE_MS)
    options.url, options.since = options.source, since
    now = round(time.time() * 1000)
    section, time_range = connection_of(options), TimeRange(now - int(since), now)
    step, words = options.step, ""
    if step is None:
        selector = selector_of(options.prefix, options.match, [ANOMALY_SCORE])
        stored = find_step(section, time_range, selector) or Duration(_MINUTE_MS)
        times = -(-int(since) // (_MOST_STEPS * int(stored)))
        step = Duration(max(1, times) * int(stored))
        words = f" (scores are stored every {stored})" if times > 1 else " as stored"
    scored = read_queried(section, time_range, step, options.prefix, options.match)
    return scored, f", a point every {step}{words}"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly report",
        description=(
            "Writes an HTML page with the incidents of a run, and a plot of each series with its "
            "expected range and scores. The page needs nothing else."
        ),
        epilog="example: vmanomaly report http://localhost:8428 --since 1d --out today.html",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="SCORES",
        help="a file of the writer duckdb, or the URL of VictoriaMetrics or Prometheus",
    )
    parser.add_argument(
        "--out", metavar="FILE", default="report.html", help="default %(default)s; it is replaced"
    )
    parser.add_argument(
        "--since",
        metavar="DURATION",
        type=duration,
        help="how far back, from now or from the last score of a file; default: 7d, all of a file",
    )
    database = parser.add_argument_group("scores in a database")
    database.add_argument(
        "--step",
        metavar="DURATION",
        type=duration,
        help="distance of the points; by default that of the scores",
    )
    database.add_argument(
        "--prefix", default="", metavar="TEXT", help="what metric_format puts before $VAR"
    )
    database.add_argument(
        "--match", default="", metavar="MATCHERS", help="fewer series, such as 'for=\"cpu\"'"
    )
    add_connection(parser)
    return parser
