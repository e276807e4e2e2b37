"""Activations as functions."""

from __future__ import annotations

import warnings
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

# with inplace=True, each changes its argument and returns it


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return input.copy_(tg.relu(input)) if inplace else tg.relu(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · sigmoid(x)."""
    return input.copy_(tg.silu(input)) if inplace else tg.silu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, negative_slope · x elsewhere."""
    y = tg.leaky_relu(input, negative_slope)
    return input.copy_(y) if inplace else y


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, alpha · (exp(x) - 1) elsewhere."""
    y = tg.elu(input, alpha)
    return input.copy_(y) if inplace else y


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / Σ exp(x) along `dim`. Without it, a warning says which one is taken, as in PyTorch."""
    return tg.softmax(input, _chosen("softmax", input, dim), dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x) along `dim`."""
    return tg.softmax(-input, _chosen("softmin", input, dim), dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """x - log Σ exp(x) along `dim`. Without it, a warning says which one is taken, as in PyTorch."""
    return tg.log_softmax(input, _chosen("log_softmax", input, dim), dtype=dtype)


def _chosen(name: str, input: Tensor, dim: int | None) -> int:
    """The dimension, or the one that PyTorch takes if none is given: the first of 0, 1 or 3, else the second."""
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
        warnings.warn(
            f"{name}: takes dim={dim} of shape {input.shape}, since no dim was given; say which", stacklevel=3
        )
    return dim


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b), with a and b the halves of x along `dim`. Dauphin et al., 2017.

    Raises:
        ValueError: if that length is odd.
    """
    if not input.ndim or input.shape[dim] % 2:
        raise ValueError(f"glu: takes a dimension of even length, got dim={dim} of shape {input.shape}")
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta · x)) / beta, and as in PyTorch x itself where beta · x > threshold (`tg.softplus`: nowhere)."""
    input = tg.as_tensor(input)
    return tg.where(input * beta > threshold, input, tg.softplus(input * beta) / beta)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), finite wherever x is."""
    return -tg.softplus(-tg.as_tensor(input))


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x, but no less than min_val and no more than max_val. On the bounds the gradient is 0, unlike that of `clamp`."""
    if not min_val <= max_val:
        raise ValueError(f"hardtanh: takes min_val <= max_val, got {min_val} and {max_val}")
    input = tg.as_tensor(input)
    if input.dtype.kind in "iu":
        if min_val % 1 or max_val % 1:
            raise TypeError(f"hardtanh: {min_val} and {max_val} are no bounds of integers; convert them with .float()")
        min_val, max_val = int(min_val), int(max_val)
    y = tg.where(input <= min_val, min_val, tg.where(input >= max_val, max_val, input))
    return input.copy_(y) if inplace else y
