"""What is composed of primitives element by element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backend import array_module, bool_
from ..graph.errors import public, require_numbers
from .activation import softplus
from .elementwise import add as total
from .elementwise import copied, cos, log, sin, where
from .elementwise import div as quotient
from .elementwise import sub as difference
from .logic import isinf, isnan
from .rounding import floor_divide, trunc

if TYPE_CHECKING:
    from ..tensor import Tensor


@public
def add(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a + alpha · b."""
    return total(a, b if alpha == 1 else b * alpha)


@public
def sub(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a - alpha · b."""
    return difference(a, b if alpha == 1 else b * alpha)


@public
def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Tensor:
    """a / b, with rounding_mode="floor" or "trunc" rounded down or towards 0: of integers an integer then."""
    if rounding_mode is None:
        return quotient(a, b)
    if rounding_mode == "floor":
        return floor_divide(a, b)
    if rounding_mode != "trunc":
        raise ValueError(f"div: rounding_mode is None, 'floor' or 'trunc', got {rounding_mode!r}")
    down = floor_divide(a, b)
    if getattr(down, "dtype", None) is not None and down.dtype.kind in "iu":
        return where((down < 0) & (down * b != a), down + 1, down)
    return trunc(quotient(a, b))


@public
def square(x: Any) -> Tensor:
    """x². Of booleans an int64."""
    return x * x if x.dtype != bool_ else x**2


@public
def reciprocal(x: Any) -> Tensor:
    """1 / x."""
    return 1.0 / x


@public
def tan(x: Any) -> Tensor:
    """Tangent of x in radians."""
    return sin(x) / cos(x)


@public
def log2(x: Any) -> Tensor:
    """Logarithm to base 2."""
    return log(x) / math.log(2)


@public
def log10(x: Any) -> Tensor:
    """Logarithm to base 10."""
    return log(x) / math.log(10)


@public
def lerp(start: Any, end: Any, weight: Any) -> Tensor:
    """start + weight · (end - start): `start` for weight 0, `end` for 1."""
    return start + weight * (end - start)


@public
def addcmul(x: Any, a: Any, b: Any, *, value: float = 1) -> Tensor:
    """x + value · a · b."""
    return x + (a * b if value == 1 else value * (a * b))


@public
def addcdiv(x: Any, a: Any, b: Any, *, value: float = 1) -> Tensor:
    """x + value · a / b."""
    return x + value * (a / b)


@public
def logaddexp(a: Any, b: Any) -> Tensor:
    """log(exp(a) + exp(b)), without overflow. -inf where both are."""
    same = (a == b) & isinf(a)
    difference = where(same, 0.0, a) - where(same, 0.0, b)  # inf - inf is nan
    return where(a >= b, a + softplus(-difference), b + softplus(difference))


@public
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with nan, inf and -inf replaced, the last two by the largest and the smallest number of its dtype.

    Where something was replaced the gradient is 0.
    """
    require_numbers((nan, *[bound for bound in (posinf, neginf) if bound is not None]), "nan_to_num: ")
    if x.dtype.kind not in "fc":
        return copied(x)  # a copy, as of other numbers
    largest = float(array_module(x).finfo(x.dtype).max)
    x = where(isnan(x), nan, x)
    x = where(x == math.inf, largest if posinf is None else posinf, x)
    return where(x == -math.inf, -largest if neginf is None else neginf, x)
