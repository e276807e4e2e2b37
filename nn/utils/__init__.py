"""Helpers around training."""

from typing import TYPE_CHECKING, Any

from . import rnn
from .batches import batches
from .clip import clip_grad_norm_, clip_grad_value_
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .stream import Stream, stream, tbptt
from .weight_norm import remove_weight_norm, weight_norm

clip_grad_norm = clip_grad_norm_  # as PyTorch called it before version 0.4

if TYPE_CHECKING:
    from . import data as data  # not in __all__, which a star import loads
else:

    def __getattr__(name: str) -> Any:
        """`nn.utils.data`, imported when it is first used: it takes half as long as all the rest."""
        if name != "data":
            raise AttributeError(f"module 'nn.utils' has no attribute {name!r}")
        from importlib import import_module

        return import_module(".data", __name__)


__all__ = [
    "Stream",
    "batches",
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "remove_weight_norm",
    "rnn",
    "stream",
    "tbptt",
    "vector_to_parameters",
    "weight_norm",
]
