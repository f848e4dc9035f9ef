"""`python -m vmanomaly` is the command `vmanomaly`."""

import sys

from vmanomaly.cli import main

if __name__ == "__main__":
    sys.exit(main())
