"""Tensors made from nothing but a shape."""

from __future__ import annotations

from typing import Any

from .backend import DType
from .conversion import as_dtype
from .device import device as Device
from .device import resolve
from .tensor import Tensor


def _new(name: str, size: tuple[Any, ...], dtype: DType, device: Any, requires_grad: bool, *args: Any) -> Tensor:
    target = resolve(device)
    lengths = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    with_settings = getattr(target.backend, name)
    made: Tensor = Tensor.wrap(with_settings(lengths, *args, dtype=as_dtype(dtype), index=target.index))
    return made.requires_grad_(requires_grad)


def zeros(*size: Any, dtype: DType = float, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """All zeros: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _new("full", size, dtype, device, requires_grad, 0)


def ones(*size: Any, dtype: DType = float, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """All ones: `ones(2, 3)` or `ones((2, 3))`."""
    return _new("full", size, dtype, device, requires_grad, 1)


def full(
    size: tuple[int, ...],
    fill_value: float,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """All of one value, whose type decides the dtype unless one is given."""
    return _new("full", (tuple(size),), type(fill_value) if dtype is None else dtype, device, requires_grad, fill_value)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros of the shape and dtype and on the device of x."""
    return zeros(x.shape, dtype=x.dtype, device=x.device)


def ones_like(x: Tensor) -> Tensor:
    """Ones of the shape and dtype and on the device of x."""
    return ones(x.shape, dtype=x.dtype, device=x.device)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
) -> Tensor:
    """start, start + step, ... short of `end`; `arange(n)` counts from 0 to n - 1. Integers if all arguments are."""
    start, end = (0, start) if end is None else (start, end)
    if step == 0:
        raise ValueError("arange: step must not be 0")
    integral = all(isinstance(v, int) for v in (start, end, step))
    kind = as_dtype((int if integral else float) if dtype is None else dtype)
    target = resolve(device)
    return Tensor.wrap(target.backend.arange(start, end, step, dtype=kind, index=target.index))
