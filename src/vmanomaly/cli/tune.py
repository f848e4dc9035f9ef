"""The subcommand `tune`: one set of parameters for the series of files or of a query."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vmanomaly.cli.dispatch import DONE
from vmanomaly.cli.options import (
    add_columns,
    add_connection,
    connection_of,
    duration,
    number_of_series,
    settings_of,
)
from vmanomaly.cli.output import write_output
from vmanomaly.cli.parser import Parser
from vmanomaly.errors import UsageError
from vmanomaly.output_file import write_file

if TYPE_CHECKING:
    from rich.console import Console

    from vmanomaly.analysis.tuning import Tuning
    from vmanomaly.context import RunContext
    from vmanomaly.series import SeriesBatch
    from vmanomaly.tasks import Note

_URLS = ("http://", "https://")


def tune(arguments: Sequence[str]) -> int:
    """Run `vmanomaly tune` and return the exit status.

    Raises
    ------
    UsageError, ConfigError, TableError, DatasourceError
        An argument, a setting or a file is wrong, or the server cannot answer.
    """
    options = _parser().parse_args(arguments)
    options.frozen = settings_of(options.set)
    options.optimization = {
        "anomaly_percentage": options.anomaly_percentage,
        "n_trials": options.n_trials,
        "timeout": None if options.max_time is None else int(options.max_time) / 1000,
        "n_jobs": options.n_jobs,
        "seed": options.seed,
    }
    from pathlib import Path

    from rich.console import Console

    from vmanomaly.progress import progress_bar

    if options.out is not None and not Path(options.out).parent.is_dir():
        raise UsageError(f"--out {options.out}: the folder {Path(options.out).parent} is missing")
    notes = Console(stderr=True, highlight=False)
    run = _queried if options.sources[0].startswith(_URLS) else _filed
    if notes.is_terminal and not options.quiet:
        with progress_bar(notes, "getting data") as show:
            found = run(
                options, notes, lambda _, text, n: show(n["trials"], options.n_trials, text)
            )
    else:
        found = run(options, notes, lambda share, message, counts: None)
    text = found.yaml()
    if options.out is None:
        write_output(text)
        return DONE
    write_file(Path(options.out), text)
    if not options.quiet:
        notes.print(f"{found}\nThe model is in {options.out}", markup=False, soft_wrap=True)
    return DONE


def _filed(options: argparse.Namespace, notes: Console, note: Note) -> Tuning:
    from vmanomaly.analysis.tuning import tune_batch
    from vmanomaly.cli.tabular import read_series

    _, _, gridded = read_series(options.sources, options, notes)
    return tune_batch(
        gridded.batch,
        gridded.step,
        options.model,
        options.optimization,
        options.frozen,
        options.tz,
        note=note,
    )


def _queried(options: argparse.Namespace, notes: Console, note: Note) -> Tuning:
    if len(options.sources) != 2 or not options.sources[1].strip():
        raise UsageError("expected one expression after the URL, in quotes")
    from vmanomaly.analysis.tuning import tune_queries
    from vmanomaly.config.reader import HttpQuery
    from vmanomaly.config.values.duration import Duration
    from vmanomaly.monitoring.metrics import Metrics
    from vmanomaly.reader import create_reader
    from vmanomaly.series import TimeRange

    options.url, expr = options.sources
    section = connection_of(options)
    step = options.step or Duration(60_000)
    now = round(time.time() * 1000)
    asked = HttpQuery(
        alias="query", expr=expr, step=step, tenant_id=section.tenant_id, tz=options.tz
    )

    def read(context: RunContext) -> list[tuple[SeriesBatch, int]]:
        reader = create_reader(section, Metrics())
        try:
            time_range = TimeRange(now - int(options.since), now)
            batch = reader.read(asked, time_range, "tune", stage="fit", context=context)
        finally:
            reader.close()
        n_series = len(batch.labels)
        return [(batch.keep(range(min(n_series, options.limit))), n_series)]

    optimization: Mapping[str, Any] = options.optimization
    return tune_queries([asked], read, options.model, optimization, options.frozen, note=note)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly tune",
        description=(
            "Searches one set of parameters of a model for all series of files, or of a query, and "
            "prints the YAML of the model."
        ),
        epilog=(
            "examples: vmanomaly tune cpu.csv --model mad_online; "
            "vmanomaly tune http://localhost:8428 'rate(http_requests_total[5m])' --step 5m"
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="FILE|URL EXPR",
        help="CSV, Parquet or JSON lines; or the URL of a server, and MetricsQL or PromQL",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="CLASS", default="temporal_envelope", help="its class")
    model.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of the model, or a policy, that is not tuned",
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--anomaly-percentage",
        metavar="SHARE",
        type=float,
        default=0.01,
        help="the largest share of anomalies, below 0.5; default %(default)s",
    )
    search.add_argument(
        "--n-trials", metavar="N", type=int, default=128, help="parameter sets to try; default 128"
    )
    search.add_argument(
        "--max-time", metavar="DURATION", type=duration, help="when to stop; default: never"
    )
    search.add_argument(
        "--n-jobs", metavar="N", type=int, default=1, help="trials at a time; -1 for one per CPU"
    )
    search.add_argument("--seed", metavar="N", type=int, default=42, help="default %(default)s")
    add_columns(parser)
    query = parser.add_argument_group("query")
    query.add_argument(
        "--since", metavar="DURATION", type=duration, default="7d", help="how far back; default 7d"
    )
    query.add_argument(
        "--limit",
        metavar="N",
        type=number_of_series,
        default=100,
        help="most series; default 100",
    )
    add_connection(parser)
    results = parser.add_argument_group("results")
    results.add_argument("--out", metavar="FILE", help="where the YAML goes; it is replaced")
    results.add_argument("-q", "--quiet", action="store_true", help="print the YAML only")
    return parser
