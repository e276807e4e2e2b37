"""Changing a tensor in place: in its memory, noted so that no gradient is wrong, or as a recorded new result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import streams
from .backend import array_module
from .conversion import to_array
from .device import device_of
from .graph import Application, Leaf, Output, Value, is_grad_enabled
from .memory import memory, owner_of
from .methods import Methods
from .operators import Number, Operand
from .ops import index, shape
from .public import MISTAKES, explained, require_numbers
from .streams import Generator

if TYPE_CHECKING:
    from .tensor import Tensor

_VIEWS = {shape.reshape_to, shape.permute_dims, shape.broadcast_dims, shape.flip_dims}
_VIEWS |= {shape.split_sizes, shape.unbind_dim, index.getitem}


class InPlace(Methods):
    """The methods of `Tensor` that end in an underscore, `+=` and its kin, and assignment to an index.

    Where no gradient is at stake, the memory changes, and with it whatever shares it. A change that is recorded makes
    the tensor a new result instead: detached tensors and views that were taken of it before keep the old numbers.
    """

    __slots__ = ()

    def _assign(self, new: Tensor, name: str) -> Tensor:
        """Give this tensor the numbers of `new`: in its memory, or while recording by becoming the new result."""
        if new.shape != self.array.shape:
            raise ValueError(
                f"{name}: the result has shape {new.shape}, which does not fit in place of {self.array.shape}"
            )
        if self.array.dtype.kind in "biu" and new.array.dtype.kind in "fc":
            raise TypeError(
                f"{name}: the result is {new.array.dtype}, which does not fit in place of {self.array.dtype}; "
                "convert the tensor first: .float()"
            )
        new = new.to(self.array.dtype)
        if is_grad_enabled() and (self.node is not None or new.node is not None):
            if isinstance(self.node, Leaf):
                raise RuntimeError(f"{name}: a leaf that requires a gradient cannot be changed in place; use no_grad()")
            source = self.node.parents[0] if isinstance(self.node, Output) and self.node.parents else self.node
            if isinstance(source, Application) and source.primitive in _VIEWS:
                raise RuntimeError(
                    f"{name}: this tensor is a view made by '{source.primitive.name}', and a recorded change would not "
                    "reach what it is a view of; clone() it first"
                )
            if self.node is None and owner_of(self.array).size > self.array.size:
                raise RuntimeError(
                    f"{name}: this tensor is a view of a larger one, and a recorded change would not reach that; "
                    "clone() it first, or put the parts together with cat() or stack()"
                )
            self.array, self.node = new.array, new.node
        else:
            try:
                array_module(self.array).copyto(self.array, new.array)
            except ValueError:
                raise RuntimeError(
                    f"{name}: the memory of this tensor is read-only (it is expanded, say); clone() it first"
                ) from None
            memory.mark(self.array)
        return self  # type: ignore[return-value]

    def _as_operand(self, source: Operand) -> Tensor:
        """`source` as a tensor; numbers and arrays with the dtype and on the device of this one."""
        if isinstance(source, Value):
            return source  # type: ignore[return-value]
        return self.result_class.wrap(to_array(source, self.array.dtype, device_of(self.array)))

    def copy_(self, source: Operand) -> Tensor:
        """Take over the numbers of `source`, broadcast to this shape."""
        new = self._as_operand(source)
        try:
            return self._assign(new.broadcast_to(self.array.shape), "copy_")
        except ValueError:
            raise ValueError(f"copy_: cannot put shape {new.shape} into a tensor of shape {self.array.shape}") from None

    def fill_(self, value: Number) -> Tensor:
        """Take over one number everywhere."""
        if value is None:
            raise TypeError("fill_: takes a number, got None")
        return self.copy_(value)

    def zero_(self) -> Tensor:
        return self.fill_(0)

    def uniform_(self, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Take over numbers that are uniform in [a, b)."""
        drawn = streams.uniform(self.array.shape, self.array.dtype, device_of(self.array), generator)
        return self.copy_(drawn * (b - a) + a)

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Take over normal numbers with this mean and standard deviation."""
        drawn = streams.normal(self.array.shape, self.array.dtype, device_of(self.array), generator)
        return self.copy_(drawn * std + mean)

    def clamp_(self, min: Operand = None, max: Operand = None) -> Tensor:
        return self._assign(self.clamp(min, max), "clamp_")

    def masked_fill_(self, mask: Operand, value: Operand) -> Tensor:
        return self._assign(self.masked_fill(mask, value), "masked_fill_")

    def scatter_(self, dim: int, index: Operand, src: Operand) -> Tensor:
        return self._assign(self.scatter(dim, index, src), "scatter_")

    def scatter_add_(self, dim: int, index: Operand, src: Operand) -> Tensor:
        return self._assign(self.scatter_add(dim, index, src), "scatter_add_")

    def add_(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        return self._assign(self + (other if alpha == 1 else other * alpha), "add_")

    def sub_(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        return self._assign(self - (other if alpha == 1 else other * alpha), "sub_")

    def mul_(self, other: Operand) -> Tensor:
        return self._assign(self * other, "mul_")

    def div_(self, other: Operand) -> Tensor:
        return self._assign(self / other, "div_")

    def __iadd__(self, other: Operand) -> Tensor:
        return self._assign(self + other, "+=")

    def __isub__(self, other: Operand) -> Tensor:
        return self._assign(self - other, "-=")

    def __imul__(self, other: Operand) -> Tensor:
        return self._assign(self * other, "*=")

    def __itruediv__(self, other: Operand) -> Tensor:
        return self._assign(self / other, "/=")

    def __setitem__(self, key: Any, value: Operand) -> None:
        if is_grad_enabled() and (self.node is not None or getattr(value, "requires_grad", False)):
            raise RuntimeError("assigning to an index is not recorded; use where() or cat(), or no_grad()")
        require_numbers((value,), "assigning to an index: ")
        key = tuple(k.array if isinstance(k, Value) else k for k in (key if isinstance(key, tuple) else (key,)))
        try:
            self.array[key] = value.array if isinstance(value, Value) else value
        except MISTAKES as error:
            raise explained("assigning to an index", error, (self, value), {}) from error
        memory.mark(self.array)
