"""The command `vmanomaly demo`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from shlex import quote
from typing import NoReturn

import numpy as np
from rich.console import Console
from rich.table import Table

from vmanomaly.config import Config, load_config
from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.context import OnProgress, RunContext
from vmanomaly.demo.evaluate import Finding, ModelEvaluation, evaluate
from vmanomaly.demo.folder import CONFIG, REPORT, SCORES, TELEMETRY, prepare
from vmanomaly.demo.incidents import Incident
from vmanomaly.demo.page import render
from vmanomaly.demo.serve import serve
from vmanomaly.demo.store import store
from vmanomaly.demo.telemetry import generate
from vmanomaly.episodes import counted
from vmanomaly.errors import UsageError
from vmanomaly.logs import configure_logging
from vmanomaly.output_file import write_file
from vmanomaly.progress import progress_bar
from vmanomaly.report import ScoredSeries
from vmanomaly.report.page import lasting
from vmanomaly.report.panel import describe
from vmanomaly.report.stored import read_stored
from vmanomaly.service import Service

DIRECTORY = Path("vmanomaly-demo")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\nsee vmanomaly demo -h")


def main(arguments: Sequence[str]) -> int:
    """Run `vmanomaly demo` and return the exit status.

    Parameters
    ----------
    arguments
        The command line after `demo`.

    Raises
    ------
    UsageError
        When an argument is wrong; see `run_demo` for more.
    """
    parser = _Parser(
        prog="vmanomaly demo",
        description=(
            "Makes two weeks of telemetry with known incidents, runs the ordinary service on it, "
            "and shows what was found. Needs no server."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=DIRECTORY,
        help="where data, config and report are written (default: %(default)s)",
    )
    parser.add_argument(
        "--serve",
        action=argparse.BooleanOptionalAction,
        default=sys.stdout.isatty(),
        help="keep serving the web UI on the result; default: on a terminal",
    )
    options = parser.parse_args(arguments)
    configure_logging("WARNING")
    try:
        return run_demo(options.directory, serves=options.serve)
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)  # noqa: T201
        return 0


def run_demo(
    directory: Path = DIRECTORY, console: Console | None = None, *, serves: bool = False
) -> int:
    """Make telemetry, run the ordinary service on it, and show what it found.

    Parameters
    ----------
    directory
        Where everything is written. Files that no demo wrote are never overwritten, nor is the
        demo's own config file once it was edited.
    console
        Where to print; standard output by default.
    serves
        Whether to serve the web UI on the result, until the process is interrupted.

    Returns
    -------
    int
        The exit status: 0 when the service did its work.

    Raises
    ------
    UsageError
        When the folder cannot be used, or the edited config file gives nothing to show.
    ConfigError
        When the edited config file is wrong.
    """
    console = console or Console(highlight=False)
    if prepare(directory):
        _say(console, f"Keeping {directory / CONFIG}, which was edited; delete it for a fresh one.")
    telemetry = generate()
    store(telemetry, directory / TELEMETRY)
    _say(
        console,
        f"Made {len(telemetry.batch.labels)} series over two weeks with {len(telemetry.incidents)} "
        f"incidents: {directory / TELEMETRY}",
    )
    with chdir(directory):
        config = load_config([Path(CONFIG)], os.environ)
        _check_writer(config)
        Path(SCORES).unlink(missing_ok=True)
        with _progress(console) as on_progress:
            status = _run_service(config, on_progress)
        if status != 0:
            return status
        scored = _read_scores(list(config.models))
        if not scored:
            raise UsageError(f"No scores were written: what do the queries in {CONFIG} return?")
        evaluations = evaluate(scored, telemetry.incidents)
        write_file(Path(REPORT), render(scored, telemetry.incidents, evaluations))
    console.print()
    console.print(findings_table(telemetry.incidents, evaluations))
    _print_summary(console, scored, evaluations)
    _print_next_steps(console, directory)
    if serves:
        with chdir(directory):
            serve(config, lambda address: _print_address(console, address))
    return 0


def _print_address(console: Console, address: str) -> None:
    console.print()
    _say(console, f"The web UI on these scores: {address}")
    _say(console, "Ctrl+C ends it.")


def findings_table(incidents: Sequence[Incident], evaluations: Sequence[ModelEvaluation]) -> Table:
    """Return a table of the incidents: found or not, the delay and the score, by model."""
    table = Table(title="What was planted, and what was found", title_justify="left")
    table.add_column("incident")
    table.add_column("series")
    for evaluation in evaluations:
        table.add_column(evaluation.model, justify="right")
        table.add_column("score", justify="right")
    for row, incident in enumerate(incidents):
        cells = [cell for evaluation in evaluations for cell in _cells(evaluation.findings[row])]
        table.add_row(incident.name, describe(incident.series), *cells)
    return table


def _cells(finding: Finding) -> tuple[str, str]:
    score = "-" if np.isnan(finding.max_score) else f"{finding.max_score:.1f}"
    if finding.delay is None:
        return "[red]missed[/]", score
    return f"[green]after {lasting(finding.delay)}[/]", score


def _run_service(config: Config, on_progress: OnProgress) -> int:
    """Run the service to its end; on Ctrl+C stop it gracefully first."""
    service = Service(config, context=RunContext(on_progress=on_progress))
    interrupted = False

    def stop(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        service.stop()

    previous = signal.signal(signal.SIGINT, stop)
    try:
        status = service.run()
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupted:
        raise KeyboardInterrupt
    return status


def _read_scores(models: Sequence[str]) -> list[ScoredSeries]:
    """Return what was written, in the order in which the config file names the models."""
    if not Path(SCORES).exists():
        return []
    order = {model: number for number, model in enumerate(models)}

    def place(item: ScoredSeries) -> int:
        return order.get(item.model.partition(" (")[0], len(order))

    return sorted(read_stored(Path(SCORES)), key=place)


def _check_writer(config: Config) -> None:
    if isinstance(config.writer, DuckdbWriterSection) and config.writer.path == SCORES:
        return
    raise UsageError(
        f"{CONFIG} was edited to write elsewhere than into {SCORES}, so the demo has nothing to "
        f"show: run it with `vmanomaly {CONFIG}`, or delete it for a fresh one"
    )


@contextmanager
def _progress(console: Console) -> Iterator[OnProgress]:
    """Yield a callback that shows progress: a bar on a terminal, else one line per quarter."""
    _say(console, "Fitting on the first week, scoring the second")
    if console.is_terminal:
        with progress_bar(console, "compiling") as show:
            yield show
    else:

        def tell(done: int, total: int, _: str) -> None:
            if 4 * done // total > 4 * (done - 1) // total:
                _say(console, f"{done} of {total} units of work done")

        yield tell


def _print_summary(
    console: Console, scored: Sequence[ScoredSeries], evaluations: Sequence[ModelEvaluation]
) -> None:
    n_series = len({(item.query, item.series) for item in scored})
    for evaluation in evaluations:
        _say(
            console,
            f"{evaluation.model}: found {evaluation.found} of {len(evaluation.findings)}; "
            f"{counted(len(evaluation.false_alarms), 'false alarm')} on {n_series} series, "
            f"{evaluation.false_alarms_per_series_day:.3f} per series and day",
        )
    _say(console, "An alarm: incident_score > 1")


def _print_next_steps(console: Console, directory: Path) -> None:
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    report = quote(str(directory / REPORT))
    commands = (
        (f"{opener} {report}", "the report: every series with its expected band"),
        ("vmanomaly demo --serve", "the web UI on these scores"),
        ("vmanomaly my-config.yaml", "the same on your VictoriaMetrics: docs/quickstart.md"),
        ("vmanomaly --help", "everything else; keys of a config: docs/config.md"),
    )
    width = max(len(command) for command, _ in commands)
    console.print("\nNext steps:")
    for command, purpose in commands:
        _say(console, f"  {command:<{width}}  {purpose}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
