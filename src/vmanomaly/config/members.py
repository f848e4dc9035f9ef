"""Which of several members this process is, and which sub-configs each of them runs.

Members do not talk to each other: each derives the same list of sub-configs from the same files,
and takes its own from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vmanomaly.config.problems import Findings

MEMBERS_COUNT = "VMANOMALY_MEMBERS_COUNT"
MEMBER_NUM = "VMANOMALY_MEMBER_NUM"
REPLICATION_FACTOR = "VMANOMALY_REPLICATION_FACTOR"
SPLIT_BY = "VMANOMALY_SPLIT_BY"

STRATEGIES = ("complete", "schedulers", "models", "queries", "extra_filters")
"""What a config can be split by; the first is the default."""

_WHOLE = re.compile("[0-9]{1,9}")
_POD = re.compile(r"(?:.*-)?([0-9]{1,9})", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """One of the processes that share the work of a config.

    Attributes
    ----------
    number
        Which one it is, from 0.
    count
        How many there are.
    replication_factor
        How many of them run each sub-config.
    split_by
        What the config is split by.

    Examples
    --------
    >>> Member(number=0, count=3, replication_factor=2).own(9)
    [0, 2, 3, 5, 6, 8]
    """

    number: int = 0
    count: int = 1
    replication_factor: int = 1
    split_by: str = STRATEGIES[0]

    @property
    def is_alone(self) -> bool:
        """Whether there is no other member, so that it runs everything."""
        return self.count == 1

    @property
    def has_replicas(self) -> bool:
        """Whether other members run the same sub-configs."""
        return self.replication_factor > 1

    def own(self, n: int) -> list[int]:
        """Return which of `n` sub-configs this member runs, by their positions.

        Sub-config `i` runs on the members `(i + r) % count`, r from 0 to `replication_factor` - 1.
        """
        return [i for i in range(n) if (self.number - i) % self.count < self.replication_factor]


def read_member(environ: Mapping[str, str], findings: Findings) -> Member:
    """Read from the environment which member this process is.

    Parameters
    ----------
    environ
        The environment variables.
    findings
        Takes a problem for each that is wrong.
    """
    count = _read_count(environ, MEMBERS_COUNT, findings)
    replication_factor = _read_count(environ, REPLICATION_FACTOR, findings)
    number = _read_number(environ, count, findings)
    split_by = environ.get(SPLIT_BY, "").strip().lower() or STRATEGIES[0]
    if split_by not in STRATEGIES:
        findings.error(
            (SPLIT_BY,), f"this environment variable must be one of {', '.join(STRATEGIES)}"
        )
    if count is not None and replication_factor is not None and replication_factor > count:
        if count > 1:
            findings.warn(
                (REPLICATION_FACTOR,),
                f"{replication_factor} replicas need as many members, and {MEMBERS_COUNT} is "
                f"{count}: every member runs everything",
            )
        else:
            findings.warn(
                (REPLICATION_FACTOR,),
                f"has no effect, because {MEMBERS_COUNT} is 1; set both",
            )
        replication_factor = count
    return Member(number or 0, count or 1, replication_factor or 1, split_by)


def _read_count(environ: Mapping[str, str], name: str, findings: Findings) -> int | None:
    """Return a whole number from 1, which is the default; None if it is something else."""
    text = environ.get(name, "").strip() or "1"
    if not _WHOLE.fullmatch(text) or int(text) < 1:
        findings.error((name,), "this environment variable must be a whole number from 1")
        return None
    return int(text)


def _read_number(environ: Mapping[str, str], count: int | None, findings: Findings) -> int | None:
    text = environ.get(MEMBER_NUM, "").strip() or "0"
    found = _POD.fullmatch(text)
    if found is None:
        findings.error(
            (MEMBER_NUM,),
            "this environment variable must be a whole number, or the name of a pod that ends in "
            "- and one",
        )
        return None
    number = int(found[1])
    if count is not None and number >= count:
        findings.error(
            (MEMBER_NUM,),
            f"this environment variable means member {number}, and there are only the members 0 "
            f"to {count - 1}; raise {MEMBERS_COUNT}, or lower it"
            if count > 1
            else f"this environment variable means member {number}, and {MEMBERS_COUNT} is 1; set "
            "it to the number of members",
        )
    return number
