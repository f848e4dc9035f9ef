"""Compile every kernel of every built-in class, into the installed package.

The code is found by any user of the same Python on a processor of the kind `NUMBA_CPU_NAME`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS, READERS, WRITERS, Entry
from vmanomaly.detector import create_detector
from vmanomaly.kernel import many_compilations
from vmanomaly.kernel_cache import cache_folder
from vmanomaly.model import create_model, create_multivariate_model
from vmanomaly.series import Labels, SeriesBatch

logger = logging.getLogger(__name__)

STEP_MS = 60_000
# They have no kernels but those of other models.
WITHOUT_KERNELS = frozenset({"auto", "custom", "holtwinters", "prophet"})


def main() -> None:
    """Compile, and say where the code is."""
    started = time.perf_counter()
    with many_compilations():
        for registry in (READERS, WRITERS):
            for alias in registry.aliases:
                registry.implementation(alias).warm_up()
        for section in sections():
            run(section)
    seconds = time.perf_counter() - started
    logger.info("Compiled in %.0f s into %s", seconds, cache_folder())


def sections() -> Iterator[ModelSection]:
    """Yield a section of every built-in model, with forecasts where it has them."""
    for entry in MODELS:
        if entry.alias in WITHOUT_KERNELS:
            continue
        yield section_of(entry)
        if "forecast_at" in entry.section.model_fields:
            outputs = ["anomaly_score", "incident_score", "yhat"]
            yield section_of(entry, forecast_at=["1h"], provide_series=outputs)


def section_of(entry: Entry[ModelSection], **keys: object) -> ModelSection:
    """Return a section with the keys that have no default set to their examples."""
    needed = {
        name: field.examples[0]
        for name, field in entry.section.model_fields.items()
        if field.is_required() and field.examples
    }
    wanted = {"provide_series": ["anomaly_score", "incident_score"]}
    return entry.section.model_validate({"class": entry.alias, **needed, **wanted, **keys})


def run(section: ModelSection) -> None:
    """Fit a model of the section on a series, and infer."""
    query = Query.model_validate({"alias": "q", "expr": "q", "step": "1m"})
    model = (
        create_multivariate_model(section, [query])
        if section.multivariate
        else create_model(section, query)
    )
    detector = create_detector(model, section, [query])
    learned, _ = detector.fit([batch(0)])
    detector.infer(learned, [batch(1)], np.array([0, 5], np.int64))


def batch(number: int) -> SeriesBatch:
    """Return ten points of a series, each batch after the one before."""
    timestamps = (10 * number + 1 + np.arange(10, dtype=np.int64)) * STEP_MS
    values = np.arange(10.0)[None, :] % 3
    return SeriesBatch((Labels({"__name__": "compile"}),), timestamps, values)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
