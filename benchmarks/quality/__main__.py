"""The table of quality, and the page of plots: `python -m benchmarks.quality`."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path

import yaml
from pydantic import ValidationError

from benchmarks.quality.generate import generate
from benchmarks.quality.labelled import LabelledSeries
from benchmarks.quality.nab import read_nab
from benchmarks.quality.page import render
from benchmarks.quality.run import SCORES, run
from benchmarks.quality.table import HEADER, judge, kinds, table
from vmanomaly.config.model import ModelSection
from vmanomaly.config.registry import MODELS

ONE_CONFIGURATION = ("zscore_online", "mad_online", "quantile_online", "temporal_envelope")


def main() -> None:
    arguments = _arguments()
    series = [item for item in _series(arguments.nab) if fnmatch(_path(item), arguments.series)]
    if not series:
        raise SystemExit(f"no series matches {arguments.series}")
    print(f"{len(series)} series\n\n{HEADER}")
    for number, (title, section) in enumerate(arguments.models, 1):
        runs = [run(section, item) for item in series]
        for score in SCORES:
            judged = [judge(item, score) for item in runs]
            print("\n".join(table(f"{title} {score}", judged)))
            if arguments.kinds:
                print("\n".join(kinds(judged)))
            if arguments.page is not None:
                arguments.page.mkdir(parents=True, exist_ok=True)
                page = arguments.page / f"{number}-{section.class_name}-{score}.html"
                page.write_text(render(f"{title} {score}", judged, score), encoding="utf-8")
    if arguments.page is not None:
        print(f"\nPlots of misses and false alarms: {arguments.page}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "models",
        nargs="*",
        type=_model,
        default=[_model(alias) for alias in ONE_CONFIGURATION],
        help="classes of models, or sections such as '{class: std, period: 288}'",
    )
    parser.add_argument("--nab", type=Path, help="folder of the Numenta Anomaly Benchmark")
    parser.add_argument("--page", type=Path, help="folder to write the plots to")
    parser.add_argument("--series", default="*", help="pattern of source/family/name")
    parser.add_argument("--kinds", action="store_true", help="show what was found of each kind")
    return parser.parse_args()


def _model(text: str) -> tuple[str, ModelSection]:
    """Return what a model is called in the table, and its section."""
    raw = yaml.safe_load(text)
    raw = {"class": raw} if isinstance(raw, str) else raw
    alias = raw.get("class") if isinstance(raw, dict) else None
    if alias not in MODELS.aliases or MODELS[alias].section.multivariate:
        univariate = [name for name in MODELS.aliases if not MODELS[name].section.multivariate]
        raise argparse.ArgumentTypeError(
            f"no model {alias} of single series; there is {', '.join(univariate)}"
        )
    try:
        return text, MODELS[alias].section.model_validate(raw)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise argparse.ArgumentTypeError(f"{text}: {wrong}") from error


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
