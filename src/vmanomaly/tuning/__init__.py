"""The search for the parameters of a model: spaces, validation, Optuna, and the detector `auto`."""

from vmanomaly.tuning.objective import Evaluation
from vmanomaly.tuning.sample import Sample
from vmanomaly.tuning.study import Outcome, tune

__all__ = ["Evaluation", "Outcome", "Sample", "tune"]
