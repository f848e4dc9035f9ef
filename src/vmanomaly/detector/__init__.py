"""Detectors: a model, its scores and the policies, without a service around them."""

from vmanomaly.detector.contract import AnyDetector
from vmanomaly.detector.create import create_detector
from vmanomaly.detector.detector import Detector, Learned, ToFit
from vmanomaly.detector.multivariate import MultivariateDetector
from vmanomaly.detector.result import Failure, FitResult, InferResult, LeftOut, Part
from vmanomaly.detector.univariate import UnivariateDetector

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
