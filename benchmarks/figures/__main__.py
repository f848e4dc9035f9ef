"""Draw every plot of the documentation: `python -m benchmarks.figures --into FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.figures import memory, models, parameters, relation
from vmanomaly.demo.telemetry import generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="the folder of the SVG files")
    folder = parser.parse_args().into
    folder.mkdir(parents=True, exist_ok=True)
    telemetry = generate()
    documents = {scene.alias: models.figure(scene, telemetry) for scene in models.SCENES}
    for comparison in parameters.COMPARISONS:
        documents[comparison.name] = parameters.figure(comparison, telemetry)
    curves = [memory.bytes_per_series(step, length) for step, length in memory.LENGTH.items()]
    documents["quantile_online_memory"] = memory.figure(curves)
    documents["temporal_envelope_multivariate"] = relation.figure()
    for name, document in documents.items():
        path = folder / f"{name}.svg"
        path.write_text(document, encoding="utf-8")
        print(f"{path}: {len(document) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
