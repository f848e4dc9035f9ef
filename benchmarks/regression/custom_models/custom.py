"""Two models of a user, on frames of pandas."""

from __future__ import annotations

import pandas as pd
from model.model import Model, MultivariateModel  # type: ignore[import-not-found]


class CustomModel(Model):  # type: ignore[misc]
    """The usual range of each hour of the day."""

    def __init__(self, share: float = 0.98, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._quantiles = [(1 - share) / 2, 0.5, (1 + share) / 2]

    def fit(self, df: pd.DataFrame) -> None:
        by_hour = df["y"].groupby(df["timestamp"].dt.hour)
        self._profile = by_hour.quantile(self._quantiles).unstack()
        self._profile.columns = ["yhat_lower", "yhat", "yhat_upper"]

    def infer(self, df: pd.DataFrame) -> pd.DataFrame:
        expected = self._profile.reindex(df["timestamp"].dt.hour)
        return df.assign(**{name: expected[name].to_numpy() for name in expected})


class Spread(MultivariateModel):  # type: ignore[misc]
    """Channels that keep their distance."""

    def fit(self, df: pd.DataFrame) -> None:
        self._usual = self._spread(df).quantile(0.99)

    def infer(self, df: pd.DataFrame) -> pd.DataFrame:
        return df[["timestamp"]].assign(anomaly_score=self._spread(df) / self._usual)

    def _spread(self, df: pd.DataFrame) -> pd.Series:
        channels = df.drop(columns="timestamp")
        return channels.max(axis=1) - channels.min(axis=1)
