"""Layers over time that are no recurrent ones: Conv1d, and BatchNorm1d."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph import batch_shard

from . import functional as F
from . import init
from .module import Module, Parameter, require_sizes


class Conv1d(Module):
    """The product of windows of x with a weight. x (B, C, L) or (C, L) -> (B, O, L'). See `functional.conv1d`.

    Parameters: weight (O, C / groups, K) and bias (O,), uniform within 1/√(C / groups · K) as in PyTorch.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int]
    stride: int | tuple[int]
    padding: int | str | tuple[int]
    dilation: int | tuple[int]
    groups: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | str | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        width = kernel_size[0] if isinstance(kernel_size, (tuple, list)) else kernel_size
        require_sizes("Conv1d", in_channels=in_channels, out_channels=out_channels, kernel_size=width, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv1d: groups={groups} must divide in_channels and out_channels")
        if padding_mode != "zeros":
            raise ValueError(f"Conv1d: padding_mode takes 'zeros' alone, got {padding_mode!r}; pad x with tg.cat")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, (width,)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        made = {"device": device, "dtype": dtype or tg.float32}
        self.weight = Parameter(tg.zeros(out_channels, in_channels // groups, width, **made))
        self.bias = Parameter(tg.zeros(out_channels, **made)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = (self.weight.shape[1] * self.weight.shape[2]) ** -0.5
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"


class BatchNorm1d(Module):
    """(x - mean) / √(variance + eps) · weight + bias, for each channel. x (B, C) or (B, C, L).

    In training mean and variance are those of the batch, evaluating the running ones. See `functional.batch_norm`.

    Parameters: weight, ones, and bias, zeros, of shape (C,). Buffers: running_mean, running_var, num_batches_tracked.

    Args:
        momentum: how far the running ones go to those of a batch; None for the mean over all batches.
        affine: have weight and bias.
        track_running_stats: have running ones.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    num_features: int
    eps: float
    momentum: float | None
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        require_sizes("BatchNorm1d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        made = {"device": device, "dtype": dtype or tg.float32}
        self.weight = Parameter(tg.ones(num_features, **made)) if affine else None
        self.bias = Parameter(tg.zeros(num_features, **made)) if affine else None
        self.register_buffer("running_mean", tg.zeros(num_features, **made) if track_running_stats else None)
        self.register_buffer("running_var", tg.ones(num_features, **made) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tg.tensor(0, device=device) if track_running_stats else None)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (2, 3) or input.shape[1] != self.num_features:
            raise ValueError(
                f"BatchNorm1d: takes x (B, {self.num_features}) or (B, {self.num_features}, L), got {input.shape}"
            )
        if self.training and batch_shard.is_one_of_several():
            raise RuntimeError(
                "BatchNorm1d: in a group of processes, mean and variance would be those of this process's rows alone; "
                "call eval(), or use nn.LayerNorm"
            )
        count = self.num_batches_tracked if self.training else None
        momentum: Any = self.momentum
        if momentum is None:  # the mean over all batches
            momentum = 0.0 if count is None else 1.0 / (count + 1).to(input.dtype)
        normal = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum, self.eps
        )
        if count is not None:
            with tg.no_grad():
                count.add_(1)
        return normal

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"
