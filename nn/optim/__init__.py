"""Optimizers by PyTorch's names and formulas."""

from typing import TYPE_CHECKING, Any

from . import lr_scheduler
from .adam import Adam, AdamW, NAdam
from .adaptive import ASGD, Adadelta, Adagrad, Adamax, RMSprop
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .sgd import SGD

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        from tinygrad_seq.absent import attribute_error

        raise attribute_error("nn.optim", name)


__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
]
