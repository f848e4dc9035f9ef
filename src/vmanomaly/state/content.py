"""What is stored of a unit of work, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import orjson

from vmanomaly.model.grouping import Channel, Grouping
from vmanomaly.model.state import Array
from vmanomaly.series import Labels

_PARTS = {"labels"}
_GROUP_PARTS = {"groupby", "groups", "channels", "offsets"}


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


class WrittenBy(Enum):
    """Who has written what is stored, as far as the file system tells."""

    THIS_PROCESS = "this process"
    THIS_USER = "this user"
    OTHERS = "another user"


@dataclass(frozen=True, slots=True)
class Content:
    """What a unit has learned.

    Attributes
    ----------
    members : Members
        Whose state it is.
    arrays : mapping of str to ndarray
        As `SeriesState.arrays` gives them.
    written_by : WrittenBy
        Who has stored the arrays.
    """

    members: Members
    arrays: Mapping[str, Array]
    written_by: WrittenBy = WrittenBy.THIS_PROCESS


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
    ValueError
        It is something else.
    """
    parts = {name: orjson.loads(array.tobytes()) for name, array in arrays.items()}
    if parts.keys() not in (_PARTS, _PARTS | _GROUP_PARTS):
        raise ValueError(f"it holds {', '.join(parts) or 'nothing'}")
    labels = _label_sets(parts["labels"])
    if len(set(labels)) != len(labels):
        raise ValueError("a label set is there more than once")
    if parts.keys() == _PARTS:
        return Members(labels)
    offsets, channels = _list(parts["offsets"]), _list(parts["channels"])
    # Not so large that NumPy could not hold it.
    if not all(type(offset) is int and 0 <= offset <= len(channels) for offset in offsets):
        raise ValueError("offsets: not those of the channels")
    if not all(type(channel) is list and len(channel) == 2 for channel in channels):
        raise ValueError("channels: expected pairs of a query and labels")
    queries = _texts([query for query, _ in channels])
    grouping = Grouping(
        _texts(parts["groupby"]),
        _label_sets(parts["groups"]),
        tuple(map(Channel, queries, _label_sets([pairs for _, pairs in channels]))),
        np.array(offsets, np.int64),
    )
    grouping.check()
    return Members(labels, grouping)


def _label_sets(parts: object) -> tuple[Labels, ...]:
    label_sets = _list(parts)
    for pairs in label_sets:
        if type(pairs) is not dict:
            raise ValueError("expected a label set")
        _texts(list(pairs.values()))
    return tuple(map(Labels, label_sets))


def _texts(parts: object) -> tuple[str, ...]:
    texts = tuple(_list(parts))
    if not all(type(text) is str for text in texts):
        raise ValueError("expected text")
    return texts


def _list(parts: object) -> list[Any]:
    if type(parts) is not list:
        raise ValueError("expected a list")
    return parts
