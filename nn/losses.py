"""Losses as modules, for those who like them so; the functions in `functional` do the work."""

from __future__ import annotations

from typing import Any

from tinygrad_seq import Tensor

from . import functional as F
from .module import Module


class CrossEntropyLoss(Module):
    """-log softmax(scores)[target], in nats. See `functional.cross_entropy`."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        return F.cross_entropy(scores, target, self.reduction)


class NLLLoss(Module):
    """Minus the log-probability of the target. See `functional.nll_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, log_probabilities: Tensor, target: Any) -> Tensor:
        return F.nll_loss(log_probabilities, target, self.reduction)


class MSELoss(Module):
    """(x - target)². See `functional.mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(x, target, self.reduction)
