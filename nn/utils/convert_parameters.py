"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import tinygrad_seq as tg
from tinygrad_seq import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after another, as a vector; gradients pass through it.

    Raises:
        ValueError: if there are no parameters.
    """
    parts = [p.reshape(-1) for p in parameters]
    if not parts:
        raise ValueError("parameters_to_vector: got no parameters")
    return tg.cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put the elements of a vector into the parameters, in order: what `parameters_to_vector` did, undone.

    Raises:
        TypeError: if it is not a tensor.
        ValueError: if the vector does not have as many elements as the parameters; they keep theirs then.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: takes a tensor, got a {type(vec).__name__}")
    targets = list(parameters)
    sizes = [p.numel() for p in targets]
    if vec.shape != (sum(sizes),):
        raise ValueError(f"vector_to_parameters: takes shape ({sum(sizes)},) for these parameters, got {vec.shape}")
    with tg.no_grad():
        for p, part in zip(targets, vec.split(sizes), strict=True):
            p.copy_(part.reshape(p.shape))
