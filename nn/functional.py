"""Layers and losses as functions: compositions of the engine's operations."""

from __future__ import annotations

from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import (
    Tensor,
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    one_hot,
    pad,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)

__all__ = [
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b. x (..., F), weight (O, F), bias (O,) -> (..., O)."""
    x = tg.as_tensor(x)
    return x @ weight.T if bias is None else tg.addmm(bias, x, weight.T)


def embedding(tokens: Any, weight: Tensor) -> Tensor:
    """The rows of the weight that integers name. tokens (...), weight (V, F) -> (..., F)."""
    tokens = tg.as_tensor(tokens)
    _check_classes("embedding", "a token", tokens, weight.shape[0])
    return weight[tokens]


def dropout(x: Tensor, p: float = 0.5, training: bool = True, *, generator: tg.Generator | None = None) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p; evaluating, as it is (Srivastava et al., 2014)."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability from 0 to 1, got {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    kept = tg.rand(x.shape, dtype=tg.float32, device=x.device, generator=generator) >= p
    return x * (kept.to(x.dtype) * (1.0 / (1.0 - p)))


def nll_loss(log_probabilities: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Minus the log-probability of the target classes. (N, C) and (N,), or (N, C, ...) and (N, ...); in nats."""
    target = tg.as_tensor(target)
    shape = log_probabilities.shape
    if target.shape != shape[:1] + shape[2:] and not (len(shape) == 1 and target.ndim == 0):
        raise ValueError(
            f"cross_entropy: scores of shape {shape} take targets {shape[:1] + shape[2:]}, not {target.shape}. "
            "The classes are dimension 1: flatten time and batch first, as in scores.reshape(-1, V), target.reshape(-1)"
        )
    dim = 1 if len(shape) > 1 else 0
    _check_classes("cross_entropy", "a target class", target, shape[dim])
    return _reduce(-log_probabilities.gather(dim, target.unsqueeze(dim)).squeeze(dim), reduction)


def cross_entropy(scores: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """-log softmax(scores)[target], in nats. scores (N, C) and target (N,), or (N, C, ...) and (N, ...).

    Args:
        reduction: "mean" over all targets, "sum", or "none".

    Raises:
        ValueError: if the shapes do not fit.
        IndexError: if a target is not one of the C classes.
        TypeError: if the targets are not integers.
    """
    return nll_loss(log_softmax(scores, 1 if scores.ndim > 1 else 0), target, reduction)


def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(x - target)², over all elements."""
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: x has shape {x.shape} and target {target.shape}; they must be equal")
    difference = x - target
    return _reduce(difference * difference, reduction)


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"reduction: takes 'mean', 'sum' or 'none', got {reduction!r}")


def _check_classes(name: str, what: str, classes: Tensor, count: int) -> None:
    """NumPy would count negative indices from the end: a wrong number, silently."""
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{name}: takes integers, got {classes.dtype}; convert them with .long()")
    if classes.numel() and classes.device.type == "cpu":  # on a GPU this check would wait for the device
        low, high = int(classes.array.min()), int(classes.array.max())
        if low < 0 or high >= count:
            raise IndexError(f"{name}: {what} is {low if low < 0 else high}, but there are {count}: 0 to {count - 1}")
