"""Primitives that work element by element, broadcasting as NumPy does."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..backend import Array, DType, array_module, backend_of, bool_, complex64, float16, float32, int64, result_type
from ..graph import primitive
from ..graph.errors import public

if TYPE_CHECKING:
    from ..tensor import Tensor


@primitive
def add(a: Array, b: Array) -> Array:
    """a + b."""
    return a + b


add.vjp(lambda g, *_: g, lambda g, *_: g)


@primitive
def sub(a: Array, b: Array) -> Array:
    """a - b."""
    return a - b


sub.vjp(lambda g, *_: g, lambda g, *_: -g)


@primitive
def mul(a: Array, b: Array) -> Array:
    """a * b."""
    return a * b


mul.vjp(lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a)


@primitive
def div(a: Array, b: Array) -> Array:
    """a / b."""
    return a / b


div.vjp(lambda g, _y, _a, b: g / b, lambda g, _y, a, b: -(g * (a / b)) / b)  # y may be written to


@primitive
def neg(x: Array) -> Array:
    """-x."""
    return -x


neg.vjp(lambda g, *_: -g)


@primitive
def where(condition: Array, a: Array, b: Array) -> Array:
    """a where the condition holds, b elsewhere. No gradient passes to the branch not taken."""
    xp = array_module(condition)
    if isinstance(a, int) or isinstance(b, int):  # which NumPy's would wrap around among small integers
        number, others = (a, b) if isinstance(a, int) else (b, a)
        if hasattr(others, "dtype") and others.dtype.kind in "iu" and not isinstance(number, bool):
            limits = xp.iinfo(others.dtype)
            if not limits.min <= number <= limits.max:
                raise ValueError(f"{number} is no number of {others.dtype}")
    return xp.where(condition, a, b)


where.vjp(
    None,
    lambda g, _y, condition, *_: where(condition, g, 0.0),
    lambda g, _y, condition, *_: where(condition, 0.0, g),
)


@primitive
def zero(x: Array) -> Array:
    """0 for each element, be it infinite or nan, of which the product with 0 would be nan. Its derivative is 0."""
    return array_module(x).zeros_like(x)


zero.vjp(lambda g, *_: zero(g))


@primitive
def pow(a: Array, b: Array) -> Array:
    """a ** b. Where b is 0 the derivative by a is 0; where a is 0 and b is not below 0 the derivative by b is 0.

    Of booleans an int64.
    """
    return (a.astype(int64) if getattr(a, "dtype", None) == bool_ else a) ** b


def _pow_vjp_base(g: Any, _y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, (int, float)):
        return g * (b * a ** (b - 1)) if b != 0 else zero(g)
    return g * (b * a ** where((b == 0) & (a == 0), 1.0, b - 1.0))  # there 0 times infinity


def _pow_vjp_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(a, (int, float)):
        return g * y * log(array_of(y, a)) if a != 0 else where(b >= 0, 0.0, -(g * y))
    flat = (a == 0) & (b >= 0)
    return where(flat, 0.0, g * y * log(where(flat, 1.0, a)))


pow.vjp(_pow_vjp_base, _pow_vjp_exponent)


def array_of(like: Any, number: float) -> Any:
    """A number as a 0-d array with the dtype and on the device of `like`."""
    array = getattr(like, "array", like)
    return array_module(array).full_like(array, number, shape=(1,)).reshape(())  # CuPy takes () for no shape at all


@primitive
def exp(x: Array) -> Array:
    """e ** x."""
    return array_module(x).exp(x)


exp.vjp(lambda g, y, _x: g * y)


@primitive
def log(x: Array) -> Array:
    """Natural logarithm."""
    return array_module(x).log(x)


log.vjp(lambda g, _y, x: g / x)


@primitive
def expm1(x: Array) -> Array:
    """e ** x - 1, accurate near 0."""
    return array_module(x).expm1(x)


expm1.vjp(lambda g, _y, x: g * exp(x))  # y + 1 would lose the digits of a small one


@primitive
def log1p(x: Array) -> Array:
    """log(1 + x), accurate near 0."""
    return array_module(x).log1p(x)


log1p.vjp(lambda g, _y, x: g / (1.0 + x))


@primitive
def sqrt(x: Array) -> Array:
    """Square root. Its derivative at 0 is infinite, and so it is here."""
    return array_module(x).sqrt(x)


sqrt.vjp(lambda g, y, _x: g / (2.0 * y))


@public
def rsqrt(x: Any) -> Tensor:
    """1 / √x."""
    return 1.0 / sqrt(x)


@primitive
def sin(x: Array) -> Array:
    """Sine of x in radians."""
    return array_module(x).sin(x)


@primitive
def cos(x: Array) -> Array:
    """Cosine of x in radians."""
    return array_module(x).cos(x)


sin.vjp(lambda g, _y, x: g * cos(x))
cos.vjp(lambda g, _y, x: -(g * sin(x)))


@primitive
def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return array_module(x).tanh(x)


tanh.vjp(lambda g, y, _x: g - g * y * y)  # no Python number to convert: a third faster than g * (1.0 - y * y)


@primitive
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), accurate to the last digits also far out, where it is 0 or 1.

    A primitive because the composition passes through exp's overflow, which gives nan derivatives.
    """
    return backend_of(x).sigmoid(x)


