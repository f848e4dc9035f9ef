"""Detection on data that is there already: fit, score, incidents, evaluation."""

from vmanomaly.analysis.detection import Detection
from vmanomaly.analysis.run import detect_batch
from vmanomaly.incidents import Incident, find_incidents

__all__ = ["Detection", "Incident", "detect_batch", "find_incidents"]
