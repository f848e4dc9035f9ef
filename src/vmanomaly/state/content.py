"""What is stored of a unit of work, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vmanomaly.model.grouping import Channel, Grouping
from vmanomaly.model.state import Array
from vmanomaly.series import Labels


@dataclass(frozen=True, slots=True)
class Members:
    """Whose state it is.

    Attributes
    ----------
    labels : tuple of Labels
        The label set of every row, of a series or of a group.
    grouping : Grouping or None
        The channels of the groups; None where the model is not multivariate.
    """

    labels: tuple[Labels, ...]
    grouping: Grouping | None = None

    def same_as(self, other: Members | None) -> bool:
        """Tell quickly whether both are the same; False may be wrong."""
        # Tuples compare by identity first, and rows keep their label sets.
        return other is not None and self.grouping is other.grouping and self.labels == other.labels


@dataclass(frozen=True, slots=True)
class Content:
    """What a unit has learned.

    Attributes
    ----------
    members : Members
        Whose state it is.
    arrays : mapping of str to ndarray
        As `SeriesState.arrays` gives them.
    """

    members: Members
    arrays: Mapping[str, Array]


def to_arrays(members: Members) -> dict[str, Array]:
    """Return the members as arrays of a file, from which `members_of` reads them.

    Examples
    --------
    >>> members = Members((Labels({"cpu": "0"}), Labels({"cpu": "1"})))
    >>> members_of(to_arrays(members)) == members
    True
    """
    parts: dict[str, Any] = {"labels": [labels.as_dict() for labels in members.labels]}
    if members.grouping is not None:
        grouping = members.grouping
        parts["groupby"] = grouping.groupby
        parts["groups"] = [labels.as_dict() for labels in grouping.labels]
        parts["channels"] = [
            (channel.query_key, channel.labels.as_dict()) for channel in grouping.channels
        ]
        parts["offsets"] = grouping.offsets.tolist()
    return {name: np.frombuffer(orjson.dumps(part), np.uint8) for name, part in parts.items()}


def members_of(arrays: Mapping[str, Array]) -> Members:
    """Read what `to_arrays` gave.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        It is something else.
    """
    parts = {name: orjson.loads(array.tobytes()) for name, array in arrays.items()}
    labels = tuple(Labels(pairs) for pairs in parts["labels"])
    if "groupby" not in parts:
        return Members(labels)
    channels = tuple(Channel(query, Labels(pairs)) for query, pairs in parts["channels"])
    offsets = np.array(parts["offsets"], np.int64)
    groups = tuple(Labels(pairs) for pairs in parts["groups"])
    if len(offsets) != len(groups) + 1 or offsets[-1] != len(channels):
        raise ValueError("the channels are not those of the groups")
    return Members(labels, Grouping(tuple(parts["groupby"]), groups, channels, offsets))
