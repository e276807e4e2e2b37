"""Optimizers by PyTorch's names and formulas."""

from . import lr_scheduler
from .adam import Adam, AdamW, NAdam
from .adaptive import ASGD, Adadelta, Adagrad, Adamax, RMSprop
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .sgd import SGD

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
