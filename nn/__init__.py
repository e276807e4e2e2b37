"""Recurrent networks and what trains them, as compositions of the operations of `tinygrad_seq`, in PyTorch's names."""

from . import functional, init, optim, utils
from .cells import LSTMCell, RNNCell
from .layers import Dropout, Embedding, Linear
from .losses import CrossEntropyLoss, MSELoss, NLLLoss
from .module import Module, ModuleList, Parameter, Sequential, functional_call
from .recurrent import LSTM, RNN

__all__ = [
    "LSTM",
    "RNN",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "LSTMCell",
    "Linear",
    "MSELoss",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "RNNCell",
    "Sequential",
    "functional",
    "functional_call",
    "init",
    "optim",
    "utils",
]
