"""Ways to fill a parameter with numbers, in place, by PyTorch's names."""

from __future__ import annotations

import tinygrad_seq as tg
from tinygrad_seq import Tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in [a, b)."""
    with tg.no_grad():
        return tensor.copy_(tg.rand(tensor.shape, dtype=tensor.dtype, device=tensor.device) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with this mean and standard deviation."""
    with tg.no_grad():
        return tensor.copy_(tg.randn(tensor.shape, dtype=tensor.dtype, device=tensor.device) * std + mean)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All of one value."""
    with tg.no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """All zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All ones."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform with variance gain² · 2 / (fan_in + fan_out). W (fan_out, fan_in). Glorot & Bengio, 2010."""
    fan_out, fan_in = tensor.shape
    bound = gain * (6.0 / (fan_in + fan_out)) ** 0.5
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with variance gain² · 2 / (fan_in + fan_out). W (fan_out, fan_in). Glorot & Bengio, 2010."""
    fan_out, fan_in = tensor.shape
    return normal_(tensor, 0.0, gain * (2.0 / (fan_in + fan_out)) ** 0.5)
