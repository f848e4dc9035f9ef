"""Models as users write them, for both interfaces."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vmanomaly.model import Column, Model, ModelOutput, SeriesState
from vmanomaly.model.custom import interface
from vmanomaly.model.online import OnlineModel, Points, observe, widened
from vmanomaly.model.state import Array, Range
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch


class PandasBand(interface.Model):
    """Three standard deviations around the mean of the fit."""

    mean: float
    std: float

    def fit(self, df: pd.DataFrame) -> None:
        self.mean, self.std = float(df["y"].mean()), float(df["y"].std(ddof=0))

    def infer(self, df: pd.DataFrame) -> pd.DataFrame:
        return df.assign(
            yhat=self.mean,
            yhat_lower=self.mean - 3 * self.std,
            yhat_upper=self.mean + 3 * self.std,
        )


class PandasOnlineBand(interface.OnlineModel):
    """The smallest and the largest value so far, and the mean of all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high, self.total, self.n = math.inf, -math.inf, 0.0, 0

    def fit(self, df: pd.DataFrame) -> None:
        for y in df["y"]:
            self.low, self.high = min(self.low, y), max(self.high, y)
            self.total, self.n = self.total + y, self.n + 1

    def infer(self, df: pd.DataFrame) -> pd.DataFrame:
        known = self.n > 0
        answer = df.assign(
            yhat=self.total / self.n if known else np.nan,
            yhat_lower=self.low if known else np.nan,
            yhat_upper=self.high if known else np.nan,
        )
        self.fit(df)
        return answer


@dataclass(frozen=True, kw_only=True)
class BatchBand(Model):
    """`width` standard deviations around the mean of the fit."""

    width: float = 3.0

    outputs: ClassVar[tuple[str, ...]] = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
    default_outputs: ClassVar[tuple[str, ...]] = (
        "anomaly_score",
        "yhat",
        "yhat_lower",
        "yhat_upper",
    )
    online: ClassVar[bool] = False
    has_kernels: ClassVar[bool] = False

    columns: ClassVar[tuple[Column, ...]] = (
        Column("mean", np.float64, initial=np.nan, within=Range(-1e300, 1e300, or_nan=True)),
        Column("std", np.float64, initial=np.nan, within=Range(0.0, 1e300, or_nan=True)),
    )

    def fit(self, batch: SeriesBatch) -> SeriesState:
        state = SeriesState(self.columns)
        rows = state.rows(batch.labels)
        observe(state, rows, batch.timestamps, batch.values, np.zeros(1, np.int64))
        for row, values in zip(rows, batch.values, strict=True):
            finite = values[np.isfinite(values)]
            if len(finite):
                state["mean"][row], state["std"][row] = finite.mean(), finite.std()
        return state

    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        rows = state.rows(batch.labels)
        _, eligible, trusted = observe(
            state, rows, batch.timestamps, batch.values, micro_batch_starts
        )
        mean, margin = state["mean"][rows, None], self.width * state["std"][rows, None]
        outputs = {"yhat": mean, "yhat_lower": mean - margin, "yhat_upper": mean + margin}
        return ModelOutput(
            {name: np.where(eligible, each, np.nan) for name, each in outputs.items()},
            eligible,
            trusted,
        )

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        return SeriesState.from_arrays(self.columns, labels, arrays)


@dataclass(frozen=True, kw_only=True)
class BatchOnlineLast(OnlineModel):
    """Expect the last value again."""

    has_kernels: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("last", np.float64, initial=np.nan),)

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        outputs = points.blank_bounds()
        ends = [*points.starts[1:], len(points.timestamps)]
        for row, first, values, *series in zip(
            points.rows, points.first, points.values, *outputs, strict=True
        ):
            for start, end in zip(points.starts, ends, strict=True):
                begin = max(start, first)
                if points.predicted and begin < end:
                    last = state["last"][row]
                    known = np.isfinite(last)
                    bounds = widened(last, last, last) if known else (np.nan, np.nan)
                    for output, value in zip(series, (last, *bounds), strict=True):
                        output[begin:end] = value
                learned = values[begin:end][np.isfinite(values[begin:end])]
                if len(learned):
                    state["last"][row] = learned[-1]
        return outputs._asdict()


class JsonLast(interface.OnlineModel):
    """Expect the last value again; what is stored is JSON."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.last: float | None = None

    def fit(self, df: pd.DataFrame) -> None:
        self.last = float(df["y"].iloc[-1])

    def infer(self, df: pd.DataFrame) -> pd.DataFrame:
        yhat = np.nan if self.last is None else self.last
        self.fit(df)
        return df.assign(yhat=yhat, yhat_lower=yhat - 1.0, yhat_upper=yhat + 1.0)

    def serialize(self) -> bytes:
        return json.dumps(self.last).encode()

    @staticmethod
    def deserialize(model: str | bytes) -> JsonLast:
        last = json.loads(model)
        if not (last is None or (type(last) is float and abs(last) < 1e300)):
            raise ValueError(f"expected a number, found {last!r}")
        instance = JsonLast()
        instance.last = last
        return instance
