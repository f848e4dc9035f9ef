"""How good a parameter set is: a model made with it is fitted and judged, fold by fold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vmanomaly.config.model import ModelSection
from vmanomaly.context import RunContext
from vmanomaly.errors import StoppedError
from vmanomaly.model import create_model, create_multivariate_model
from vmanomaly.model.base import AnyModel, Model, ModelOutput
from vmanomaly.model.grouping import GroupedBatch
from vmanomaly.model.joint import score_groups
from vmanomaly.model.online import Bounds
from vmanomaly.model.scoring import BOUNDS, Policy, adjusted, policed_score
from vmanomaly.model.state import SeriesState
from vmanomaly.series import BoolArray, FloatArray, SeriesBatch
from vmanomaly.tuning.sample import Batch, Sample, spreads
from vmanomaly.tuning.splits import Fold

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a parameter set is.

    Attributes
    ----------
    share : float
        The share of the judged points with a score above 1; the mean of series and folds.
    violation : float
        By how much that share exceeds the limit in a fold; the mean of series and folds. NaN where
        no point was judged.
    loss : float
        How far predictions are from what came, and how wide the expected range is, in units of
        the spread of a series; the median of the means of each series. For a class that predicts
        nothing, the mean score, each counted as 1 at most. Infinite where the model failed.
    state_bytes : int
        The size of what was learned.
    error : str
        Why the model failed; empty if it did not.
    """

    share: float
    violation: float
    loss: float
    state_bytes: int
    error: str = ""

    @property
    def rank(self) -> tuple[float, float]:
        """What is to be small: the violation, and then the loss."""
        return self.violation, self.loss

    @property
    def is_judged(self) -> bool:
        """Whether any point was judged."""
        return not (np.isnan(self.violation) or np.isnan(self.loss))


def failed(error: BaseException) -> Evaluation:
    """Return the evaluation of a parameter set with which the model fails."""
    return Evaluation(np.nan, np.inf, np.inf, 0, f"{type(error).__name__}: {error}")


def evaluate(
    section: ModelSection,
    sample: Sample,
    folds: Sequence[Fold],
    limit: float,
    exact: bool,
    context: RunContext,
    *,
    partly: bool = False,
) -> Evaluation:
    """Fit and judge a model, fold by fold.

    Parameters
    ----------
    section
        The class and its parameters, policies included.
    sample
        The data.
    folds
        As `split` gives them.
    limit
        The largest share of points with a score above 1 that is no violation.
    exact
        Whether an online model learns each point of the judged ones before the next.
    context
        May stop the work between two folds of a block of series.
    partly
        Whether to judge by what is done when the deadline of the context passes, instead of
        raising.

    Raises
    ------
    StoppedError
        As the context says.
    """
    found: list[FloatArray] = []
    state_bytes = 0
    try:
        for number, judged in _evaluations(section, sample, folds, limit, exact):
            found.append(judged)
            state_bytes += number
            context.check()
    except StoppedError:
        if context.is_cancelled or not partly:
            raise
    except Exception as error:
        logger.debug("A trial of %s failed", section.class_name, exc_info=True)
        return failed(error)
    if not found:
        return Evaluation(np.nan, np.nan, np.nan, state_bytes)
    share, violation, loss = np.concatenate(found, axis=1)
    return Evaluation(_mean(share), _mean(violation), _median(loss), state_bytes)


def _evaluations(
    section: ModelSection, sample: Sample, folds: Sequence[Fold], limit: float, exact: bool
) -> Iterator[tuple[int, FloatArray]]:
    """Yield the size of the states, and share, violation and loss, block by block of series."""
    queries = sample.queries
    policies = {query.alias: Policy.of(section, query) for query in queries}
    for number, batch in enumerate(sample.batches):
        model: AnyModel
        if isinstance(batch, GroupedBatch):
            model = create_multivariate_model(section, queries)
            own = policies
        else:
            model = create_model(section, queries[number])
            own = {queries[number].alias: policies[queries[number].alias]}
        for block in batch.blocks(min(model.block_bytes, _BLOCK_BYTES)):
            if not block.labels:
                continue
            of_folds = []
            size = 0
            for fold in folds:
                size, judged = _judge(model, own, block, fold, limit, exact)
                of_folds.append(judged)
                # So that the work can be stopped between two folds.
                yield 0, np.empty((3, 0))
            yield size, _mean_of_folds(np.stack(of_folds)) if of_folds else np.empty((3, 0))


def _judge(
    model: AnyModel,
    policies: dict[str, Policy],
    batch: Batch,
    fold: Fold,
    limit: float,
    exact: bool,
) -> tuple[int, FloatArray]:
    """Return the size of the state, and share, violation and loss of each series of a block."""
    result = np.full((3, len(batch.labels)), np.nan)
    state = _fit(model, fold.to_fit(batch))
    fitted = [row for row, labels in enumerate(batch.labels) if labels in state]
    failed = [row for row, labels in enumerate(batch.labels) if labels in state.errors]
    result[1:, failed] = np.inf
    size = sum(array.nbytes for array in state.arrays().values())
    if not fitted:
        return size, result
    part = fold.to_judge(batch if len(fitted) == len(batch.labels) else batch.keep(fitted))
    if fold.is_leaky:
        state = state.as_of(int(part.timestamps[0]) - 1)
    n_columns = len(part.timestamps)
    starts = np.arange(n_columns) if exact and model.online else np.zeros(1, np.int64)
    output = model.infer(state, part, starts)  # type: ignore[arg-type]
    scale = spreads(batch.values)
    if isinstance(part, GroupedBatch):
        kept = batch.keep(fitted) if len(fitted) < len(batch.labels) else batch
        judged = _judge_groups(model, policies, part, output, spreads(kept.values), limit)
    else:
        (policy,) = policies.values()
        judged = _judge_series(part, output, policy, scale[fitted], limit)
    result[:, fitted] = judged
    return size, result


