"""From the command line to the subcommand, and from its errors to the exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from vmanomaly.cli.output import OutputError
from vmanomaly.errors import ConfigError, UsageError, VmanomalyError
from vmanomaly.exhaustion import exhausted

logger = logging.getLogger("vmanomaly.cli")

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
    from vmanomaly.cli.run import run

    return run(arguments)
