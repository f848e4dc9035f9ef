"""The anomaly score, and the policies that decide whether it counts: the one place for both.

Pure functions on arrays: nothing here knows which model made a prediction. `score_series` is what
a detector does with the output of a model, step by step; models that apply policies themselves
and users' classes take the same steps one by one.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vmanomaly.config.model import (
    BEYOND_LEVELS,
    DRIFT,
    DRIFT_SCORE,
    FLATLINE_SCORE,
    INCIDENT_SCORE,
)
from vmanomaly.model.base import LARGEST, ModelOutput
from vmanomaly.series import BoolArray, FloatArray, Predictions, SeriesBatch

if TYPE_CHECKING:
    from vmanomaly.config.model import ModelSection
    from vmanomaly.config.reader import Query

BOUNDS = ("yhat", "yhat_lower", "yhat_upper")
"""What a score is computed from."""

_JUST_ABOVE_1 = math.nextafter(1.0, 2.0)

_EVIDENCE = (FLATLINE_SCORE, DRIFT_SCORE, BEYOND_LEVELS)
"""What the incident score is made of in addition to the anomaly score, where a model gives it."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done to the predictions of one model for one query, and to their scores.

    Attributes
    ----------
    scale : (float, float)
        Factors of the distances from `yhat` to `yhat_lower` and to `yhat_upper`.
    clip_predictions : bool
        Whether predictions are clipped to `data_range`.
    anomaly_score_outside_data_range : float
        The minimum score of a `y` outside `data_range`.
    data_range : (float, float)
        The values that `y` can have.
    detection_direction : {"both", "above_expected", "below_expected"}
        The side of `yhat` on which a point can score.
    min_dev_from_expected, min_rel_dev_from_expected : (float, float)
        The deviation from `yhat` that a point must exceed to score, below and above it: in the
        units of `y`, and in percent of `|yhat|`.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    clip_predictions: bool = False
    anomaly_score_outside_data_range: float = 1.01
    data_range: tuple[float, float] = (-math.inf, math.inf)
    detection_direction: str = "both"
    min_dev_from_expected: tuple[float, float] = (0.0, 0.0)
    min_rel_dev_from_expected: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, model: ModelSection, query: Query) -> Policy:
        """Combine the settings of a model and a query; those of the query win."""
        return cls(
            scale=model.scale,
            clip_predictions=model.clip_predictions,
            anomaly_score_outside_data_range=model.anomaly_score_outside_data_range,
            data_range=_first_set(query.data_range, model.data_range, cls().data_range),
            detection_direction=_first_set(
                query.detection_direction, model.detection_direction, cls().detection_direction
            ),
            min_dev_from_expected=_first_set(
                query.min_dev_from_expected,
                model.min_dev_from_expected,
                cls().min_dev_from_expected,
            ),
            min_rel_dev_from_expected=_first_set(
                query.min_rel_dev_from_expected,
                model.min_rel_dev_from_expected,
                cls().min_rel_dev_from_expected,
            ),
        )


POLICY_KEYS = tuple(field.name for field in fields(Policy))
"""What a section of a model may say about policies, in the order of `Policy`."""


def _first_set(on_query: _T | None, on_model: _T | None, default: _T) -> _T:
    if on_query is not None:
        return on_query
    return on_model if on_model is not None else default


