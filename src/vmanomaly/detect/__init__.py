"""Detectors: a model, its scores and the policies, without a service around them."""

from vmanomaly.detect.create import AnyDetector, create_detector
from vmanomaly.detect.detector import Detector, Learned, ToFit
from vmanomaly.detect.multivariate import MultivariateDetector
from vmanomaly.detect.result import Failure, FitResult, InferResult, LeftOut, Part
from vmanomaly.detect.univariate import UnivariateDetector

__all__ = [
    "AnyDetector",
    "Detector",
    "Failure",
    "FitResult",
    "InferResult",
    "Learned",
    "LeftOut",
    "MultivariateDetector",
    "Part",
    "ToFit",
    "UnivariateDetector",
    "create_detector",
]
