"""Keeping gradients from exploding."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import tinygrad_seq as tg
from tinygrad_seq import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients, taken as one vector, down to length `max_norm` if it is longer (Pascanu et al., 2013).

    Args:
        parameters: those whose gradients to scale; what has none is passed over.
        max_norm: the length from which to scale.
        norm_type: the p of the length (Σ |g|^p)^(1/p); inf for the largest |g|.
        error_if_nonfinite: raise an error if the length is infinite or nan, instead of making all gradients so.

    Returns:
        The length before, a scalar tensor; 0 if there is no gradient.

    Raises:
        ValueError: if `max_norm` is negative or `norm_type` is not above 0.
        RuntimeError: if the length is not finite and that is to be an error; the gradients are left as they are.
    """
    if not float(max_norm) >= 0:  # nan is not
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    if not float(norm_type) > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be above 0, inf at the most, got {norm_type}")
    with tg.no_grad():
        clipped = _with_gradients("clip_grad_norm_", parameters)
        if not clipped:
            return tg.tensor(0.0)
        norms = [tg.norm(g, float(norm_type)).to(clipped[0][1]) for _, g in clipped]
        length = tg.norm(tg.stack(norms), float(norm_type))
        if error_if_nonfinite and not bool(tg.isfinite(length)):
            raise RuntimeError(
                f"clip_grad_norm_: the gradients have length {length.item()}, which no factor brings down to {max_norm}"
            )
        scale = tg.minimum(max_norm / (length + 1e-6), 1.0)
        for _, g in clipped:
            g.mul_(scale.to(g))
        return length


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every element of the gradients into the range from -clip_value to clip_value.

    Raises:
        ValueError: if `clip_value` is negative.
    """
    if not float(clip_value) >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    with tg.no_grad():
        for _, g in _with_gradients("clip_grad_value_", parameters):
            g.clamp_(-clip_value, clip_value)


def _with_gradients(name: str, parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The parameters that have gradients, each once, with these. It warns of an iterator that is at its end."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not given and isinstance(parameters, Iterator):
        warnings.warn(
            f"{name}: the parameters are a generator without any left, so no gradient is clipped. Was it used before? "
            "Pass list(module.parameters())",
            stacklevel=3,
        )
    return [(p, p.grad) for p in {id(p): p for p in given}.values() if p.grad is not None]