def score(
    y: FloatArray, yhat: FloatArray, yhat_lower: FloatArray, yhat_upper: FloatArray
) -> FloatArray:
    """Return `|y - yhat| / |bound - yhat|`, with the bound on y's side.

    Parameters
    ----------
    y, yhat, yhat_lower, yhat_upper
        float64, of one shape.

    Returns
    -------
    ndarray of float64, of the same shape
        0 where `y` is `yhat`, 1 where it is the bound, above 1 outside. Finite: what is too
        large is the largest float. Where the bound is `yhat`, a `y` elsewhere scores
        `1 + |y - yhat| / max(|yhat|, 1)`, and always more than 1. NaN where `y` or `yhat` is not
        finite, or the bound is NaN.

    Examples
    --------
    >>> y = np.array([5.0, 7.0, 12.0, 1.0])
    >>> yhat, lower, upper = np.full(4, 5.0), np.full(4, 3.0), np.full(4, 9.0)
    >>> score(y, yhat, lower, upper)
    array([0.  , 0.5 , 1.75, 2.  ])
    >>> score(y, yhat, yhat, yhat)
    array([0. , 1.4, 2.4, 1.8])
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        bound = np.where(y < yhat, yhat_lower, yhat_upper)
        distance = np.abs(y - yhat)
        width = np.abs(bound - yhat)
        result = distance / width
        too_far = ~(np.isfinite(distance) & np.isfinite(width))
        if too_far.any():
            # Differences of finite numbers may overflow; differences of their halves cannot.
            half_distance = np.abs(y[too_far] / 2.0 - yhat[too_far] / 2.0)
            half_width = np.abs(bound[too_far] / 2.0 - yhat[too_far] / 2.0)
            result[too_far] = half_distance / half_width
        no_width = width == 0.0
        if no_width.any():
            size = np.maximum(np.abs(yhat[no_width]), 1.0)
            relative = 2.0 * (np.abs(y[no_width] / 2.0 - yhat[no_width] / 2.0) / size)
            outside = np.maximum(1.0 + relative, _JUST_ABOVE_1)
            result[no_width] = np.where(y[no_width] == yhat[no_width], 0.0, outside)
    result = np.minimum(result, LARGEST)
    return np.where(np.isfinite(y) & np.isfinite(yhat), result, np.nan)


def score_series(
    batch: SeriesBatch,
    model_output: ModelOutput,
    policy: Policy | None,
    provide_series: Sequence[str] | None,
) -> Predictions:
    """Turn the output of a model for a batch into what is written.

    In this order:

    1. The bounds are moved by `scale`.
    2. With `clip_predictions`, predictions are clipped to `data_range`.
    3. `score`, or the model's own where it gives one. A finite `y` without a prediction has 0.
    4. A `y` outside `data_range` scores at least `anomaly_score_outside_data_range`, and is
       exempt from 5 to 7.
    5. A `yhat` outside `data_range` scores 0 (never the case after 2).
    6. A point on the side that `detection_direction` leaves out scores 0.
    7. A point whose deviation does not exceed both `min_dev_from_expected` and
       `min_rel_dev_from_expected` scores 0.
    8. A point that is not yet trusted scores 0, whatever its value.

    A flatline score is subject to 4 to 6 and 8 too: a value that stands still hardly deviates. What
    limits the incident score is subject to 4 to 8.

    Points of which `y` is NaN or infinite, and points that are not eligible, are NaN in every
    output.

    Parameters
    ----------
    batch
        S series on T timestamps.
    model_output
        The model's answer for the batch; not changed.
    policy
        Of the model and the query; None for a model that has done 1 to 7 itself.
    provide_series
        The outputs wanted, in order; None for the score and then all that the model gave, but for
        a flatline score and what limits the incident score. `timestamp` is ignored.

    Raises
    ------
    ValueError
        An output that is wanted is missing, or cannot be computed.
    """
    outputs = scored_outputs(batch.values, model_output, policy, provide_series)
    return Predictions(batch.labels, batch.timestamps, outputs)


def scored_outputs(
    y: FloatArray,
    model_output: ModelOutput,
    policy: Policy | None,
    provide_series: Sequence[str] | None,
) -> dict[str, FloatArray]:
    """Return the outputs of `score_series` by name, each of shape (S, T).

    Parameters
    ----------
    y
        float64, shape (S, T): the values of the batch.
    model_output, policy, provide_series
        As for `score_series`.

    Raises
    ------
    ValueError
        As for `score_series`.
    """
    outputs: Mapping[str, FloatArray] = model_output.outputs
    if policy is not None:
        outputs = adjusted(outputs, policy)
        if provide_series is None:
            unasked = ("anomaly_score", *_EVIDENCE, DRIFT)
            others = (name for name in outputs if name not in unasked)
            provide_series = ("anomaly_score", *others)
        if "anomaly_score" in provide_series:
            outputs = {**outputs, "anomaly_score": policed_score(outputs, y, policy)}
        for name in _EVIDENCE:
            if name in provide_series and name in outputs:
                outputs = {**outputs, name: _policed(name, outputs, y, policy)}
    return chosen(
        {**outputs, "y": y},
        model_output.eligible & np.isfinite(y),
        model_output.trusted,
        tuple(outputs) if provide_series is None else provide_series,
    )


def _policed(
    name: str, outputs: Mapping[str, FloatArray], y: FloatArray, policy: Policy
) -> FloatArray:
    """Return evidence of an incident as the policy has it."""
    yhat = outputs.get("yhat")
    if name == FLATLINE_SCORE:
        policy = _without_least_deviations(policy)
    elif name == DRIFT_SCORE and yhat is not None:
        # It is the level that deviates, from where it was, and not the sample from the level.
        with np.errstate(over="ignore"):
            before = np.clip(yhat - outputs[DRIFT], -LARGEST, LARGEST)
        y, yhat = np.clip(yhat, *policy.data_range), before
    return apply_policies(outputs[name], y, yhat, policy)


def _without_least_deviations(policy: Policy) -> Policy:
    none = (0.0, 0.0)
    return replace(policy, min_dev_from_expected=none, min_rel_dev_from_expected=none)


def needed_outputs(
    provide_series: Sequence[str], available: Container[str] = ()
) -> tuple[str, ...]:
    """Return the outputs that must exist before an incident score is added.

    Parameters
    ----------
    provide_series
        The outputs asked for.
    available
        What the model gives; what the incident score is made of too is used if it is among them.

    Examples
    --------
    >>> needed_outputs(["incident_score", "yhat"])
    ('yhat', 'anomaly_score')
    """
    if INCIDENT_SCORE not in provide_series:
        return tuple(provide_series)
    others = [name for name in provide_series if name != INCIDENT_SCORE]
    evidence = ["anomaly_score", *(name for name in _EVIDENCE if name in available)]
    return tuple(dict.fromkeys([*others, *evidence]))


def chosen(
    outputs: Mapping[str, FloatArray],
    written: BoolArray,
    trusted: BoolArray,
    provide_series: Sequence[str],
) -> dict[str, FloatArray]:
    """Return the outputs that are wanted: NaN where nothing is written, 0 where no score counts.

    Parameters
    ----------
    outputs
        By name, float64, shape (R, T).
    written
        Where a point is written, bool, shape (R, T).
    trusted
        Where the score counts, bool, shape (R, T).
    provide_series
        The outputs wanted, in order; `timestamp` is ignored.

    Raises
    ------
    ValueError
        One of them is missing.
    """
    wanted = [name for name in provide_series if name != "timestamp"]
    missing = [name for name in wanted if name not in outputs]
    if missing:
        raise ValueError(
            f"provide_series asks for {', '.join(missing)}; the model gives {', '.join(outputs)}"
        )
    for name in ("anomaly_score", *_EVIDENCE):
        if name in wanted:
            outputs = {**outputs, name: np.where(trusted, outputs[name], 0.0)}
    return {name: np.where(written, outputs[name], np.nan) for name in wanted}


def adjusted(outputs: Mapping[str, FloatArray], policy: Policy) -> dict[str, FloatArray]:
    """Return the outputs after steps 1 and 2 of `score_series`: bounds moved, predictions clipped.

    Examples
    --------
    >>> outputs = {"yhat": np.array([5.0]), "yhat_upper": np.array([6.0])}
    >>> adjusted(outputs, Policy(scale=(1.0, 3.0), clip_predictions=True, data_range=(0.0, 7.0)))
    {'yhat': array([5.]), 'yhat_upper': array([7.])}
    """
    result = dict(outputs)
    if policy.scale != (1.0, 1.0):
        result |= scaled_bounds(outputs, policy.scale)
    if policy.clip_predictions:
        result |= {
            name: np.clip(values, *policy.data_range)
            for name, values in result.items()
            if name.startswith("yhat")
        }
    return result


def scaled_bounds(
    outputs: Mapping[str, FloatArray], scale: tuple[float, float]
) -> dict[str, FloatArray]:
    """Return the bounds, those of forecasts included, at `scale` times their distance.

    A bound without the prediction that it belongs to is left out.

    Examples
    --------
    >>> outputs = {"yhat": np.array([5.0]), "yhat_upper": np.array([6.0])}
    >>> scaled_bounds(outputs, (1.0, 3.0))
    {'yhat_upper': array([8.])}
    """
    scaled = {}
    for side, sign, factor in (("yhat_lower", -1.0, scale[0]), ("yhat_upper", 1.0, scale[1])):
        for name, bound in outputs.items():
            yhat = outputs.get("yhat" + name.removeprefix(side))
            if name.startswith(side) and yhat is not None:
                with np.errstate(over="ignore"):
                    moved = yhat + sign * factor * np.abs(bound - yhat)
                scaled[name] = np.clip(moved, -LARGEST, LARGEST)
    return scaled


def policed_score(outputs: Mapping[str, FloatArray], y: FloatArray, policy: Policy) -> FloatArray:
    """Return the score after steps 3 to 7 of `score_series`, of finite `y`.

    Parameters
    ----------
    outputs
        As `adjusted` gives them: an `anomaly_score` of the model's own, or `yhat`, `yhat_lower`
        and `yhat_upper`.
    y
        float64, of the same shape as each of them.
    policy
        Of the model and the query.

    Raises
    ------
    ValueError
        The outputs have neither.

    Examples
    --------
    >>> y, ten = np.array([8.0, 16.0]), np.full(2, 10.0)
    >>> outputs = {"yhat": ten, "yhat_lower": ten - 2.0, "yhat_upper": ten + 2.0}
    >>> policed_score(outputs, y, Policy(detection_direction="above_expected"))
    array([0., 3.])
    """
    raw = outputs.get("anomaly_score")
    if raw is None:
        if any(name not in outputs for name in BOUNDS):
            raise ValueError(
                "infer returned no anomaly_score, and not all of yhat, yhat_lower and yhat_upper "
                f"to compute it from; it returned {', '.join(outputs) or 'no output'}"
            )
        raw = score(y, *(outputs[name] for name in BOUNDS))
    return apply_policies(raw, y, outputs.get("yhat"), policy)


def apply_policies(
    raw: FloatArray, y: FloatArray, yhat: FloatArray | None, policy: Policy
) -> FloatArray:
    """Apply steps 4 to 7 of `score_series` to scores of finite `y`; again, nothing changes.

    Parameters
    ----------
    raw, y, yhat
        float64, of one shape. Without `yhat`, only a `y` outside `data_range` is judged.
    policy
        Of the model and the query.
    """
    if yhat is None:
        counts = np.ones(y.shape, np.bool_)
    else:
        counts = _inside(yhat, policy.data_range) & _exceeds_deviations(y, yhat, policy)
        if policy.detection_direction == "above_expected":
            counts &= y > yhat
        elif policy.detection_direction == "below_expected":
            counts &= y < yhat
    result = np.where(counts & ~np.isnan(raw), raw, 0.0)
    least = least_score(y, policy)
    if least is not None:
        result = np.where(np.isnan(least), result, np.fmax(raw, least))
    return result


def least_score(y: FloatArray, policy: Policy) -> FloatArray | None:
    """Return the minimum score of `y` outside `data_range`, NaN inside; None without such a range.

    Examples
    --------
    >>> least_score(np.array([0.5, 2.0]), Policy(data_range=(0.0, 1.0)))
    array([ nan, 1.01])
    """
    if policy.data_range == (-math.inf, math.inf):
        return None
    inside = _inside(y, policy.data_range)
    return np.where(inside, np.nan, policy.anomaly_score_outside_data_range)


def _inside(values: FloatArray, data_range: tuple[float, float]) -> BoolArray:
    return (values >= data_range[0]) & (values <= data_range[1])


def _exceeds_deviations(y: FloatArray, yhat: FloatArray, policy: Policy) -> BoolArray:
    exceeds = np.ones(y.shape, np.bool_)
    below = y < yhat
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = np.abs(y - yhat)
        if policy.min_dev_from_expected != (0.0, 0.0):
            lower, upper = policy.min_dev_from_expected
            exceeds &= deviation > np.where(below, lower, upper)
        if policy.min_rel_dev_from_expected != (0.0, 0.0):
            lower, upper = policy.min_rel_dev_from_expected
            exceeds &= deviation > np.where(below, lower, upper) * np.abs(yhat) / 100.0
    return exceeds
