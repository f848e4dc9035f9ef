"""Which name is meant by one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_LONGEST = 100
_MOST_COMPARED = 1000


def closest(name: str, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like another one; None if none is.

    Names of more than 100 characters are like no other, and more than 1,000 are not compared:
    either would take seconds.

    Parameters
    ----------
    name
        What somebody wrote.
    known
        What could have been meant.
    cutoff
        How much alike they have to be, from 0 to 1.

    Examples
    --------
    >>> closest("treshold", ["threshold", "z_threshold"])
    'threshold'
    """
    if len(name) > _LONGEST or len(known) > _MOST_COMPARED:
        return None
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff)), None)
