"""Learning rates that change from step to step, by PyTorch's names and with its numbers."""

from .cycles import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from .factors import ConstantLR, CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, MultiStepLR, StepLR
from .scheduler import LRScheduler, ReduceLROnPlateau, SequentialLR

_LRScheduler = LRScheduler  # as PyTorch called it before version 2

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
