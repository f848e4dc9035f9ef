"""A proxy that takes bodies of up to 1 MiB, as nginx does by default, keeps no score out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from tests.integration.servers import Nginx, VictoriaMetrics
from vmanomaly.config.writer import RemoteWriteSection, VmWriterSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer import create_writer

N_SERIES, N_TIMESTAMPS = 400, 180
OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
START = 1_750_000_020_000
STEP = 60_000

logger = logging.getLogger(__name__)


@pytest.mark.parametrize("section_class", [VmWriterSection, RemoteWriteSection])
def test_a_body_larger_than_a_proxy_takes(
    vm: VictoriaMetrics,
    tmp_path: Path,
    section_class: type[VmWriterSection] | type[RemoteWriteSection],
) -> None:
    timestamps = START + STEP * np.arange(N_TIMESTAMPS, dtype=np.int64)
    random = np.random.default_rng(7)
    outputs = {output: random.normal(size=(N_SERIES, N_TIMESTAMPS)) for output in OUTPUTS}
    labels = tuple(Labels({"host": str(host)}) for host in range(N_SERIES))
    predictions = Predictions(labels, timestamps, outputs)
    with Nginx(tmp_path, f"location / {{ proxy_pass {vm.url}; }}") as nginx:
        writer = create_writer(section_class(datasource_url=nginx.url), Metrics())
        writer.start()
        for _ in range(2):
            writer.write(predictions, Origin(("m",), "zscore", "once", "default"))
        assert writer.flush(60)
        assert writer.last_error is None
        assert writer.n_dropped == 0
        writer.close()
        statuses = [request.status for request in nginx.requests]
    stored = vm.export('{for="m"}')
    logger.info("%d points arrived, requests %s", sum(map(len, stored.values())), statuses)
    # The second time nothing is tried that is known to be too large.
    assert 413 in statuses[: len(statuses) // 2]
    assert 413 not in statuses[len(statuses) // 2 :]
    assert len(stored) == N_SERIES * len(OUTPUTS)
    for series, samples in stored.items():
        times, found = zip(*sorted(set(samples)), strict=True)
        assert times == tuple(timestamps)
        # VictoriaMetrics keeps about twelve digits.
        assert found == pytest.approx(outputs[series["__name__"]][int(series["host"])], rel=1e-11)
