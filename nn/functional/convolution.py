"""Convolution over time, and normalisation over a batch."""

from __future__ import annotations

from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph.tracing_hook import require_unpadded

from .checks import floating


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int] = 1,
    padding: int | str | tuple[int] = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
) -> Tensor:
    """The product of windows of x with a weight. x (B, C, L) or (C, L), weight (O, C / groups, K) -> (B, O, L').

    Args:
        stride: the distance between two windows.
        padding: how many zeros come before and after x; "valid" for none, "same" for as many as leave L as it is.
        dilation: the distance between two entries of a window.
        groups: the channels fall into that many groups, each with a weight of its own.

    Raises:
        ValueError: if a size does not fit.
    """
    x = floating("conv1d", "input", input)
    stride, dilation = _single("stride", stride), _single("dilation", dilation)
    filters, width, K = weight.shape if weight.ndim == 3 else (0, 0, 0)
    if x.ndim not in (2, 3) or not filters or x.shape[-2] != width * groups or filters % groups:
        raise ValueError(
            f"conv1d: x has shape {x.shape}, weight {weight.shape}, with groups={groups}; takes x (B, C, L) or (C, L), "
            "weight (O, C / groups, K)"
        )
    if bias is not None and bias.shape != (filters,):
        raise ValueError(
            f"conv1d: bias has shape {bias.shape}; takes one number for each of the O filters: ({filters},)"
        )
    reach = dilation * (K - 1)
    if isinstance(padding, str):
        if padding not in ("valid", "same") or (padding == "same" and stride != 1):
            raise ValueError(f"conv1d: padding takes a number, 'valid', or 'same' with stride=1, got {padding!r}")
        before, after = (0, 0) if padding == "valid" else (reach // 2, reach - reach // 2)
    else:
        before = after = _single("padding", padding)
    x = tg.pad(x, (before, after)) if before or after else x
    if x.shape[-1] <= reach:
        raise ValueError(f"conv1d: a window reaches over {reach + 1} steps, and x with its padding has {x.shape[-1]}")
    windows = x.unfold(-1, reach + 1, stride)[..., ::dilation].transpose(-3, -2)  # (B, L', C, K)
    parts = windows.split(width, -2)
    weights = weight.split(filters // groups, 0)
    y = tg.cat([part.flatten(-2) @ w.flatten(1).T for part, w in zip(parts, weights, strict=True)], -1)
    return (y if bias is None else y + bias).transpose(-2, -1)


def _single(name: str, value: Any) -> int:
    """A whole number, also as the tuple of one."""
    given = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
    if not isinstance(given, int) or given < (name != "padding"):
        raise ValueError(f"conv1d: {name} takes a whole number from {int(name != 'padding')} on, got {value!r}")
    return given


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / √(variance + eps) · weight + bias, for each channel. x (B, C) or (B, C, L). Ioffe & Szegedy, 2015.

    Args:
        running_mean, running_var: (C,), used when evaluating; in training they go on, in place, by `momentum` to the
            mean and the (unbiased) variance of the batch.
        training: take mean and variance of the batch, also where there are no running ones.

    Raises:
        ValueError: if a shape does not fit, or there is one value for each channel alone. Nothing is changed then.
    """
    x = floating("batch_norm", "input", input)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: takes x (B, C) or (B, C, L), got shape {x.shape}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: takes running_mean and running_var both, or neither")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, value in given.items():
        if value is not None and value.shape != x.shape[1:2]:
            raise ValueError(
                f"batch_norm: {name} has shape {value.shape}; takes one number for each channel of x {x.shape}"
            )
    shape = (1, x.shape[1], *[1] * (x.ndim - 2))
    running: list[tuple[Tensor, Tensor]] = []
    if training or running_mean is None or running_var is None:
        require_unpadded("batch_norm would take means")
        dims = tuple(d for d in range(x.ndim) if d != 1)
        count = x.numel() // max(x.shape[1], 1)
        if count < 2:
            raise ValueError(f"batch_norm: takes more than one value for each channel of a batch, got {x.shape}")
        mean = x.mean(dims, keepdim=True)
        centered = x - mean
        variance = (centered * centered).mean(dims, keepdim=True)
        if running_mean is not None and running_var is not None:
            with tg.no_grad():
                running = [
                    (running_mean, running_mean * (1 - momentum) + mean.reshape(-1) * momentum),
                    (
                        running_var,
                        running_var * (1 - momentum) + variance.reshape(-1) * (momentum * count / (count - 1)),
                    ),
                ]
    else:
        centered, variance = x - running_mean.reshape(shape), running_var.reshape(shape)
    normal = centered / (variance + eps).sqrt()
    normal = normal if weight is None else normal * weight.reshape(shape)
    normal = normal if bias is None else normal + bias.reshape(shape)
    with tg.no_grad():
        for old, new in running:  # when nothing can fail any more
            old.copy_(new)
    return normal
