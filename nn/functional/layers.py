"""Layers as functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph import batch_shard

from .checks import floating, in_float32, require_integers, target_for


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b. input x (..., F), weight (O, F), bias (O,) -> (..., O)."""
    return tg.linear(tg.as_tensor(input), weight, bias)


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """The rows of the weight that integers name. input (...), weight (V, F) -> (..., F).

    Args:
        padding_idx: this row is a constant: it gets no gradient. Negative numbers count from the end.

    Raises:
        TypeError: if the input does not hold integers.
        IndexError: if one of them, or padding_idx, is no row of the weight.
    """
    tokens = target_for(weight, input)
    require_integers("embedding", "the tokens", tokens)
    rows = tg.embedding(weight, tokens)
    if padding_idx is None:
        return rows
    padding = (tokens == padding_row("embedding", padding_idx, weight.shape[0])).unsqueeze(-1)
    return tg.where(padding, rows.detach(), rows)


def padding_row(name: str, padding_idx: int, count: int) -> int:
    """`padding_idx` counted from the front; an IndexError if there is no such row."""
    if not -count <= padding_idx < count:
        raise IndexError(f"{name}: padding_idx={padding_idx} is out of range; there are {count} rows: 0 to {count - 1}")
    return padding_idx % count


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: tg.Generator | None = None,
    batch_dim: int | Literal["auto"] | None = "auto",
) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p; evaluating, as it is (Srivastava et al., 2014).

    In a process group, what is drawn for the rows that `distributed.shard` gave this process is what one process draws
    for them in the whole batch; for parameters, and what is computed of them alone, all ranks draw the same. A
    generator of its own is drawn from as it is.

    Args:
        batch_dim: in a group, the dimension along which the rows lie, or None for what belongs to no batch, as weights
            that a constant is multiplied with; found out unless given.

    Raises:
        ValueError: if p is no probability; in a group, if it is not certain where the rows lie.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability from 0 to 1, got {p}")
    if inplace:
        return input.copy_(dropout(input, p, training, generator=generator, batch_dim=batch_dim))
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0.0
    shape, dim = batch_shard.located("dropout", input, None if generator is not None else batch_dim)
    kept = tg.rand(shape, dtype=tg.float32, device=input.device, generator=generator, batch_dim=dim) >= p
    return input * (kept.reshape(input.shape).to(input.dtype) * (1.0 / (1.0 - p)))


def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / √(variance + eps) · weight + bias, over the last dimensions. input (..., *normalized_shape).

    The variance is that of all elements, divided by their number. Ba et al., "Layer normalization", 2016.

    Args:
        normalized_shape: the lengths of the last dimensions, (F,) for x (..., F).
        weight, bias: of that shape.

    Raises:
        ValueError: if a shape does not fit.
    """
    input, shape = floating("layer_norm", "input", input), tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ValueError(
            f"layer_norm: input has shape {input.shape}, which does not end in normalized_shape={shape}; that takes "
            "the lengths of the last dimensions, one at least"
        )
    for what, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != shape:
            raise ValueError(f"layer_norm: {what} has shape {parameter.shape}; takes normalized_shape={shape}")
    return _layer_norm(input, tuple(range(-len(shape), 0)), weight, bias, eps)


@in_float32
def _layer_norm(input: Tensor, dims: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    centered = input - input.mean(dims, keepdim=True)
    normal = centered / ((centered * centered).mean(dims, keepdim=True) + eps).sqrt()
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with numbers around it: `pad` holds how many before and after the last dimension, then the one before it, ...

    Args:
        mode: "constant" for `value`, 0 unless given; "replicate" for what stands at the edge, "reflect" for what stands
            as far within, "circular" for what stands at the other end. Negative numbers cut off.

    Raises:
        ValueError: if there are not so many dimensions, or not so many numbers to put there.
    """
    x = tg.as_tensor(input)
    if mode == "constant":
        return tg.pad(x, pad, 0.0 if value is None else value)
    if mode not in _BEYOND:
        raise ValueError(f"pad: mode takes 'constant', 'replicate', 'reflect' or 'circular', got {mode!r}")
    if value is not None:
        raise ValueError(f"pad: value={value} is for mode='constant', got mode={mode!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim or not all(isinstance(n, int) for n in pad):
        raise ValueError(f"pad: takes pairs of whole numbers for up to {x.ndim} dimensions from the last, got {pad!r}")
    if mode == "circular":  # the other end is that of what is left
        x, pad = tg.pad(x, [min(n, 0) for n in pad]), tuple(max(n, 0) for n in pad)
    for k in range(len(pad) // 2):
        before, after, n = pad[2 * k], pad[2 * k + 1], x.shape[-1 - k]
        most = {"replicate": sys.maxsize if n else 0, "reflect": n - 1, "circular": n}[mode]
        if max(before, after) > max(most, 0) or before + n + after < 0:
            raise ValueError(f"pad: mode={mode!r} cannot put {(before, after)} around {n} numbers")
        if before or after:
            x = x.index_select(-1 - k, _BEYOND[mode](tg.arange(-before, n + after, device=x.device), n))
    return x


_BEYOND: dict[str, Callable[[Tensor, int], Tensor]] = {  # which of n numbers stands at a place before or after them
    "replicate": lambda place, n: place.clamp(0, n - 1),
    "reflect": lambda place, n: (n - 1) - ((n - 1) - place.abs()).abs(),
    "circular": lambda place, n: place % n,
}


def normalize(input: Tensor, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖ₚ, eps), the norm along `dim`: vectors of length 1, and zero where they are zero."""
    return _normalize(floating("normalize", "input", input), p, dim, eps)


@in_float32
def _normalize(input: Tensor, p: float, dim: int | tuple[int, ...], eps: float) -> Tensor:
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁·x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps)), along `dim` of tensors that broadcast with each other."""
    x1, x2 = floating("cosine_similarity", "x1", x1), floating("cosine_similarity", "x2", x2)
    ndim = max(x1.ndim, x2.ndim)
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"cosine_similarity: dim={dim} is out of range for shapes {x1.shape} and {x2.shape}; takes {-ndim} to "
            f"{ndim - 1}"
        )
    shape = (x1.detach() == x2.detach()).shape  # raises, naming the shapes, unless they broadcast
    x1, x2 = x1.broadcast_to(shape), x2.broadcast_to(shape)
    return (normalize(x1, dim=dim, eps=eps) * normalize(x2, dim=dim, eps=eps)).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x₁ - x₂ + eps‖ₚ along the last dimension of tensors that broadcast with each other."""
    x1, x2 = floating("pairwise_distance", "x1", x1), floating("pairwise_distance", "x2", x2)
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)
