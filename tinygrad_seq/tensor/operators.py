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
        """self + alpha · other."""
        return elementwise.add(self, other if alpha == 1 else other * alpha)

    def sub(self, other: Operand, *, alpha: Number = 1) -> Tensor:
        """self - alpha · other."""
        return elementwise.sub(self, other if alpha == 1 else other * alpha)

    def mul(self, other: Operand) -> Tensor:
        """self * other."""
        return elementwise.mul(self, other)

    def div(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        """self / other, with rounding_mode="floor" or "trunc" rounded down or towards 0."""
        return arithmetic.div(self, other, rounding_mode=rounding_mode)

    subtract = sub
    multiply = mul
    divide = div
    true_divide = div

    def pow(self, exponent: Operand) -> Tensor:
        """self ** exponent. Where the exponent is 0 the derivative by self is 0."""
        return elementwise.pow(self, exponent)

    def maximum(self, other: Operand) -> Tensor:
        """The larger of self and other. At a tie each gets half of the gradient."""
        return elementwise.maximum(self, other)

    def minimum(self, other: Operand) -> Tensor:
        """The smaller of self and other. At a tie each gets half of the gradient."""
        return elementwise.minimum(self, other)

    def neg(self) -> Tensor:
        """-self."""
        return elementwise.neg(self)

    negative = neg

    def exp(self) -> Tensor:
        """e ** self."""
        return elementwise.exp(self)

    def log(self) -> Tensor:
        """Natural logarithm."""
        return elementwise.log(self)

    def sqrt(self) -> Tensor:
        """Square root. Its derivative at 0 is infinite, and so it is here."""
        return elementwise.sqrt(self)

    def sin(self) -> Tensor:
        """Sine of self in radians."""
        return elementwise.sin(self)

    def cos(self) -> Tensor:
        """Cosine of self in radians."""
        return elementwise.cos(self)

    def tanh(self) -> Tensor:
        """Hyperbolic tangent."""
        return elementwise.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-self)), accurate to the last digits also far out, where it is 0 or 1."""
        return elementwise.sigmoid(self)

    def relu(self) -> Tensor:
        """max(self, 0). The derivative at 0 is 0."""
        return elementwise.relu(self)

    def abs(self) -> Tensor:
        """|self|. The derivative at 0 is 0."""
        return elementwise.abs(self)

    def sign(self) -> Tensor:
        """-1, 0 or 1 (of the real part, where self is complex). Its derivative is 0 everywhere."""
        return elementwise.sign(self)

    def square(self) -> Tensor:
        """self · self."""
        return arithmetic.square(self)

    def tan(self) -> Tensor:
        """Tangent of self in radians."""
        return arithmetic.tan(self)

    def log2(self) -> Tensor:
        """Logarithm to base 2."""
        return arithmetic.log2(self)

    def log10(self) -> Tensor:
        """Logarithm to base 10."""
        return arithmetic.log10(self)

    def logaddexp(self, other: Operand) -> Tensor:
        """log(exp(self) + exp(other)), without overflow. -inf where both are."""
        return arithmetic.logaddexp(self, other)

    def lerp(self, end: Operand, weight: Operand) -> Tensor:
        """self + weight · (end - self): self for weight 0, `end` for 1."""
        return arithmetic.lerp(self, end, weight)

    def addcmul(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        """self + value · tensor1 · tensor2."""
        return arithmetic.addcmul(self, tensor1, tensor2, value=value)

    def addcdiv(self, tensor1: Operand, tensor2: Operand, *, value: Number = 1) -> Tensor:
        """self + value · tensor1 / tensor2."""
        return arithmetic.addcdiv(self, tensor1, tensor2, value=value)

    def nan_to_num(self, nan: Number = 0.0, posinf: Number | None = None, neginf: Number | None = None) -> Tensor:
        """self with nan, inf and -inf replaced, the last two by its dtype's largest and smallest number."""
        return arithmetic.nan_to_num(self, nan, posinf, neginf)

    def where(self, condition: Operand, other: Operand) -> Tensor:
        """self where the condition holds, other elsewhere."""
        return elementwise.where(condition, self, other)

    def floor_divide(self, other: Operand) -> Tensor:
        """floor(self / other), as Python's // has it. Integers cannot be divided by 0."""
        return rounding.floor_divide(self, other)

    def remainder(self, other: Operand) -> Tensor:
        """self - other · floor(self / other), as Python's % has it: the sign is other's."""
        return rounding.remainder(self, other)

    def eq(self, other: Operand) -> Tensor:
        """self == other, as booleans."""
        return logic.eq(self, other)

    def ne(self, other: Operand) -> Tensor:
        """self != other, as booleans."""
        return logic.ne(self, other)

    def lt(self, other: Operand) -> Tensor:
        """self < other, as booleans."""
        return logic.lt(self, other)

    def le(self, other: Operand) -> Tensor:
        """self <= other, as booleans."""
        return logic.le(self, other)

    def gt(self, other: Operand) -> Tensor:
        """self > other, as booleans."""
        return logic.gt(self, other)

    def ge(self, other: Operand) -> Tensor:
        """self >= other, as booleans."""
        return logic.ge(self, other)

    def logical_and(self, other: Operand) -> Tensor:
        """Whether both are true (not zero)."""
        return logic.logical_and(self, other)

    def logical_or(self, other: Operand) -> Tensor:
        """Whether one is true (not zero)."""
        return logic.logical_or(self, other)

    def logical_xor(self, other: Operand) -> Tensor:
        """Whether just one is true (not zero)."""
        return logic.logical_xor(self, other)

    def logical_not(self) -> Tensor:
        """Whether self is false (zero)."""
        return logic.logical_not(self)

    def isnan(self) -> Tensor:
        """Whether self is not a number."""
        return logic.isnan(self)

    def isinf(self) -> Tensor:
        """Whether self is infinite."""
        return logic.isinf(self)

    def isfinite(self) -> Tensor:
        """Whether self is a number and finite."""
        return logic.isfinite(self)

    def expm1(self) -> Tensor:
        """e ** self - 1, accurate near 0."""
        return elementwise.expm1(self)

    def log1p(self) -> Tensor:
        """log(1 + self), accurate near 0."""
        return elementwise.log1p(self)

    def floor(self) -> Tensor:
        """The largest whole number that is not larger than self."""
        return rounding.floor(self)

    def ceil(self) -> Tensor:
        """The smallest whole number that is not smaller than self."""
        return rounding.ceil(self)

    def round(self, *, decimals: int = 0) -> Tensor:
        """The nearest number with so many decimals; from halfway, the even one."""
        return rounding.round(self, decimals=decimals) if decimals else rounding.round(self)

    def trunc(self) -> Tensor:
        """self without its fraction: the nearest whole number towards 0."""
        return rounding.trunc(self)

    def erf(self) -> Tensor:
        """The error function, 2/√π times the integral of exp(-t²) from 0 to self."""
        return activation.erf(self)

    def clamp(self, min: Operand = None, max: Operand = None) -> Tensor:
        """self, but no less than `min` and no more than `max`; nan where one of them is."""
        return activation.clamp(self, min, max)

    clip = clamp

    def leaky_relu(self, negative_slope: Number = 0.01) -> Tensor:
        """self where it is positive, negative_slope · self elsewhere (at 0 too)."""
        return activation.leaky_relu(self, negative_slope)

    def elu(self, alpha: Number = 1.0) -> Tensor:
        """self where it is positive, alpha · (exp(self) - 1) elsewhere (Clevert et al., 2016)."""
        return activation.elu(self, alpha)

    def gelu(self, approximate: str = "none") -> Tensor:
        """self · Φ(self), with Φ the normal distribution function, or approximate="tanh" for an approximation of it."""
        return activation.gelu(self, approximate)

    def silu(self) -> Tensor:
        """self · sigmoid(self), also known as swish."""
        return activation.silu(self)

    def softplus(self) -> Tensor:
        """log(1 + exp(self)), which is self far to the right and 0 far to the left."""
        return activation.softplus(self)

    def rsqrt(self) -> Tensor:
        """1 / √self."""
        return elementwise.rsqrt(self)

    def reciprocal(self) -> Tensor:
        """1 / self."""
        return arithmetic.reciprocal(self)
