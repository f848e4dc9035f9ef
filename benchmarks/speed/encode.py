"""Import lines of predictions: the encoder compared with `json.dumps` per line, in one run."""

from __future__ import annotations

import json
import time

import numpy as np

from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer.encoding.encode import AnyEncoder
from vmanomaly.writer.encoding.json_lines import LineEncoder
from vmanomaly.writer.encoding.protobuf import WriteRequestEncoder
from vmanomaly.writer.format import written_labels

METRIC_FORMAT = {"__name__": "$VAR", "for": "$QUERY_KEY"}
ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")


def predictions(n_series: int, n_timestamps: int) -> Predictions:
    random = np.random.default_rng(1)
    values = random.gamma(2.0, 0.4, (n_series, n_timestamps))
    values[random.random(values.shape) < 0.01] = np.nan
    labels = tuple(
        Labels({"job": "node", "instance": f"10.0.{i >> 8}.{i & 255}:9100", "cpu": str(i % 64)})
        for i in range(n_series)
    )
    start = 1_700_000_000_000
    timestamps = start + 60_000 * np.arange(n_timestamps, dtype=np.int64)
    return Predictions(labels, timestamps, {"anomaly_score": values})


def dump_lines(batch: Predictions, metrics: list[dict[str, str]]) -> int:
    """The plain way, with everything ready that a cache could have ready."""
    timestamps = batch.timestamps.tolist()
    size = 0
    for metric, row in zip(metrics, batch.outputs["anomaly_score"], strict=True):
        finite = np.isfinite(row)
        if not finite.any():
            continue
        line = {
            "metric": metric,
            "values": row[finite].tolist(),
            "timestamps": timestamps
            if finite.all()
            else [t for t, keep in zip(timestamps, finite.tolist(), strict=True) if keep],
        }
        size += len(json.dumps(line).encode()) + 1
    return size


def seconds(run: object, repeat: int) -> float:
    assert callable(run)
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


FORMATS: dict[str, type[AnyEncoder]] = {
    "JSON lines": LineEncoder,
    "remote write": WriteRequestEncoder,
}


def main() -> None:
    for name, kind in FORMATS.items():
        kind.warm_up()
        for n_series, n_timestamps in ((40_000, 1), (4, 1_000_000)):
            batch = predictions(n_series, n_timestamps)
            metrics = [
                dict(written_labels(labels, METRIC_FORMAT, ORIGIN, "anomaly_score"))
                for labels in batch.labels
            ]
            encoder = kind(METRIC_FORMAT)
            encoder.encoded_series(batch.labels, ORIGIN)
            ours = seconds(lambda e=encoder, b=batch: sum(1 for _ in e.pieces(b, ORIGIN)), 5)
            plain = seconds(lambda b=batch, m=metrics: dump_lines(b, m), 2)
            n_points = batch.n_points
            print(
                f"encode {name:>12} {n_series:>6} series x {n_timestamps:>7} points: "
                f"{n_points / ours / 1e6:6.1f} M points/s, json.dumps a line "
                f"{n_points / plain / 1e6:6.2f} M points/s, ratio {plain / ours:5.1f} (reach 10)"
            )


if __name__ == "__main__":
    main()
