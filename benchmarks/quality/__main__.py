"""The table of quality, and the page of plots: `python -m benchmarks.quality`."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.quality.generate import generate
from benchmarks.quality.labelled import LabelledSeries
from benchmarks.quality.nab import read_nab
from benchmarks.quality.page import render
from benchmarks.quality.run import SCORES, run
from benchmarks.quality.table import HEADER, judge, kinds, table
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.model import create_model

QUERY = Query.model_validate({"alias": "labelled", "expr": "labelled", "step": "5m"})
ONE_CONFIGURATION = ("zscore_online", "mad_online", "quantile_online", "temporal_envelope")


def main() -> None:
    arguments = _arguments()
    series = [item for item in _series(arguments.nab) if fnmatch(_path(item), arguments.series)]
    if not series:
        raise SystemExit(f"no series matches {arguments.series}")
    print(f"{len(series)} series; every model with its defaults\n\n{HEADER}")
    for alias in arguments.models:
        model = create_model(MODELS[alias].section.model_validate({"class": alias}), QUERY)
        runs = [run(model, item) for item in series]
        for score in (name for name in SCORES if name in model.outputs):
            judged = [judge(item, score) for item in runs]
            print("\n".join(table(f"{alias} {score}", judged)))
            if arguments.kinds:
                print("\n".join(kinds(judged)))
            if arguments.page is not None:
                arguments.page.mkdir(parents=True, exist_ok=True)
                page = arguments.page / f"{alias}-{score}.html"
                page.write_text(render(f"{alias} {score}", judged, score), encoding="utf-8")
    if arguments.page is not None:
        print(f"\nPlots of misses and false alarms: {arguments.page}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("models", nargs="*", help="aliases of models; online ones by default")
    parser.add_argument("--nab", type=Path, help="folder of the Numenta Anomaly Benchmark")
    parser.add_argument("--page", type=Path, help="folder to write the plots to")
    parser.add_argument("--series", default="*", help="pattern of source/family/name")
    parser.add_argument("--kinds", action="store_true", help="show what was found of each kind")
    arguments = parser.parse_args()
    unknown = [alias for alias in arguments.models if alias not in MODELS.available]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there is {', '.join(MODELS.available)}")
    arguments.models = arguments.models or [m for m in ONE_CONFIGURATION if m in MODELS.available]
    return arguments


def _series(nab: Path | None) -> list[LabelledSeries]:
    if nab is None:
        return generate()
    if not (nab / "labels" / "combined_windows.json").exists():
        print(f"There is no NAB in {nab}; set NAB to its folder. Only generated series are scored.")
        return generate()
    return [*read_nab(nab), *generate()]


def _path(series: LabelledSeries) -> str:
    return f"{series.source}/{series.family}/{series.name}"


if __name__ == "__main__":
    main()
