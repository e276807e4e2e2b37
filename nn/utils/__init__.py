"""Helpers around training."""

from . import rnn
from .batches import batches
from .clip import clip_grad_norm_, clip_grad_value_
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .stream import Stream, stream, tbptt

__all__ = [
    "Stream",
    "batches",
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "rnn",
    "stream",
    "tbptt",
    "vector_to_parameters",
]
