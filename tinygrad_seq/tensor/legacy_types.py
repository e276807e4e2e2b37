"""PyTorch's words for shapes, for tensors of one dtype and for layouts: `Size`, "torch.LongTensor", `memory_format`."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, TypeAlias

from ..backend import DType, bool_, float16, float32, float64, int8, int16, int32, int64, numpy_module, uint8

OF_DTYPE = {
    "FloatTensor": float32, "DoubleTensor": float64, "HalfTensor": float16, "LongTensor": int64, "IntTensor": int32,
    "ShortTensor": int16, "CharTensor": int8, "ByteTensor": uint8, "BoolTensor": bool_,
}  # fmt: skip


class memory_format(Enum):
    """How PyTorch lays memory out. What takes one here takes any: the numbers are the same, and rows come in a row."""

    contiguous_format = auto()
    preserve_format = auto()
    channels_last = auto()
    channels_last_3d = auto()


Format: TypeAlias = memory_format | None


class Size(tuple[int, ...]):
    """What `Tensor.size()` returns: a shape, which `numel()` counts the elements of. Slices and sums are, too."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return Size(part) if isinstance(index, slice) else part

    def __add__(self, other: Any) -> Any:
        return Size(super().__add__(other)) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return Size(other + tuple(self)) if isinstance(other, tuple) else NotImplemented

    def numel(self) -> int:
        """How many elements a tensor of this shape has."""
        count = 1
        for length in self:
            count *= length
        return count


def sized(data: tuple[Any, ...]) -> Any:
    """What `Tensor(*data)` is given: of lengths, or of a `Size`, zeros of that shape, else the one thing."""
    if len(data) == 1 and not isinstance(data[0], (int, Size)):
        return data[0]
    lengths = data[0] if len(data) == 1 and isinstance(data[0], Size) else data
    if any(not isinstance(n, int) or isinstance(n, bool) for n in lengths):
        raise TypeError(f"Tensor: takes numbers in one list, or lengths, got {data!r}; tg.tensor takes a dtype")
    return numpy_module.zeros(lengths or (0,), float32)


def dtype_of(given: Any) -> Any:
    """The dtype that an old name, or the class of that name, stands for; anything else as it is."""
    name = given if isinstance(given, str) else getattr(given, "__name__", "")
    return OF_DTYPE.get(name.removeprefix("torch.").removeprefix("cuda."), given)


def old_name(dtype: DType, device: str) -> str:
    """The old name of tensors of a dtype: "torch.FloatTensor"."""
    name = next((name for name, kind in OF_DTYPE.items() if kind == dtype), str(dtype))
    return f"torch.{'cuda.' if device == 'cuda' else ''}{name}"
