"""Activation functions beyond tanh, sigmoid and relu, and clamping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backend import Array, array_module, backend_of, float32
from ..graph import primitive
from ..graph.errors import public
from .elementwise import copied, exp, expm1, sigmoid, tanh, where

if TYPE_CHECKING:
    from ..tensor import Tensor


@primitive
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), which is x far to the right and 0 far to the left.

    A primitive because neither the composition (overflow) nor relu(x) + log1p(exp(-|x|)) (derivative 0 at 0) is right.
    """
    xp = array_module(x)
    if x.dtype.kind == "c":
        left = x.real < 0
        return xp.where(left, 0, x) + xp.log1p(xp.exp(xp.where(left, x, -x)))
    if x.dtype.kind in "biu":  # minus an unsigned integer is another large one
        x = x.astype(float32)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


softplus.vjp(lambda g, _y, x: g * sigmoid(x))


@primitive
def erf(x: Array) -> Array:
    """The error function, 2/√π times the integral of exp(-t²) from 0 to x."""
    return backend_of(x).erf(x)


erf.vjp(lambda g, _y, x: g * ((2.0 / math.sqrt(math.pi)) * exp(-(x * x))))


@public
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, negative_slope · x elsewhere (at 0 too)."""
    return where(x > 0, x, negative_slope * x)


@public
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where it is positive, alpha · (exp(x) - 1) elsewhere (Clevert et al., 2016)."""
    return where(x > 0, x, alpha * expm1(where(x > 0, 0.0, x)))


@public
def silu(x: Any) -> Tensor:
    """x · sigmoid(x), also known as swish."""
    return x * sigmoid(x)


@public
def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x · Φ(x), with Φ the normal distribution function, or with approximate="tanh" its approximation by tanh.

    Hendrycks & Gimpel, "Gaussian error linear units", 2016.
    """
    if approximate == "none":
        return 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    raise ValueError(f"gelu: approximate is 'none' or 'tanh', got {approximate!r}")


@public
def clamp(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x, but no less than `min` and no more than `max`; nan where one of them is. On the bounds x has the gradient."""
    if min is None and max is None:
        raise ValueError("clamp: takes min, max or both")
    y = x
    if min is not None and not _at_the_end(x, min, "min"):
        y = where(_or_nan(y < min, min), min, y)
    if max is not None and not _at_the_end(x, max, "max"):
        y = where(_or_nan(y > max, max), max, y)
    return copied(x) if y is x else y  # a copy, though all numbers stay


def _at_the_end(x: Any, bound: Any, end: str) -> bool:
    """Whether a bound is the last integer of x's dtype, or beyond it, so that all elements keep to it."""
    if not isinstance(bound, int) or x.dtype.kind not in "iu":
        return False
    last = getattr(array_module(x).iinfo(x.dtype), end)
    return bool(bound <= last if end == "min" else bound >= last)


def _or_nan(outside: Any, bound: Any) -> Any:
    return outside if isinstance(bound, (int, float)) and bound == bound else outside | (bound != bound)