sigmoid.vjp(lambda g, y, _x: g * (y * (1.0 - y)))


@primitive
def relu(x: Array) -> Array:
    """max(x, 0). The derivative at 0 is 0."""
    return array_module(x).maximum(x, 0)  # complex numbers compare by their real part first


relu.vjp(lambda g, y, _x: where(y != 0, g, 0.0))


@primitive
def sign(x: Array) -> Array:
    """-1, 0 or 1 (of the real part, where x is complex). Its derivative is 0 everywhere."""
    if x.dtype.kind == "b":
        raise TypeError("takes no booleans")  # which CuPy's would
    return array_module(x).sign(x.real).astype(x.dtype)


sign.vjp(lambda g, *_: zero(g))


@primitive
def abs(x: Array) -> Array:
    """|x|. The derivative at 0 is 0. A complex x is taken for a real one with a perturbation: its sign is Re x's."""
    if x.dtype.kind == "c":
        return array_module(x).where(x.real < 0, -x, x)
    return array_module(x).abs(x)


abs.vjp(lambda g, _y, x: g * sign(x))


@primitive
def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b. At a tie each gets half of the gradient."""
    return array_module(a if hasattr(a, "dtype") else b).maximum(a, b)


maximum.vjp(
    lambda g, _y, a, b: where(a == b, g * 0.5, where(a > b, g, 0.0)),
    lambda g, _y, a, b: where(a == b, g * 0.5, where(a < b, g, 0.0)),
)


@primitive
def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b. At a tie each gets half of the gradient."""
    return array_module(a if hasattr(a, "dtype") else b).minimum(a, b)


minimum.vjp(
    lambda g, _y, a, b: where(a == b, g * 0.5, where(a < b, g, 0.0)),
    lambda g, _y, a, b: where(a == b, g * 0.5, where(a > b, g, 0.0)),
)


@primitive
def cast(x: Array, *, dtype: DType) -> Array:
    """x in another dtype. A complex x cast to a real one stays complex: it is a real one with a perturbation."""
    return x.astype(result_type(dtype, complex64) if x.dtype.kind == "c" and dtype.kind == "f" else dtype)


cast.vjp(lambda g, _y, _x, dtype: g)  # the sweep brings every gradient to the dtype of its tensor


def copied(x: Any) -> Any:
    """x in memory of its own."""
    return cast(x, dtype=x.dtype)


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Halves computed in float32, in which sums neither overflow nor stop growing, and rounded once at the end."""

    @wraps(function)
    def computed(x: Any, *args: Any, **settings: Any) -> Any:
        if x.dtype != float16:
            return function(x, *args, **settings)
        return cast(function(cast(x, dtype=float32), *args, **settings), dtype=float16)

    return computed


@primitive
def real_part(x: Array) -> Array:
    """The real part of complex numbers."""
    return x.real


real_part.vjp(lambda g, *_: g)


@primitive
def to_device(x: Array, *, device: Any, source: Any, non_blocking: bool = False) -> Array:
    """x, which is on the device `source`, on another one."""
    if non_blocking and source.type == "cpu":
        return device.backend.send(x, device.index)
    return device.backend.asarray(x, None, device.index)


to_device.vjp(lambda g, _y, _x, device, source, **_: to_device(g, device=source, source=device))


for _arithmetic in (add, sub, mul, div, pow, maximum, minimum):
    _arithmetic.promotes = 0
where.promotes = 1  # behind the condition
