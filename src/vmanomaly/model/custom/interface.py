"""What the file of a custom model imports as `model.model`.

A custom model describes one series, or one group of series, with an object of a class that is
derived from `Model`, and takes and gives pandas frames. The names here, their arguments and
attributes are those of the reference's guide, so that a file written for it runs unchanged.
"""

from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from vmanomaly.closest import closest
from vmanomaly.model.custom.unpickling import check_unpickling
from vmanomaly.model.scoring import BOUNDS, POLICY_KEYS, Policy, adjusted, policed_score
from vmanomaly.series import FloatArray

if TYPE_CHECKING:
    from pandas import DataFrame

PICKLE_PROTOCOL = 5
"""The protocol with which `serialize` pickles."""

Pair: TypeAlias = "float | Sequence[float]"

_SHARED = ("args", "provide_series", *POLICY_KEYS, "groupby")


def deserialize_basic(model: str | bytes) -> Any:
    """Unpickle a model from its bytes, or from a file of that path.

    Unpickling runs whatever code the bytes name: only the file of a custom model calls this, on
    what its own `serialize` returned.

    Raises
    ------
    ValueError
        It is from the folder of stored state, and not to be unpickled.
    """
    check_unpickling()
    stored = model if isinstance(model, bytes) else Path(model).read_bytes()
    return pickle.loads(stored)  # noqa: S301 - the user's own choice; docs/custom-models.md