def _fit(model: AnyModel, batch: Batch) -> SeriesState:
    if isinstance(model, Model):
        assert isinstance(batch, SeriesBatch)  # noqa: S101 - made for this model
        return model.fit(batch)
    assert isinstance(batch, GroupedBatch)  # noqa: S101 - made for this model
    return model.fit(batch)


def _judge_series(
    batch: SeriesBatch, output: ModelOutput, policy: Policy, scale: FloatArray, limit: float
) -> FloatArray:
    outputs = adjusted(output.outputs, policy)
    scores = policed_score(outputs, batch.values, policy)
    counts = output.eligible & output.trusted & np.isfinite(batch.values)
    if all(name in outputs for name in BOUNDS):
        bounds = Bounds(*(outputs[name] for name in BOUNDS))
        counts &= np.isfinite(bounds.yhat)
        loss = forecast_loss(batch.values, bounds, counts, scale, limit)
    else:
        loss = _mean_score(scores, counts)
    return _with_violation(scores, counts, limit, loss)


def _judge_groups(
    model: AnyModel,
    policies: dict[str, Policy],
    batch: GroupedBatch,
    output: ModelOutput,
    scale: FloatArray,
    limit: float,
) -> FloatArray:
    given = {} if model.applies_policies else policies
    scores = score_groups(batch, output, given, ("anomaly_score",)).outputs["anomaly_score"]
    counts = output.eligible & output.trusted & batch.complete
    if all(name in output.channels for name in BOUNDS):
        sizes = np.diff(batch.offsets)
        bounds = Bounds(*(output.channels[name] for name in BOUNDS))
        counts &= batch.per_group(np.logical_and, np.isfinite(bounds.yhat))
        of_channels = np.repeat(counts, sizes, axis=0)
        losses = forecast_loss(batch.values, bounds, of_channels, scale, limit)
        loss = batch.per_group(np.add, losses[:, None])[:, 0] / sizes
    else:
        loss = _mean_score(scores, counts)
    return _with_violation(scores, counts, limit, loss)


def _with_violation(
    scores: FloatArray, counts: BoolArray, limit: float, loss: FloatArray
) -> FloatArray:
    n = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = ((scores > 1.0) & counts).sum(axis=1) / n
    return np.stack([share, np.maximum(share - limit, 0.0), np.where(n > 0, loss, np.nan)])


def forecast_loss(
    y: FloatArray,
    bounds: Bounds,
    counts: BoolArray,
    scale: FloatArray,
    limit: float,
) -> FloatArray:
    """Return the mean absolute error plus the mean width of the range, in units of the spread.

    As many of the largest errors as may be anomalies are left out.

    Parameters
    ----------
    y : ndarray of float64, shape (S, T)
    bounds : Bounds
        What was expected.
    counts : ndarray of bool, shape (S, T)
        Which points count; each of them has a prediction.
    scale : ndarray of float64, shape (S,)
        The spread of each series.
    limit
        The share of points that may be anomalies.

    Returns
    -------
    ndarray of float64, shape (S,)
        NaN where no point counts.

    Examples
    --------
    >>> y = np.array([[1.0, 2.0, 3.0, 50.0]])
    >>> bounds = Bounds(np.full((1, 4), 2.0), np.full((1, 4), 1.0), np.full((1, 4), 3.0))
    >>> forecast_loss(y, bounds, np.ones((1, 4), np.bool_), np.array([2.0]), 0.25)
    array([1.33333333])
    """
    result = np.full(len(y), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        for row in range(len(y)):
            there = counts[row]
            n = int(np.count_nonzero(there))
            if not n:
                continue
            errors = np.sort(np.abs(y[row, there] - bounds.yhat[row, there]))
            width = bounds.yhat_upper[row, there] - bounds.yhat_lower[row, there]
            kept = max(n - int(limit * n), 1)
            loss = (float(np.mean(errors[:kept])) + float(np.mean(width))) / float(scale[row])
            result[row] = loss if np.isfinite(loss) else np.inf
    return result


def _mean_score(scores: FloatArray, counts: BoolArray) -> FloatArray:
    bounded = np.where(counts, np.minimum(scores, 1.0), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: FloatArray = bounded.sum(axis=1) / counts.sum(axis=1)
    return mean


def _mean_of_folds(values: FloatArray) -> FloatArray:
    """Return the means over the first axis; NaN where there is nothing else."""
    n = np.count_nonzero(~np.isnan(values), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: FloatArray = np.where(np.isnan(values), 0.0, values).sum(axis=0) / n
    return mean


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if known.size else float("nan")


def _median(values: FloatArray) -> float:
    known = np.sort(values[~np.isnan(values)])
    if not known.size:
        return float("nan")
    middle = known[(known.size - 1) // 2 : known.size // 2 + 1]
    return float(middle.mean())
