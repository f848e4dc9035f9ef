"""Detection on data that is there already: fit, score, incidents, evaluation."""

from vmanomaly.analysis.detection import Detection
from vmanomaly.analysis.incidents import Incident, find_incidents
from vmanomaly.analysis.run import detect_batch

__all__ = ["Detection", "Incident", "detect_batch", "find_incidents"]