class Model(ABC):
    """A model of one series that learns at `fit` only.

    Parameters
    ----------
    args
        The model's own parameters, from the key `args`.
    provide_series
        The outputs that are to be written; empty for all that `infer` gives.
    scale
        Factors of the distances from `yhat` to `yhat_lower` and to `yhat_upper`.
    clip_predictions
        Whether predictions are clipped to `data_range`.
    anomaly_score_outside_data_range, data_range, detection_direction, min_dev_from_expected, \
min_rel_dev_from_expected
        The policies that apply: of the query, or else of the model.
    groupby
        Labels that tell the groups of a multivariate model apart.
    **unknown
        Keys of the model's section that no class took.

    Attributes
    ----------
    is_online : bool
        Whether `infer` continues learning.
    is_multivariate : bool
        Whether one model describes many series at once.

    Raises
    ------
    TypeError
        There are unknown keys.
    """

    is_online: ClassVar[bool] = False
    is_multivariate: ClassVar[bool] = False

    def __init__(
        self,
        *,
        args: Mapping[str, Any] | None = None,
        provide_series: Sequence[str] | None = None,
        scale: Pair = (1.0, 1.0),
        clip_predictions: bool = False,
        anomaly_score_outside_data_range: float = 1.01,
        data_range: Sequence[float] | None = None,
        detection_direction: str = "both",
        min_dev_from_expected: Pair = 0.0,
        min_rel_dev_from_expected: Pair = 0.0,
        groupby: Sequence[str] = (),
        **unknown: Any,
    ) -> None:
        if unknown:
            name = next(iter(unknown))
            close = closest(name, _SHARED)
            hint = "" if close is None else f"; did you mean {close}?"
            raise TypeError(f"{type(self).__name__} does not take the key {name}{hint}")
        self.args = dict(args or {})
        self.provide_series = list(provide_series or ())
        self.scale = scale
        self.clip_predictions = clip_predictions
        self.anomaly_score_outside_data_range = anomaly_score_outside_data_range
        self.data_range = (-math.inf, math.inf) if data_range is None else data_range
        self.detection_direction = detection_direction
        self.min_dev_from_expected = min_dev_from_expected
        self.min_rel_dev_from_expected = min_rel_dev_from_expected
        self.groupby = list(groupby)

    @abstractmethod
    def fit(self, df: DataFrame) -> Any:
        """Learn from scratch; the return value is ignored.

        Parameters
        ----------
        df
            `timestamp` (datetime64[ns], UTC without a time zone, ascending) and `y` (float64,
            finite). For a multivariate model, one column per channel instead of `y`, named after
            its query and labels as in `cpu{host="a"}`, in the same order at every call.
        """

    @abstractmethod
    def infer(self, df: DataFrame) -> DataFrame:
        """Return what is expected of new points, or how anomalous they are.

        Parameters
        ----------
        df
            As for `fit`; never empty, and never a point that was there before. For an online
            model, one micro-batch: predict it first, then learn it.

        Returns
        -------
        DataFrame
            The same `timestamp`, and `anomaly_score`, or `yhat`, `yhat_lower` and `yhat_upper`
            from which it is computed. Other columns of numbers are outputs too.
        """

    def serialize(self) -> bytes:
        """Return what `deserialize` makes the same model from."""
        return pickle.dumps(self, protocol=PICKLE_PROTOCOL)

    @staticmethod
    def deserialize(model: str | bytes) -> Any:
        """Return the model from what `serialize` returned, or from a file of that path."""
        return deserialize_basic(model)

    def _prepare_ci_columns(
        self,
        df: DataFrame,
        scale: Pair | None = None,
        clip_predictions: bool | None = None,
        data_range: Sequence[float] | None = None,
    ) -> None:
        """Move the bounds by `scale` and clip predictions, in place.

        Defaults to the model's own.
        """
        predictions = {name: _column(df, name) for name in df.columns if name.startswith("yhat")}
        policy = Policy(
            scale=_pair(self.scale if scale is None else scale),
            clip_predictions=self.clip_predictions
            if clip_predictions is None
            else clip_predictions,
            data_range=_pair(self.data_range if data_range is None else data_range),
        )
        for name, values in adjusted(predictions, policy).items():
            df[name] = values

    def get_anomaly_score(
        self,
        df: DataFrame,
        data_range: Sequence[float] | None = None,
        detection_direction: str | None = None,
        min_dev_from_expected: Pair | None = None,
        min_rel_dev_from_expected: Pair | None = None,
        anomaly_score_outside_data_range: float | None = None,
    ) -> FloatArray:
        """Return the score of every row, policies applied, as for the built-in models.

        Parameters
        ----------
        df
            With the columns `y`, `yhat`, `yhat_lower` and `yhat_upper`.
        data_range, detection_direction, min_dev_from_expected, min_rel_dev_from_expected, \
anomaly_score_outside_data_range
            Policies, which default to the model's own.
        """
        policy = self._policy(
            data_range=data_range,
            detection_direction=detection_direction,
            min_dev_from_expected=min_dev_from_expected,
            min_rel_dev_from_expected=min_rel_dev_from_expected,
            anomaly_score_outside_data_range=anomaly_score_outside_data_range,
        )
        bounds = {name: _column(df, name) for name in BOUNDS}
        return policed_score(bounds, _column(df, "y"), policy)

    def _assemble_output_columns(self) -> list[str]:
        """Return the columns that are to be written, `timestamp` first."""
        wanted = self.provide_series or ["anomaly_score", "y", *BOUNDS]
        return ["timestamp", *(name for name in wanted if name != "timestamp")]

    def _policy(self, **given: Any) -> Policy:
        chosen = {k: getattr(self, k) if v is None else v for k, v in given.items()}
        for name in ("min_dev_from_expected", "min_rel_dev_from_expected", "data_range"):
            chosen[name] = _pair(chosen[name])
        return Policy(**chosen)


class OnlineModel(Model):
    """A model that learns at `infer` too: each call predicts first, then learns.

    Parameters
    ----------
    decay
        Weight of the past, per point.
    min_n_samples_seen
        The score is 0 until that many points have been seen.
    **kwargs
        As for `Model`.

    Attributes
    ----------
    n_samples_seen_ : int
        The points learned so far; the service keeps it.
    """

    is_online: ClassVar[bool] = True

    n_samples_seen_: int = 0

    def __init__(self, *, decay: float = 1.0, min_n_samples_seen: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decay = decay
        self.min_n_samples_seen = min_n_samples_seen


class MultivariateModel(Model):
    """A model of a group of series, which gives one `anomaly_score` for all of them."""

    is_multivariate: ClassVar[bool] = True


def _column(df: DataFrame, name: str) -> FloatArray:
    if name not in df.columns:
        raise ValueError(f"the frame has no column {name}; it has {', '.join(map(str, df))}")
    values: FloatArray = df[name].to_numpy(dtype=np.float64)
    return values


def _pair(value: Pair) -> tuple[float, float]:
    if isinstance(value, Sequence):
        first, second = value
        return float(first), float(second)
    return float(value), float(value)
