"""What the functions here ask of their arguments, and how a loss for each target becomes one number."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph.tracing_hook import require

REDUCTIONS = ("mean", "sum", "none")


def floating(name: str, what: str, x: Any) -> Tensor:
    """x as a tensor, which must be floating-point."""
    x = tg.as_tensor(x)
    if x.dtype.kind not in "fc":  # complex numbers are gradcheck's
        raise TypeError(f"{name}: {what} must be floating-point, got {x.dtype}; convert it with .float()")
    return x


def target_for(input: Tensor, target: Any) -> Tensor:
    """The target as a tensor; what was none comes to the device of the input, and if floating-point to its dtype."""
    if isinstance(target, Tensor):
        return target
    target = tg.as_tensor(target).to(device=input.device)
    return target.to(input.dtype) if target.dtype.kind == "f" else target


def pair(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Input and target of a loss element by element: floating-point, and of one shape."""
    input = floating(name, "input", input)
    target = target_for(input, target)
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: input has shape {input.shape} and target {target.shape}; they must be equal, as "
            "broadcasting would compare each with all. Use .reshape() or .expand() on one of them"
        )
    return input, target if target.dtype.kind in "fc" else target.to(input.dtype)


def weight_for(name: str, what: str, weight: Any, input: Tensor, classes: int | None = None) -> Tensor | None:
    """A weight in the dtype and on the device of the input: one number for each class, or what broadcasts to it."""
    if weight is None:
        return None
    if isinstance(weight, str):
        raise TypeError(f"{name}: the third argument is {what}, a tensor, got {weight!r}; write reduction={weight!r}")
    if isinstance(weight, Tensor):
        weight = weight.to(input.dtype)
    else:
        weight = tg.as_tensor(weight, dtype=input.dtype, device=input.device)
    if classes is not None and weight.shape != (classes,):
        raise ValueError(
            f"{name}: {what} has shape {weight.shape}; takes one number for each of the C classes: ({classes},)"
        )
    if classes is None:
        try:
            weight.broadcast_to(input.shape)
        except ValueError:
            raise ValueError(
                f"{name}: {what} has shape {weight.shape}, which does not broadcast to the target's, {input.shape}"
            ) from None
    return weight


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorator: of halves, what the function makes of them in float32, rounded once at the end."""

    @wraps(function)
    def computed(input: Tensor, *args: Any) -> Tensor:
        if input.dtype != tg.float16:
            return function(input, *args)
        return function(input.float(), *args).to(tg.float16)

    return computed


def reduction_of(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None, *more: str
) -> str:
    """Which reduction is meant, also by PyTorch's old switches: reduce=False is "none", size_average=False "sum".

    Raises:
        ValueError: unless it is one of the three, or of what this loss has besides.
        TypeError: if a switch is none.
    """
    for switch, value in (("size_average", size_average), ("reduce", reduce)):
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"{name}: {switch} takes True or False, got {value!r}; write reduction={value!r}")
    if size_average is not None or reduce is not None:
        warnings.warn(f"{name}: size_average and reduce are old names; write reduction=", stacklevel=3)
        return "none" if reduce is False else "sum" if size_average is False else "mean"
    reduction = "mean" if reduction == "elementwise_mean" else reduction
    if reduction not in (*REDUCTIONS, *more):
        names = [repr(r) for r in (*REDUCTIONS, *more)]
        raise ValueError(f"{name}: reduction takes {', '.join(names[:-1])} or {names[-1]}, got {reduction!r}")
    return reduction


def reduced(losses: Tensor, reduction: str, share: Tensor | None = None) -> Tensor:
    """The losses as they are, their sum, or their mean: divided by the sum of `share`, or by how many there are.

    A mean of nothing (all shares are 0) is nan, as in PyTorch.
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if share is None else _shared(losses, share)


@in_float32
def _shared(losses: Tensor, share: Tensor) -> Tensor:
    total = share.float().sum() if share.dtype == tg.float16 else share.sum()
    return losses.sum() / tg.where(total == 0, float("nan"), total)  # 0 / 0 would warn


def require_integers(name: str, what: str, numbers: Tensor) -> None:
    """Raise a TypeError unless the tensor holds integers."""
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"{name}: {what}, takes integers, got {numbers.dtype}; convert them with .long()")


def require_classes(name: str, what: str, classes: Tensor, count: int) -> None:
    """Raise an IndexError unless all are from 0 to count - 1: NumPy would count negative ones from the end."""

    def check(numbers: Any) -> None:
        if tg.array_module(numbers).count_nonzero((numbers < 0) | (numbers >= count)):
            low, high = int(numbers.min()), int(numbers.max())
            raise IndexError(f"{name}: {what} is {low if low < 0 else high}, but there are {count}: 0 to {count - 1}")

    if classes.numel() and classes.device.type == "cpu":  # on a GPU this check would wait for the device
        require(check, classes)
