"""Records all outputs of all models, and compares two records to the bit.

`record FOLDER` runs every model on NAB and SKAB. `compare BEFORE AFTER` names what differs and ends
with the status 1 if anything does; without AFTER, the code is run first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.regression.compare import differences, read_record
from benchmarks.regression.record import RUNS, record
from benchmarks.regression.report import HEADER, details, sizes, table


def main() -> int:
    arguments = _arguments()
    if arguments.command == "record":
        record(arguments.folder, arguments.nab, arguments.skab)
        return 0
    if arguments.after is not None:
        return _compare(arguments.before, arguments.after)
    _files(arguments.before)
    with tempfile.TemporaryDirectory() as after:
        record(Path(after), arguments.nab, arguments.skab)
        return _compare(arguments.before, Path(after))


def _compare(before_folder: Path, after_folder: Path) -> int:
    n_series = n_values = 0
    found = []
    print(HEADER)
    for paths in zip(_files(before_folder), _files(after_folder), strict=True):
        before, after = map(read_record, paths)
        of_run = differences(before, after)
        print("\n".join(table(before, after, of_run)), flush=True)
        n_series += len(before.keys() | after.keys())
        n_values += sum(sizes(before, after).values())
        found += of_run
    if not found:
        print(f"\nEqual to the bit: {n_values:,} values of {n_series:,} series")
        return 0
    print("", *details(found), sep="\n")
    n_different = sum(each.n_values for each in found)
    print(
        f"\n{len(found):,} of {n_series:,} series and {n_different:,} of {n_values:,} values differ"
    )
    return 1


def _files(folder: Path) -> list[Path]:
    paths = [folder / f"{run}.parquet" for run in RUNS]
    for path in paths:
        if not path.is_file():
            raise SystemExit(
                f"There is no {path}; make it: python -m benchmarks.regression record {folder}"
            )
    return paths


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__)
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--nab", type=Path, default=Path("../shared/data/nab"), help="folder of NAB")
    data.add_argument(
        "--skab", type=Path, default=Path("../shared/data/skab"), help="folder of SKAB"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    record_parser = commands.add_parser("record", parents=[data], help="run every model")
    record_parser.add_argument("folder", type=Path, help="where to write the record")
    compare_parser = commands.add_parser("compare", parents=[data], help="compare two records")
    compare_parser.add_argument("before", type=Path, help="folder of a record")
    compare_parser.add_argument(
        "after", type=Path, nargs="?", help="another; left out: what the code writes now"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
