"""The parser of a subcommand's arguments."""

from __future__ import annotations

import argparse
from typing import NoReturn

from vmanomaly.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Raises what is wrong instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError."""
        raise UsageError(f"{message}\nsee {self.prog} -h")
