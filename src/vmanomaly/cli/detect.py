"""The subcommand `detect`: anomalies in files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmanomaly.cli.dispatch import DONE
from vmanomaly.cli.options import add_columns, duration, settings_of
from vmanomaly.cli.parser import Parser
from vmanomaly.cli.tabular import read_series
from vmanomaly.episodes import counted

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from vmanomaly.analysis import Detection
    from vmanomaly.analysis.evaluate import Evaluation
    from vmanomaly.tables import Layout, Table

_MOST_SHOWN = 50


def detect(arguments: Sequence[str]) -> int:
    """Run `vmanomaly detect` and return the exit status.

    Raises
    ------
    UsageError, ConfigError, TableError
        An argument, a setting or a file is wrong.
    """
    options = _parser().parse_args(arguments)
    settings = settings_of(options.set)
    from rich.console import Console

    from vmanomaly.analysis import detect_batch
    from vmanomaly.analysis.output import check_target, write_scores
    from vmanomaly.analysis.run import read_section_of
    from vmanomaly.context import RunContext
    from vmanomaly.progress import progress_bar

    for file in filter(None, (options.out, options.report)):
        check_target(file)
    # A mistake in the settings is worth no minute of reading.
    read_section_of(options.model, settings)
    notes, out = Console(stderr=True, highlight=False), Console(highlight=False)
    table, layout, gridded = read_series(options.files, options, notes)
    context = RunContext()
    work: dict[str, Any] = {
        "model": options.model,
        "fit": options.fit,
        "fit_every": options.fit_every,
        "tz": options.tz,
        "settings": settings,
    }
    if notes.is_terminal and not options.quiet:
        with progress_bar(notes, "fitting and scoring") as show:
            context = RunContext(on_progress=show)
            detection = detect_batch(gridded.batch, gridded.step, context=context, **work)
    else:
        detection = detect_batch(gridded.batch, gridded.step, context=context, **work)
    incidents = detection.incidents_above(options.threshold)
    out.print(_incidents_table(detection, incidents[:_MOST_SHOWN]))
    _say(out, _summary(detection, len(incidents)))
    for failure in detection.failures[:5]:
        _say(notes, f"the model failed on {failure}")
    if options.against is not None:
        _say(out, str(_evaluation(options.against, table, layout, incidents, options.tz)))
    if options.out is not None:
        write_scores(detection, options.out)
        _say(notes, f"The scores are in {options.out}")
    if options.report is not None:
        _say(notes, f"The report is in {detection.report(options.report, options.threshold)}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly detect",
        description=(
            "Fits a model on the beginning of the data in files, scores the rest as it would have "
            "been live, and prints the incidents. Guesses what is not said, and says what it "
            "guessed."
        ),
        epilog="example: vmanomaly detect cpu.csv --by host --report cpu.html",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="CSV, Parquet or JSON lines; a pattern in quotes; - for standard input",
    )
    add_columns(parser)
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="CLASS", default="temporal_envelope", help="its class")
    model.add_argument(
        "--fit", metavar="DURATION", type=duration, help="window of the fit; default: a third"
    )
    model.add_argument("--fit-every", metavar="DURATION", type=duration, help="when to fit again")
    model.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of the model or a policy, such as detection_direction=above_expected",
    )
    model.add_argument(
        "--threshold", metavar="N", type=float, default=1.0, help="score of an incident; default 1"
    )
    results = parser.add_argument_group("results")
    results.add_argument("--out", metavar="FILE", help="all scores: .parquet, .csv or .json")
    results.add_argument("--report", metavar="FILE", help="a page with plots: .html")
    results.add_argument(
        "--against",
        metavar="FILE",
        help="what is known: a file with columns start and end, or a column of 0 and 1",
    )
    results.add_argument("-q", "--quiet", action="store_true", help="print the incidents only")
    return parser


def _incidents_table(detection: Detection, incidents: Sequence[Any]) -> RichTable:
    from rich.table import Table

    from vmanomaly.config.values.duration import Duration
    from vmanomaly.config.values.time import format_time

    table = Table(title="Incidents" if incidents else "No incidents", title_justify="left")
    if not incidents:
        return table
    has_labels = any(detection.labels)
    table.add_column("start, UTC")
    table.add_column("lasts", justify="right")
    table.add_column("peak", justify="right")
    has_deviations = any(incident.deviation for incident in incidents)
    if has_deviations:
        table.add_column("deviation")
    if has_labels:
        table.add_column("series")
    for incident in incidents:
        lasts = Duration(incident.end - incident.start + int(detection.step))
        cells = [format_time(incident.start), str(lasts), f"{incident.peak:.1f}"]
        if has_deviations:
            cells.append(incident.deviation or "")
        table.add_row(*cells, *([str(incident.series)] if has_labels else []))
    return table


def _summary(detection: Detection, n_incidents: int) -> str:
    n_points = detection.n_points
    more = f"; the first {_MOST_SHOWN} are shown" if n_incidents > _MOST_SHOWN else ""
    return (
        f"{detection.model.class_name}: {counted(n_incidents, 'incident')} in "
        f"{len(detection.labels)} series, {n_points:,} points scored every {detection.step}{more}"
    )


def _evaluation(
    against: str, table: Table, layout: Layout, incidents: Sequence[Any], tz: str
) -> Evaluation:
    from vmanomaly.analysis.evaluate import evaluate_incidents
    from vmanomaly.analysis.windows import read_windows, windows_of_column

    if against in table.columns:
        return evaluate_incidents(incidents, windows_of_column(table, layout, against, tz))
    return evaluate_incidents(incidents, read_windows(against, tz))


def _say(console: Any, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
