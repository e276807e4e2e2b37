"""The methods that change a tensor in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import array_module, float64
from ..graph import Leaf
from ..graph.conversion import to_array
from ..graph.device import device_of
from ..graph.saved_tensors import is_shared, unshare_storage
from ..ops import activation, arithmetic, elementwise, layout
from ..ops import gather as _gather
from ..ops import index as _index
from ..ops import shape as _shape
from . import random, rng
from .assignment import Assignment
from .autograd_methods import as_operand
from .operators import Number, Operand
from .reductions import Dim
from .rng import Generator

if TYPE_CHECKING:
    from .tensor import Tensor


class InPlaceMethods(Assignment):
    """The methods of `Tensor` that end in an underscore, and `+=` and its kin. What they do: see `Assignment`."""

    __slots__ = ()

    def _arrange(self, new: Tensor, name: str) -> Tensor:
        """Become a view of this tensor in another shape."""
        if isinstance(self.node, Leaf):
            raise RuntimeError(f"{name}: a leaf that requires a gradient cannot be changed in place; use {name[:-1]}()")
        alone = not is_shared(self, known=1)  # `new`
        self._become(new)
        if alone:
            unshare_storage(self)
        else:
            self.shared_storage.reshaped = True
        return self  # type: ignore[return-value]

    def copy_(self, source: Operand) -> Tensor:
        """Take over the numbers of `source`, broadcast to this shape."""
        new = as_operand(source, self.array)
        try:
            values = new if new.shape == self.array.shape else new.broadcast_to(self.array.shape)
            if values is not new and getattr(new, "shared_storage", 0) is getattr(self, "shared_storage", 1):
                values = values.clone()
            return self._assign(values, "copy_", new)
        except ValueError:
            raise ValueError(f"copy_: cannot put shape {new.shape} into a tensor of shape {self.array.shape}") from None

    def fill_(self, value: Number) -> Tensor:
        """Take over one number everywhere."""
        if value is None:
            raise TypeError("fill_: takes a number, got None")
        return self.copy_(value)

    def zero_(self) -> Tensor:
        """Put 0 everywhere."""
        return self.fill_(0)

    def uniform_(
        self, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None, batch_dim: int | None = None
    ) -> Tensor:
        """Take over numbers that are uniform in [a, b)."""
        kind = rng.floating("uniform_", self.array.dtype)
        drawn = rng.uniform(self.array.shape, kind, device_of(self.array), generator, batch_dim, "uniform_")
        return self.copy_(drawn * (b - a) + a)

    def normal_(
        self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None, batch_dim: int | None = None
    ) -> Tensor:
        """Take over normal numbers with this mean and standard deviation."""
        kind = rng.floating("normal_", self.array.dtype)
        drawn = rng.normal(self.array.shape, kind, device_of(self.array), generator, batch_dim, "normal_")
        return self.copy_(drawn * std + mean)

    def random_(
        self,
        low: int = 0,
        high: int | None = None,
        *,
        generator: Generator | None = None,
        batch_dim: int | None = None,
    ) -> Tensor:
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
        where = device_of(self.array)
        drawn = random.randint(*bounds, self.array.shape, generator=generator, device=where, batch_dim=batch_dim)
        return self.copy_(drawn.to(kind))

    def bernoulli_(self, p: Any = 0.5, *, generator: Generator | None = None, batch_dim: int | None = None) -> Tensor:
        """Take over 1 with probability p and else 0; a tensor of probabilities is broadcast to this shape."""
        p = self.result_class.wrap(to_array(p, float64, device_of(self.array))).broadcast_to(self.array.shape)
        return self.copy_(random.bernoulli(p, generator=generator, batch_dim=batch_dim).to(self.array.dtype))

    def unsqueeze_(self, dim: int) -> Tensor:
        """As `unsqueeze`, in place."""
        return self._arrange(_shape.unsqueeze(self, dim), "unsqueeze_")

    def squeeze_(self, dim: Dim = None) -> Tensor:
        """As `squeeze`, in place."""
        return self._arrange(_shape.squeeze(self, dim), "squeeze_")

    def clamp_(self, min: Operand = None, max: Operand = None) -> Tensor:
        """As `clamp`, in place."""
        return self._assign(activation.clamp(self, min, max), "clamp_", min, max)

    clip_ = clamp_

    def masked_fill_(self, mask: Operand, value: Operand) -> Tensor:
        """As `masked_fill`, in place."""
        return self._assign(_index.masked_fill(self, mask, value), "masked_fill_", value)

    def scatter_(
        self, dim: int, index: Operand, src: Operand = None, *, value: Number | None = None, reduce: str | None = None
    ) -> Tensor:
        """As `scatter`, in place."""
        return self._assign(_gather.scatter(self, dim, index, src, value=value, reduce=reduce), "scatter_", src)

    def scatter_add_(self, dim: int, index: Operand, src: Operand) -> Tensor:
        """As `scatter_add`, in place."""
        return self._assign(_gather.scatter_add(self, dim, index, src), "scatter_add_", src)

    def index_add_(self, dim: int, index: Operand, source: Operand, *, alpha: Number = 1) -> Tensor:
        """As `index_add`, in place."""
        return self._assign(layout.index_add(self, dim, index, source, alpha=alpha), "index_add_", source)

    def index_fill_(self, dim: int, index: Operand, value: Operand) -> Tensor:
        """As `index_fill`, in place."""
        return self._assign(layout.index_fill(self, dim, index, value), "index_fill_")

    def add_(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        """As `add`, in place."""
        return self._assign(self + (other if alpha == 1 else other * alpha), "add_", other)

    def sub_(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        """As `sub`, in place."""
        return self._assign(self - (other if alpha == 1 else other * alpha), "sub_", other)

    def mul_(self, other: Operand) -> Tensor:
        """As `mul`, in place."""
        return self._assign(self * other, "mul_", other)

    def div_(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        """As `div`, in place."""
        return self._assign(arithmetic.div(self, other, rounding_mode=rounding_mode), "div_", other)

    def pow_(self, exponent: Operand) -> Tensor:
        """As `pow`, in place."""
        return self._assign(self**exponent, "pow_", exponent)

    def neg_(self) -> Tensor:
        """As `neg`, in place."""
        return self._assign(elementwise.neg(self), "neg_")

    def exp_(self) -> Tensor:
        """As `exp`, in place."""
        return self._assign(elementwise.exp(self), "exp_")

    def log_(self) -> Tensor:
        """As `log`, in place."""
        return self._assign(elementwise.log(self), "log_")

    def sqrt_(self) -> Tensor:
        """As `sqrt`, in place."""
        return self._assign(elementwise.sqrt(self), "sqrt_")

    def abs_(self) -> Tensor:
        """As `abs`, in place."""
        return self._assign(elementwise.abs(self), "abs_")

    def tanh_(self) -> Tensor:
        """As `tanh`, in place."""
        return self._assign(elementwise.tanh(self), "tanh_")

    def sigmoid_(self) -> Tensor:
        """As `sigmoid`, in place."""
        return self._assign(elementwise.sigmoid(self), "sigmoid_")

    def relu_(self) -> Tensor:
        """As `relu`, in place."""
        return self._assign(elementwise.relu(self), "relu_")

    def lerp_(self, end: Operand, weight: Operand) -> Tensor:
        """As `lerp`, in place."""
        return self._assign(arithmetic.lerp(self, end, weight), "lerp_", end, weight)

    def addcmul_(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        """As `addcmul`, in place."""
        return self._assign(arithmetic.addcmul(self, tensor1, tensor2, value=value), "addcmul_", tensor1, tensor2)

    def addcdiv_(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        """As `addcdiv`, in place."""
        return self._assign(arithmetic.addcdiv(self, tensor1, tensor2, value=value), "addcdiv_", tensor1, tensor2)

    def __iadd__(self, other: Operand) -> Tensor:
        return self._assign(self + other, "+=", other)

    def __isub__(self, other: Operand) -> Tensor:
        return self._assign(self - other, "-=", other)

    def __imul__(self, other: Operand) -> Tensor:
        return self._assign(self * other, "*=", other)

    def __itruediv__(self, other: Operand) -> Tensor:
        return self._assign(self / other, "/=", other)

    def __ifloordiv__(self, other: Operand) -> Tensor:
        return self._assign(self // other, "//=", other)

    def __imod__(self, other: Operand) -> Tensor:
        return self._assign(self % other, "%=", other)

    def __ipow__(self, other: Operand) -> Tensor:
        return self._assign(self**other, "**=", other)

    def __iand__(self, other: Operand) -> Tensor:
        return self._assign(self & other, "&=", other)

    def __ior__(self, other: Operand) -> Tensor:
        return self._assign(self | other, "|=", other)

    def __ixor__(self, other: Operand) -> Tensor:
        return self._assign(self ^ other, "^=", other)
