"""What can be computed with a tensor element by element: each operator and method is the operation of that name.

Spelled out one by one, so that editors, type checkers and readers see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..graph import Value
from ..ops import activation, arithmetic, elementwise, linalg, logic, rounding
from ..ops import index as _index

if TYPE_CHECKING:
    from .tensor import Tensor

Number: TypeAlias = float  # inside the class, `float` is the method
Operand: TypeAlias = Any  # a Tensor, an array, or a number


def _boolean(x: Operand) -> Operand:
    """x, which must not be a number: for integers, & | ^ ~ mean their bits elsewhere."""
    dtype = getattr(getattr(x, "array", x), "dtype", None)
    if dtype is not None and dtype.kind != "b":
        raise TypeError(f"& | ^ ~: take booleans, got {dtype}; compare first, or use logical_and() and its kin")
    return x


class Elementwise(Value):
    """The operators of `Tensor`, and the methods that work element by element."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Tensor:
        return elementwise.add(self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return elementwise.add(other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return elementwise.sub(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return elementwise.sub(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return elementwise.mul(self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return elementwise.mul(other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return elementwise.div(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return elementwise.div(other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return elementwise.pow(self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return elementwise.pow(other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return linalg.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return linalg.matmul(other, self)

    def __neg__(self) -> Tensor:
        return elementwise.neg(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return elementwise.abs(self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return logic.eq(self, other) if other is not None else False  # type: ignore[return-value]  # as in PyTorch

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return logic.ne(self, other) if other is not None else True  # type: ignore[return-value]

    def __lt__(self, other: Operand) -> Tensor:
        return logic.lt(self, other)

    def __le__(self, other: Operand) -> Tensor:
        return logic.le(self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return logic.gt(self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return logic.ge(self, other)

    if TYPE_CHECKING:

        def __hash__(self) -> int: ...
    else:
        __hash__ = object.__hash__  # by identity: == compares elements

    def __getitem__(self, key: Any) -> Tensor:
        return _index.index(self, key)

    def __floordiv__(self, other: Operand) -> Tensor:
        return rounding.floor_divide(self, other)

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return rounding.floor_divide(other, self)

    def __mod__(self, other: Operand) -> Tensor:
        return rounding.remainder(self, other)

    def __rmod__(self, other: Operand) -> Tensor:
        return rounding.remainder(other, self)

    def __and__(self, other: Operand) -> Tensor:
        return logic.logical_and(_boolean(self), _boolean(other))

    def __rand__(self, other: Operand) -> Tensor:
        return logic.logical_and(_boolean(other), _boolean(self))

    def __or__(self, other: Operand) -> Tensor:
        return logic.logical_or(_boolean(self), _boolean(other))

    def __ror__(self, other: Operand) -> Tensor:
        return logic.logical_or(_boolean(other), _boolean(self))

    def __xor__(self, other: Operand) -> Tensor:
        return logic.logical_xor(_boolean(self), _boolean(other))

    def __rxor__(self, other: Operand) -> Tensor:
        return logic.logical_xor(_boolean(other), _boolean(self))

    def __invert__(self) -> Tensor:
        return logic.logical_not(_boolean(self))

    # --- elementwise ---

    def add(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        return elementwise.add(self, other if alpha == 1 else other * alpha)

    def sub(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        return elementwise.sub(self, other if alpha == 1 else other * alpha)

    def mul(self, other: Operand) -> Tensor:
        return elementwise.mul(self, other)

    def div(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        return arithmetic.div(self, other, rounding_mode=rounding_mode)

    subtract = sub
    multiply = mul
    divide = div
    true_divide = div

    def pow(self, exponent: Operand) -> Tensor:
        return elementwise.pow(self, exponent)

    def maximum(self, other: Operand) -> Tensor:
        return elementwise.maximum(self, other)

    def minimum(self, other: Operand) -> Tensor:
        return elementwise.minimum(self, other)

    def neg(self) -> Tensor:
        return elementwise.neg(self)

    negative = neg

    def exp(self) -> Tensor:
        return elementwise.exp(self)

    def log(self) -> Tensor:
        return elementwise.log(self)

    def sqrt(self) -> Tensor:
        return elementwise.sqrt(self)

    def sin(self) -> Tensor:
        return elementwise.sin(self)

    def cos(self) -> Tensor:
        return elementwise.cos(self)

    def tanh(self) -> Tensor:
        return elementwise.tanh(self)

    def sigmoid(self) -> Tensor:
        return elementwise.sigmoid(self)

    def relu(self) -> Tensor:
        return elementwise.relu(self)

    def abs(self) -> Tensor:
        return elementwise.abs(self)

    def sign(self) -> Tensor:
        return elementwise.sign(self)

    def square(self) -> Tensor:
        return arithmetic.square(self)

    def tan(self) -> Tensor:
        return arithmetic.tan(self)

    def log2(self) -> Tensor:
        return arithmetic.log2(self)

    def log10(self) -> Tensor:
        return arithmetic.log10(self)

    def logaddexp(self, other: Operand) -> Tensor:
        return arithmetic.logaddexp(self, other)

    def lerp(self, end: Operand, weight: Operand) -> Tensor:
        return arithmetic.lerp(self, end, weight)

    def addcmul(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        return arithmetic.addcmul(self, tensor1, tensor2, value=value)

    def addcdiv(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        return arithmetic.addcdiv(self, tensor1, tensor2, value=value)

    def nan_to_num(self, nan: Number = 0.0, posinf: Number | None = None, neginf: Number | None = None) -> Tensor:
        return arithmetic.nan_to_num(self, nan, posinf, neginf)

    def where(self, condition: Operand, other: Operand) -> Tensor:
        """self where the condition holds, other elsewhere."""
        return elementwise.where(condition, self, other)

    def floor_divide(self, other: Operand) -> Tensor:
        return rounding.floor_divide(self, other)

    def remainder(self, other: Operand) -> Tensor:
        return rounding.remainder(self, other)

    def eq(self, other: Operand) -> Tensor:
        return logic.eq(self, other)

    def ne(self, other: Operand) -> Tensor:
        return logic.ne(self, other)

    def lt(self, other: Operand) -> Tensor:
        return logic.lt(self, other)

    def le(self, other: Operand) -> Tensor:
        return logic.le(self, other)

    def gt(self, other: Operand) -> Tensor:
        return logic.gt(self, other)

    def ge(self, other: Operand) -> Tensor:
        return logic.ge(self, other)

    def logical_and(self, other: Operand) -> Tensor:
        return logic.logical_and(self, other)

    def logical_or(self, other: Operand) -> Tensor:
        return logic.logical_or(self, other)

    def logical_xor(self, other: Operand) -> Tensor:
        return logic.logical_xor(self, other)

    def logical_not(self) -> Tensor:
        return logic.logical_not(self)

    def isnan(self) -> Tensor:
        return logic.isnan(self)

    def isinf(self) -> Tensor:
        return logic.isinf(self)

    def isfinite(self) -> Tensor:
        return logic.isfinite(self)

    def expm1(self) -> Tensor:
        return elementwise.expm1(self)

    def log1p(self) -> Tensor:
        return elementwise.log1p(self)

    def floor(self) -> Tensor:
        return rounding.floor(self)

    def ceil(self) -> Tensor:
        return rounding.ceil(self)

    def round(self, *, decimals: int = 0) -> Tensor:
        return rounding.round(self, decimals=decimals) if decimals else rounding.round(self)

    def trunc(self) -> Tensor:
        return rounding.trunc(self)

    def erf(self) -> Tensor:
        return activation.erf(self)

    def clamp(self, min: Operand = None, max: Operand = None) -> Tensor:
        return activation.clamp(self, min, max)

    clip = clamp

    def leaky_relu(self, negative_slope: Number = 0.01) -> Tensor:
        return activation.leaky_relu(self, negative_slope)

    def elu(self, alpha: Number = 1.0) -> Tensor:
        return activation.elu(self, alpha)

    def gelu(self, approximate: str = "none") -> Tensor:
        return activation.gelu(self, approximate)

    def silu(self) -> Tensor:
        return activation.silu(self)

    def softplus(self) -> Tensor:
        return activation.softplus(self)

    def rsqrt(self) -> Tensor:
        return elementwise.rsqrt(self)

    def reciprocal(self) -> Tensor:
        return arithmetic.reciprocal(self)
