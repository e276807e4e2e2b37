"""Recurrent networks and what trains them, as compositions of the operations of `tinygrad_seq`, in PyTorch's names."""

from typing import TYPE_CHECKING, Any

from . import figures, functional, init, optim, utils
from .attention import MultiheadAttention
from .cells import Cell, GRUCell, LSTMCell, RNNCell
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .convolution import BatchNorm1d, Conv1d
from .function_modules import (
    ELU,
    GELU,
    GLU,
    CosineSimilarity,
    Flatten,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    PairwiseDistance,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .layers import Dropout, Embedding, Identity, LayerNorm, LazyLinear, Linear
from .lens import lens
from .linear_cell import LinearCell
from .losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    CTCLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from .module import Module, Parameter
from .recurrent import Recurrent
from .rnn import GRU, LSTM, RNN, RNNBase
from .state import State
from .stateless import functional_call
from .variants import (
    LayerNormGRUCell,
    LayerNormLSTMCell,
    LayerNormRNNCell,
    LRUCell,
    MinGRUCell,
    MinLSTMCell,
    PeepholeLSTMCell,
    SLSTMCell,
)

if TYPE_CHECKING:
    from . import interchange as interchange  # not in __all__, which a star import loads
    from . import parallel
else:

    def __getattr__(name: str) -> Any:
        """`nn.interchange` and `nn.parallel`, imported when they are first used: few programs need them."""
        if name not in ("interchange", "parallel"):
            from tinygrad_seq.absent import attribute_error

            raise attribute_error("nn", name)
        from importlib import import_module

        return import_module(f".{name}", __name__)


__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "CTCLoss",
    "Cell",
    "Conv1d",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "Hardtanh",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LRUCell",
    "LSTMCell",
    "LayerNorm",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LayerNormRNNCell",
    "LazyLinear",
    "LeakyReLU",
    "Linear",
    "LinearCell",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MinGRUCell",
    "MinLSTMCell",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PeepholeLSTMCell",
    "RNNBase",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "SLSTMCell",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "State",
    "Tanh",
    "figures",
    "functional",
    "functional_call",
    "init",
    "lens",
    "optim",
    "parallel",
    "utils",
]
