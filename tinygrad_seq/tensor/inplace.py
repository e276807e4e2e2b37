"""Changing a tensor in place: in its memory, noted so that no gradient is wrong, or as a recorded new result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import array_module, float64, is_array
from ..backend.dispatch import at, several_gpus
from ..graph import Leaf, Value, recomputation
from ..graph.conversion import require_fit, to_array
from ..graph.device import device_of
from ..graph.errors import MISTAKES, explained, require_numbers
from ..graph.grad_mode import is_grad_enabled
from ..graph.hooks import Retained
from ..graph.saved_tensors import is_shared, is_writable, memory, owner_of, unshare
from ..graph.tracing_hook import active as recording
from ..ops import activation, arithmetic, elementwise, layout
from ..ops import index as _index
from ..ops import shape as _shape
from ..ops.elementwise import where
from ..ops.index import masks
from . import random, rng
from .autograd_methods import as_operand
from .methods import Dim
from .operators import Number, Operand
from .rng import Generator

if TYPE_CHECKING:
    from .tensor import Tensor


class InPlaceMethods(Value):
    """The methods of `Tensor` that end in an underscore, `+=` and its kin, and assignment to an index.

    Where no gradient is at stake, the memory changes, and with it whatever shares it. A change that is recorded makes
    the tensor a new result instead, and is refused where another tensor shows the same memory.
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
        self._require_here(new, name)
        new = new.to(self.array.dtype)
        if is_grad_enabled() and (self.node is not None or new.node is not None):
            if isinstance(self.node, Leaf):
                raise RuntimeError(f"{name}: a leaf that requires a gradient cannot be changed in place; use no_grad()")
            self._require_alone(name)
            if new.node is None:  # still a result of what this tensor was, with a gradient of 0
                new = where(array_module(self.array).ones((), "bool"), new, self)
            self._become(new.clone() if _is_lent(new) or is_shared(new) else new)
            unshare(self)
        else:
            if not is_writable(self.array):
                raise RuntimeError(
                    f"{name}: the memory of this tensor is read-only (it is expanded, say); clone() it first"
                )
            if recording:
                recording[-1].captured((self,))  # it may be the first that is seen of it
            recomputation.writes(self.array)
            with at(self.array):
                array_module(self.array).copyto(self.array, new.array)
            memory.mark(self.array)
        return self  # type: ignore[return-value]

    def _require_here(self, value: Any, name: str) -> None:
        """Raise a RuntimeError if `value` is a tensor or an array on another device: nothing is moved in silence."""
        array = getattr(value, "array", value)
        if not is_array(array) or (type(array) is type(self.array) and not several_gpus):
            return
        here, there = device_of(self.array), device_of(array)
        if here != there:
            raise RuntimeError(f"{name}: operands are on {here} and {there}; move one with .to({str(here)!r})")

    def _require_alone(self, name: str) -> None:
        """Raise a RuntimeError if somebody else shows this memory, whom a recorded change would not reach."""
        lent = _is_lent(self)
        if lent or is_shared(self):
            whose = "an array outside" if lent else "another tensor (one is a view of the other, or its detach())"
            raise RuntimeError(
                f"{name}: this tensor shares memory with {whose}, which a recorded change would not reach; clone() it "
                "first, or put parts together with cat(), stack() or where()"
            )

    def _become(self, new: Tensor) -> None:
        """Take over another tensor's numbers and graph; `retain_grad` is about what this tensor is last."""
        retained = Retained.of(self.node)
        if retained is not None and self.node is not None and new.node is not None:
            self.node.hooks = [hook for hook in self.node.hooks if hook is not retained]
            new.node.hooks = [*getattr(new.node, "hooks", ()), retained]
        self.array, self.node = new.array, new.node

    def _arrange(self, new: Tensor, name: str) -> Tensor:
        """Become a view of this tensor in another shape."""
        if isinstance(self.node, Leaf):
            raise RuntimeError(f"{name}: a leaf that requires a gradient cannot be changed in place; use {name[:-1]}()")
        self._become(new)
        return self  # type: ignore[return-value]

    def copy_(self, source: Operand) -> Tensor:
        """Take over the numbers of `source`, broadcast to this shape."""
        new = as_operand(source, self.array)
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
        kind = rng.floating("uniform_", self.array.dtype)
        drawn = rng.uniform(self.array.shape, kind, device_of(self.array), generator)
        return self.copy_(drawn * (b - a) + a)

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Take over normal numbers with this mean and standard deviation."""
        kind = rng.floating("normal_", self.array.dtype)
        drawn = rng.normal(self.array.shape, kind, device_of(self.array), generator)
        return self.copy_(drawn * std + mean)

    def random_(self, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
        """Take over whole numbers that are uniform in [low, high), or with one argument in [0, low).

        Without one, in a dtype's range from 0 on, of floats as far as they are exact.
        """
        kind = self.array.dtype
        if high is None and low == 0:
            bits = kind.itemsize * 8 - (kind.kind == "i")
            exact = (
                int(2 / array_module(0.0).finfo(kind).eps) if kind.kind == "f" else 2 if kind.kind == "b" else 2**bits
            )
            high = min(exact, 2**53)  # what a draw has bits for
        bounds = (0, low) if high is None else (low, high)
        return self.copy_(
            random.randint(*bounds, self.array.shape, generator=generator, device=device_of(self.array)).to(kind)
        )

    def bernoulli_(self, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """Take over 1 with probability p and else 0; a tensor of probabilities is broadcast to this shape."""
        p = self.result_class.wrap(to_array(p, float64, device_of(self.array))).broadcast_to(self.array.shape)
        return self.copy_(random.bernoulli(p, generator=generator).to(self.array.dtype))

    def unsqueeze_(self, dim: int) -> Tensor:
        return self._arrange(_shape.unsqueeze(self, dim), "unsqueeze_")

    def squeeze_(self, dim: Dim = None) -> Tensor:
        return self._arrange(_shape.squeeze(self, dim), "squeeze_")

    def clamp_(self, min: Operand = None, max: Operand = None) -> Tensor:
        return self._assign(activation.clamp(self, min, max), "clamp_")

    clip_ = clamp_

    def masked_fill_(self, mask: Operand, value: Operand) -> Tensor:
        return self._assign(_index.masked_fill(self, mask, value), "masked_fill_")

    def scatter_(self, dim: int, index: Operand, src: Operand) -> Tensor:
        return self._assign(_index.scatter(self, dim, index, src), "scatter_")

    def scatter_add_(self, dim: int, index: Operand, src: Operand) -> Tensor:
        return self._assign(_index.scatter_add(self, dim, index, src), "scatter_add_")

    def index_add_(self, dim: int, index: Operand, source: Operand, *, alpha: Number = 1) -> Tensor:
        return self._assign(layout.index_add(self, dim, index, source, alpha=alpha), "index_add_")

    def index_fill_(self, dim: int, index: Operand, value: Operand) -> Tensor:
        return self._assign(layout.index_fill(self, dim, index, value), "index_fill_")

    def add_(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        return self._assign(self + (other if alpha == 1 else other * alpha), "add_")

    def sub_(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        return self._assign(self - (other if alpha == 1 else other * alpha), "sub_")

    def mul_(self, other: Operand) -> Tensor:
        return self._assign(self * other, "mul_")

    def div_(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        return self._assign(arithmetic.div(self, other, rounding_mode=rounding_mode), "div_")

    def pow_(self, exponent: Operand) -> Tensor:
        return self._assign(self**exponent, "pow_")

    def neg_(self) -> Tensor:
        return self._assign(elementwise.neg(self), "neg_")

    def exp_(self) -> Tensor:
        return self._assign(elementwise.exp(self), "exp_")

    def log_(self) -> Tensor:
        return self._assign(elementwise.log(self), "log_")

    def sqrt_(self) -> Tensor:
        return self._assign(elementwise.sqrt(self), "sqrt_")

    def abs_(self) -> Tensor:
        return self._assign(elementwise.abs(self), "abs_")

    def tanh_(self) -> Tensor:
        return self._assign(elementwise.tanh(self), "tanh_")

    def sigmoid_(self) -> Tensor:
        return self._assign(elementwise.sigmoid(self), "sigmoid_")

    def relu_(self) -> Tensor:
        return self._assign(elementwise.relu(self), "relu_")

    def lerp_(self, end: Operand, weight: Operand) -> Tensor:
        return self._assign(arithmetic.lerp(self, end, weight), "lerp_")

    def addcmul_(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        return self._assign(arithmetic.addcmul(self, tensor1, tensor2, value=value), "addcmul_")

    def addcdiv_(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        return self._assign(arithmetic.addcdiv(self, tensor1, tensor2, value=value), "addcdiv_")

    def __iadd__(self, other: Operand) -> Tensor:
        return self._assign(self + other, "+=")

    def __isub__(self, other: Operand) -> Tensor:
        return self._assign(self - other, "-=")

    def __imul__(self, other: Operand) -> Tensor:
        return self._assign(self * other, "*=")

    def __itruediv__(self, other: Operand) -> Tensor:
        return self._assign(self / other, "/=")

    def __ifloordiv__(self, other: Operand) -> Tensor:
        return self._assign(self // other, "//=")

    def __imod__(self, other: Operand) -> Tensor:
        return self._assign(self % other, "%=")

    def __ipow__(self, other: Operand) -> Tensor:
        return self._assign(self**other, "**=")

    def __iand__(self, other: Operand) -> Tensor:
        return self._assign(self & other, "&=")

    def __ior__(self, other: Operand) -> Tensor:
        return self._assign(self | other, "|=")

    def __ixor__(self, other: Operand) -> Tensor:
        return self._assign(self ^ other, "^=")

    def __setitem__(self, key: Any, value: Operand) -> None:
        if is_grad_enabled() and (self.node is not None or getattr(value, "requires_grad", False)):
            raise RuntimeError("assigning to an index is not recorded; use where() or cat(), or no_grad()")
        require_numbers((value,), "assigning to an index: ")
        self._require_here(value, "assigning to an index")
        if not hasattr(value, "shape"):
            value = require_fit("assigning to an index", value, self.array.dtype)
        elif self.array.dtype.kind in "biu" and value.dtype.kind in "fc":
            raise TypeError(
                f"assigning to an index: {value.dtype} does not fit in {self.array.dtype}; convert the tensor first: "
                ".float()"
            )
        key = tuple(k.array if isinstance(k, Value) else k for k in masks(key))
        recomputation.writes(self.array)
        try:
            with at(self.array, key, value):
                self.array[key] = value.array if isinstance(value, Value) else value
        except MISTAKES as error:
            raise explained("assigning to an index", error, (self, value), {}) from error
        memory.mark(self.array)


def _is_lent(tensor: Value) -> bool:
    """Whether somebody outside can write to the memory of a tensor."""
    return id(owner_of(tensor.array)) in memory.lent
