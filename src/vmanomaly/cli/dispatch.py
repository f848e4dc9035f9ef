"""From the command line to the subcommand, and from its errors to the exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name

from vmanomaly.cli.options import in_terms_of_options
from vmanomaly.cli.output import OutputError
from vmanomaly.cli.signals import interrupt_on_stop_signals, note_reload_signals
from vmanomaly.closest import closest
from vmanomaly.errors import ConfigError, TableError, UsageError, VmanomalyError
from vmanomaly.exhaustion import exhausted

logger = logging.getLogger("vmanomaly.cli")

_TOOLS = ("detect", "init", "query", "report", "tune")
SUBCOMMANDS = ("cluster", "demo", "split", *_TOOLS)

DONE, FAILED, WRONG = 0, 1, 2


def dispatch(arguments: Sequence[str]) -> int:
    """Run a subcommand, or the service where none is named; return the exit status."""
    try:
        return _subcommand(arguments)
    except ConfigError as error:
        n_problems = error.n_problems
        logger.error(
            "Config validation failed: %d problem%s",
            n_problems,
            "" if n_problems == 1 else "s",
            extra={"problems": error.problems},
        )
        return WRONG
    except (UsageError, OutputError) as error:
        print(f"vmanomaly: {error}", file=sys.stderr)
        return WRONG if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        print("vmanomaly: interrupted", file=sys.stderr)
        return FAILED
    except VmanomalyError as error:
        logger.error("%s", error)
        return FAILED
    except Exception as error:
        remedy = exhausted(error)
        if remedy is None:
            raise
        logger.error("Cannot run: %s", remedy)
        return FAILED


def _subcommand(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["demo"]:
        from vmanomaly.demo.command import main as demo

        return demo(arguments[1:])
    if arguments[:1] == ["cluster"]:
        note_reload_signals()
        from vmanomaly.cli.cluster import cluster

        return cluster(arguments[1:])
    if arguments[:1] == ["split"]:
        from vmanomaly.cli.split import split_files

        interrupt_on_stop_signals()
        return split_files(arguments[1:])
    if arguments[:1] and arguments[0] in _TOOLS:
        name = arguments[0]
        tool: Callable[[Sequence[str]], int] = resolve_name(f"vmanomaly.cli.{name}:{name}")
        return _run_tool(tool, arguments[1:])
    _check_not_mistyped(arguments)
    # The configuration is read soon; one that is changed after that is not to be missed.
    note_reload_signals()
    from vmanomaly.cli.run import run

    return run(arguments)


def _run_tool(tool: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a subcommand that answers a person: no log, and errors in one line."""
    root = logging.getLogger("vmanomaly")
    root.addHandler(logging.NullHandler())
    root.propagate = False
    interrupt_on_stop_signals()
    try:
        return tool(arguments)
    except (UsageError, OutputError):
        raise
    except ConfigError as error:
        for problem in error.problems:
            print(f"vmanomaly: {problem}", file=sys.stderr)
        return WRONG
    except TableError as error:
        print(f"vmanomaly: {error}", file=sys.stderr)
        return WRONG
    except VmanomalyError as error:
        print(f"vmanomaly: {in_terms_of_options(str(error))}", file=sys.stderr)
        return FAILED


def _check_not_mistyped(arguments: Sequence[str]) -> None:
    """Raise where the first argument is no file and looks like a subcommand."""
    name = arguments[0] if arguments else ""
    if not name.isalpha() or Path(name).exists():
        return
    close = closest(name, SUBCOMMANDS)
    if close is not None:
        raise UsageError(f"no file {name}; did you mean the subcommand {close}?")
