"""The scores of groups of series, and of the channels of groups, policies applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vmanomaly.config.model import CONTRIBUTION
from vmanomaly.model.base import ModelOutput
from vmanomaly.model.grouping import GroupedBatch
from vmanomaly.model.scoring import Policy, chosen, least_score, scored_outputs
from vmanomaly.series import FloatArray, IntArray, Labels, Predictions


def score_groups(
    batch: GroupedBatch,
    model_output: ModelOutput,
    policies: Mapping[str, Policy],
    provide_series: Sequence[str],
) -> Predictions:
    """Return the joint outputs, one row per group.

    Where any channel is outside the `data_range` of its query, the score is at least its
    `anomaly_score_outside_data_range`. The other policies compare a `y` with its `yhat`, of which
    a group has none. Where a channel has no finite sample, nothing is written.

    Parameters
    ----------
    batch
        G groups on T timestamps.
    model_output
        The model's answer for the batch; not changed.
    policies
        Of the model and each query, by the query's alias; empty for a model that applies them
        itself.
    provide_series
        The joint outputs wanted, in order.
    """
    outputs = model_output.outputs
    if "anomaly_score" in outputs and policies:
        at_least = batch.per_group(np.fmax, _least_scores(batch, policies))
        outputs = {**outputs, "anomaly_score": np.fmax(outputs["anomaly_score"], at_least)}
    written = model_output.eligible & batch.complete
    return Predictions(
        batch.labels,
        batch.timestamps,
        chosen(outputs, written, model_output.trusted, provide_series),
    )


def channel_outputs(
    batch: GroupedBatch,
    model_output: ModelOutput,
    policies: Mapping[str, Policy],
    provide_series: Sequence[str],
) -> dict[str, FloatArray]:
    """Return the outputs of single channels by name, each of shape (C, T).

    Nothing is written where any channel of the group has no finite sample. Everything else is as
    `score_series` does it.

    Parameters
    ----------
    batch, model_output
        As for `score_groups`.
    policies
        Of the model and every query, by the query's alias; or empty for none.
    provide_series
        The outputs wanted, in order; of channels only.
    """
    sizes = np.diff(batch.offsets)
    written, trusted = (
        np.repeat(of_groups, sizes, axis=0)
        for of_groups in (model_output.eligible & batch.complete, model_output.trusted)
    )
    found: dict[str, FloatArray] = {}
    for policy, rows in _rows_by_policy(batch, policies):
        scored = scored_outputs(
            batch.values[rows],
            ModelOutput(
                {name: values[rows] for name, values in model_output.channels.items()},
                written[rows],
                trusted[rows],
            ),
            policy,
            provide_series,
        )
        if isinstance(rows, slice):
            return scored
        for name, values in scored.items():
            found.setdefault(name, np.empty(batch.values.shape))[rows] = values
    return found


def _rows_by_policy(
    batch: GroupedBatch, policies: Mapping[str, Policy]
) -> Iterator[tuple[Policy, IntArray | slice]]:
    """Yield each policy with the rows that it is for: all at once where there is only one."""
    distinct = set(policies.values()) or {Policy()}
    if len(distinct) == 1:
        yield distinct.pop(), slice(None)
        return
    rows: dict[Policy, list[int]] = {}
    for query_key, of_query in _rows_by_query(batch).items():
        rows.setdefault(policies[query_key], []).extend(of_query)
    for policy, of_policy in rows.items():
        yield policy, np.array(of_policy)


def score_channels(
    batch: GroupedBatch,
    model_output: ModelOutput,
    policies: Mapping[str, Policy],
    provide_series: Sequence[str],
) -> dict[str, Predictions]:
    """Return the outputs of single channels, by the alias of their query.

    Parameters are those of `channel_outputs`.
    """
    outputs = channel_outputs(batch, model_output, policies, provide_series)
    return {
        query_key: Predictions(
            tuple(batch.channels[row].labels for row in rows),
            batch.timestamps,
            {name: values[rows] for name, values in outputs.items()},
        )
        for query_key, rows in _rows_by_query(batch).items()
    }


def score_contributions(batch: GroupedBatch, model_output: ModelOutput) -> dict[str, Predictions]:
    """Return the contribution of each channel, by the alias of its query.

    The label `channel` says which one, unless the series has a label of that name already: what
    is written has no metric name, and several channels may have no other label.

    Parameters
    ----------
    batch
        G groups on T timestamps.
    model_output
        The model's answer for the batch; not changed.
    """
    by_query = score_channels(batch, model_output, {}, (CONTRIBUTION,))
    names = channel_names(batch)
    named = {}
    for (query_key, predictions), rows in zip(
        by_query.items(), _rows_by_query(batch).values(), strict=True
    ):
        labels = tuple(
            Labels({"channel": names[row], **batch.channels[row].labels}) for row in rows
        )
        named[query_key] = replace(predictions, labels=labels)
    return named


def channel_names(batch: GroupedBatch) -> tuple[str, ...]:
    """Return a name for each channel that no other channel of its group has.

    That is its metric name, or else the alias of its query; followed by the labels that it does not
    share with its group where several have the same one.

    Examples
    --------
    >>> from vmanomaly.model.grouping import Channel
    >>> channels = tuple(
    ...     Channel("disk", Labels({"__name__": name, "host": "a", "mode": mode}))
    ...     for name, mode in (("reads", "sync"), ("writes", "sync"), ("writes", "async"))
    ... )
    >>> offsets, timestamps = np.array([0, 3]), np.array([1])
    >>> host = (Labels({"host": "a"}),)
    >>> channel_names(GroupedBatch(host, channels, offsets, timestamps, np.zeros((3, 1))))
    ('reads', 'writes{mode="sync"}', 'writes{mode="async"}')
    """
    names = []
    for labels, rows in zip(batch.labels, batch.slices(), strict=True):
        channels = batch.channels[rows]
        short = [channel.labels.get("__name__") or channel.query_key for channel in channels]
        counts = Counter(short)
        for name, channel in zip(short, channels, strict=True):
            own = channel.labels.without("__name__", *labels) if counts[name] > 1 else Labels()
            names.append(f"{name}{own}" if own else name)
    return tuple(names)


def _least_scores(batch: GroupedBatch, policies: Mapping[str, Policy]) -> FloatArray:
    """Return the minimum score of each sample, NaN where there is none; shape (C, T)."""
    result = np.full(batch.values.shape, np.nan)
    for policy, rows in _rows_by_policy(batch, policies):
        least = least_score(batch.values[rows], policy)
        if least is not None:
            result[rows] = least
    return result


def _rows_by_query(batch: GroupedBatch) -> dict[str, list[int]]:
    """Return where the channels of each query are."""
    rows: dict[str, list[int]] = {}
    for row, channel in enumerate(batch.channels):
        rows.setdefault(channel.query_key, []).append(row)
    return rows
