"""What runs have written, read back: the scores above the threshold, and what belongs together."""

from vmanomaly.scores.above import Above, ScoreFilter, Scorer
from vmanomaly.scores.grouping import IncidentGroup, Member, group_incidents
from vmanomaly.scores.queried import QueriedScores
from vmanomaly.scores.source import ScoreSource
from vmanomaly.scores.stored import StoredScores

__all__ = [
    "Above",
    "IncidentGroup",
    "Member",
    "QueriedScores",
    "ScoreFilter",
    "ScoreSource",
    "Scorer",
    "StoredScores",
    "group_incidents",
]
