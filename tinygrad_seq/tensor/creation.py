"""Tensors made from a shape, from data, and on the memory of other libraries' arrays."""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, DType, backend_of, float64, int64, is_array
from ..graph import Value
from ..graph.conversion import as_dtype, is_scalar, require_numbers_in, to_array
from ..graph.device import device as Device
from ..graph.device import device_of, resolve
from ..graph.errors import public
from ..graph.saved_tensors import version_counter
from ..ops.dims import lengths
from ..ops.elementwise import where
from .legacy_types import OF_DTYPE, Format, Size
from .tensor import Tensor, tensor


def _full(name: str, size: tuple[Any, ...], value: float, dtype: DType, device: Any, requires_grad: bool) -> Tensor:
    target = resolve(device)
    made: Tensor = Tensor.wrap(target.backend.full(lengths(name, size), value, as_dtype(dtype), target.index))
    return made.requires_grad_(requires_grad)


@public
def zeros(*size: Any, dtype: DType = float, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """All zeros: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _full("zeros", size, 0, dtype, device, requires_grad)


@public
def ones(*size: Any, dtype: DType = float, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """All ones: `ones(2, 3)` or `ones((2, 3))`."""
    return _full("ones", size, 1, dtype, device, requires_grad)


@public
def empty(*size: Any, dtype: DType = float, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """For numbers to come: all zeros."""
    return _full("empty", size, 0, dtype, device, requires_grad)


@public
def empty_like(
    x: Tensor,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    memory_format: Format = None,
) -> Tensor:
    """For numbers to come: zeros of the shape and, unless given, the dtype and device of x."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


@public
def full(
    size: tuple[int, ...],
    fill_value: float,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """All of one value, whose type decides the dtype unless one is given."""
    if not isinstance(fill_value, (bool, int, float, complex)) and not is_scalar(fill_value):
        raise TypeError(f"full: takes a number, got a {type(fill_value).__name__}; expand() spreads out a tensor")
    if dtype is None:
        number: Any = fill_value
        dtype = tensor(number.item() if is_scalar(number) else number, device="cpu").dtype
    return _full("full", (size,), fill_value, dtype, device, requires_grad)


@public
def zeros_like(
    x: Tensor,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    memory_format: Format = None,
) -> Tensor:
    """Zeros of the shape and, unless given, the dtype and device of x."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


@public
def ones_like(
    x: Tensor,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    memory_format: Format = None,
) -> Tensor:
    """Ones of the shape and, unless given, the dtype and device of x."""
    return ones(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


@public
def full_like(
    x: Tensor,
    fill_value: float,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    memory_format: Format = None,
) -> Tensor:
    """One value in the shape and, unless given, the dtype and device of x."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


class _OfDtype(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == OF_DTYPE[cls.__name__]


class _Typed(metaclass=_OfDtype):
    def __new__(cls, *data: Any) -> Tensor:  # type: ignore[misc]
        dtype = OF_DTYPE[cls.__name__]
        if len(data) == 1 and not isinstance(data[0], (int, Size)):
            return tensor(data[0], dtype)
        return empty(*data if data else (0,), dtype=dtype)


class FloatTensor(_Typed):
    """Numbers as a tensor of float32; of lengths, as `empty`. All tensors of that dtype are instances of it."""


class DoubleTensor(_Typed):
    """Numbers as a tensor of float64; of lengths, as `empty`."""


class HalfTensor(_Typed):
    """Numbers as a tensor of float16; of lengths, as `empty`."""


class LongTensor(_Typed):
    """Numbers as a tensor of int64; of lengths, as `empty`."""


class IntTensor(_Typed):
    """Numbers as a tensor of int32; of lengths, as `empty`."""


class ShortTensor(_Typed):
    """Numbers as a tensor of int16; of lengths, as `empty`."""


class CharTensor(_Typed):
    """Numbers as a tensor of int8; of lengths, as `empty`."""


class ByteTensor(_Typed):
    """Numbers as a tensor of uint8; of lengths, as `empty`."""


class BoolTensor(_Typed):
    """Truth values as a tensor; of lengths, as `empty`."""


@public
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType = float,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix, m = n unless given, and zeros elsewhere."""
    rows, columns = lengths("eye", (n, n if m is None else m))
    ones = arange(rows, device=device).unsqueeze(1) == arange(columns, device=device)
    return ones.to(as_dtype(dtype)).requires_grad_(requires_grad)


@public
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType = float,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from `start` to `end`, both included. Of integers those next to them towards 0.

    `start` and `end` are numbers, or tensors of one, which get no gradient.
    """
    (steps,), kind = lengths("linspace", (steps,)), as_dtype(dtype)
    start, end = [v.item() if hasattr(v, "dtype") else v for v in (start, end)]
    if kind.kind in "iu":
        start, end = int(start), int(end)
    step, place = (end - start) / max(steps - 1, 1), arange(steps, dtype="float64", device=device)
    first_half = place < max(steps // 2, 1)  # each half from its own end, both of which are met to the last digit
    numbers = where(first_half, place * step + start, (place - (steps - 1)) * step + end)
    return numbers.to(kind).requires_grad_(requires_grad)


@public
def arange(
    start: float | None = None,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... short of `end`; `arange(n)` counts from 0 to n - 1. Integers if all arguments are."""
    start, end = (0, start) if end is None else (0 if start is None else start, end)
    if end is None:
        raise TypeError("arange: takes numbers, got None")
    numbers: list[Any] = [start, end, step]
    start, end, step = [v.item() if hasattr(v, "dtype") else v for v in numbers]  # NumPy's, or tensors
    if step == 0:
        raise ValueError("arange: step must not be 0")
    integral = all(isinstance(v, int) for v in (start, end, step))
    kind = as_dtype((int if integral else float) if dtype is None else dtype)
    if kind.kind in "iu" and not integral:  # from a whole number on by whole steps; as many as PyTorch takes
        count = math.ceil((end - start) / step)
        start, end, step, integral = int(start), int(end), int(step), True
        if step == 0:
            raise ValueError(f"arange: takes whole steps for {kind}, got step={numbers[2]}")
        end = end if kind == int64 else start + count * step
    target = resolve(device)
    exact = int64 if integral else float64  # in float32 the rounding of the step would add up
    made: Tensor = Tensor.wrap(target.backend.arange(start, end, step, dtype=exact, index=target.index).astype(kind))
    return made.requires_grad_(requires_grad)


def from_numpy(array: Array) -> Tensor:
    """A tensor on the memory of a NumPy array, without a copy.

    What the graph needs of it for the backward pass it copies, since the array can be written to without the tensor's
    knowledge.
    """
    if not is_array(array):
        raise TypeError(f"from_numpy: takes a NumPy array, got {type(array).__name__}; use tg.tensor")
    require_numbers_in("from_numpy", array)
    array = backend_of(array).asarray(array)  # of a NumPy scalar
    version_counter.lend(array)
    return Tensor.wrap(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor on the memory of another library's array, without a copy: NumPy's, CuPy's, PyTorch's, JAX's, ...

    As with `from_numpy`, the graph copies what it needs of it for the backward pass.
    """
    if not hasattr(source, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: takes an array that has __dlpack__, got a {type(source).__name__}; use tg.tensor"
        )
    cuda = 2  # kDLCUDA, DLPack's number for it
    xp = Device("cuda" if source.__dlpack_device__()[0] == cuda else "cpu").backend.xp
    try:
        array = xp.from_dlpack(source)
    except (BufferError, RuntimeError, TypeError) as error:  # it carries a gradient, or has a dtype that we lack
        raise TypeError(f"from_dlpack: cannot take this {type(source).__name__}: {error}") from error
    require_numbers_in("from_dlpack", array)
    version_counter.lend(array)
    return Tensor.wrap(array)


def is_tensor(obj: Any) -> bool:
    """Whether something is a tensor."""
    return isinstance(obj, Tensor)


@public
def clone(x: Any, *, memory_format: Format = None) -> Tensor:
    """A copy; gradients pass through it."""
    return as_tensor(x).clone()


@public
def numel(x: Any) -> int:
    """The number of elements."""
    return as_tensor(x).numel()


@public
def is_floating_point(x: Any) -> bool:
    """Whether the numbers are floating-point."""
    return as_tensor(x).is_floating_point()


def as_tensor(
    data: Any, dtype: DType = None, device: str | Device | None = None, *, like: Value | None = None
) -> Tensor:
    """`data` as a tensor: itself if it is one, else a new one, which copies what it is given.

    Args:
        like: put numbers and lists on the device of this tensor, and give them its dtype.
    """
    if isinstance(data, Tensor):
        return data if dtype is None and device is None else data.to(dtype=dtype, device=device)
    if like is None or device is not None:
        return tensor(data, dtype, device)
    if is_array(data) and dtype is None:
        return tensor(data, device=device_of(data))
    return Tensor.wrap(to_array(data, dtype or like.array.dtype, device_of(like.array)))
