"""The command `vmanomaly`, one file per subcommand."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vmanomaly.cli.signals import exit_on_stop_signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments
        The command line without the name of the program; None for the process's own.

    Returns
    -------
    int
        0 done, or stopped by SIGTERM or SIGINT; 2 invalid configuration or usage; 1 anything else.
    """
    # Before anything else is loaded: as the first process of a container a process without a
    # handler does not even hear a signal.
    exit_on_stop_signals()
    from vmanomaly.cli.dispatch import dispatch

    return dispatch(sys.argv[1:] if arguments is None else arguments)
