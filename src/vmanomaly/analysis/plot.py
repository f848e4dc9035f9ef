"""A plot of a series with what was expected of it, by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vmanomaly.errors import UsageError

if TYPE_CHECKING:
    from vmanomaly.analysis.detection import Detection


def plot_series(detection: Detection, row: int, axes: Any = None) -> Any:
    """Plot one series of a detection; see `Detection.plot`.

    Raises
    ------
    UsageError
        matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            "plots need matplotlib: pip install 'vmanomaly[plot]'; a report needs nothing more"
        ) from error
    if axes is None:
        _, axes = pyplot.subplots(
            2, 1, sharex=True, figsize=(11, 5), height_ratios=(3, 1), layout="constrained"
        )
    values, scores = axes
    times = detection.timestamps.astype("datetime64[ms]")
    outputs = {name: each[row] for name, each in detection.outputs.items()}
    if {"yhat_lower", "yhat_upper"} <= outputs.keys():
        values.fill_between(
            times,
            outputs["yhat_lower"],
            outputs["yhat_upper"],
            alpha=0.2,
            label="expected range",
        )
    if "yhat" in outputs:
        values.plot(times, outputs["yhat"], linewidth=0.8, label="yhat")
    values.plot(times, outputs["y"], linewidth=0.8, color="black", label="y")
    score = outputs[detection.score_name]
    high = score > 1
    values.plot(times[high], outputs["y"][high], ".", color="tab:red", label="score above 1")
    values.set_title(str(detection.labels[row]), fontsize="medium")
    values.legend(loc="upper left", fontsize="small", ncols=4)
    scores.plot(times, np.minimum(score, 5), linewidth=0.8, color="tab:red")
    scores.axhline(1, linestyle=":", color="gray")
    scores.set_ylabel(detection.score_name)
    return values.figure
