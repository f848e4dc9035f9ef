"""`python -m config_splitter` is the command `vmanomaly split`."""

import sys

from vmanomaly.cli import main

if __name__ == "__main__":
    sys.exit(main(["split", *sys.argv[1:]]))
