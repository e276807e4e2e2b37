"""Keeping gradients from exploding."""

from __future__ import annotations

from collections.abc import Iterable

import tinygrad_seq as tg
from tinygrad_seq import Tensor


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale the gradients, taken as one vector, down to length `max_norm` if it is longer (Pascanu et al., 2013).

    Returns:
        The length before, a scalar tensor; 0 if there is no gradient.
    """
    with tg.no_grad():
        given = [parameters] if isinstance(parameters, Tensor) else parameters
        clipped = [p for p in given if p.grad is not None]
        if not clipped:
            return tg.tensor(0.0)
        squares = [(p.grad * p.grad).sum() for p in clipped if p.grad is not None]
        length = tg.sqrt(tg.sum(tg.stack(squares)))
        scale = tg.minimum(max_norm / (length + 1e-6), 1.0)
        for p in clipped:
            p.grad = p.grad * scale if p.grad is not None else None
        return length
