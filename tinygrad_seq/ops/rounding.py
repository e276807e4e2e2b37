"""Rounding, and division with remainder. Rounding has derivative 0 wherever it has one."""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module, float64
from ..graph import primitive
from .elementwise import zero


@primitive
def floor(x: Array) -> Array:
    """The largest whole number that is not larger than x."""
    return array_module(x).floor(x.real).astype(x.dtype)


@primitive
def ceil(x: Array) -> Array:
    """The smallest whole number that is not smaller than x."""
    return array_module(x).ceil(x.real).astype(x.dtype)


@primitive
def round(x: Array, *, decimals: int = 0) -> Array:
    """The nearest number with so many decimals; from halfway, the even one."""
    return array_module(x).round(x.real, decimals).astype(x.dtype)


@primitive
def trunc(x: Array) -> Array:
    """x without its fraction: the nearest whole number towards 0."""
    return array_module(x).trunc(x.real).astype(x.dtype)


floor.vjp(lambda g, *_: zero(g))
ceil.vjp(lambda g, *_: zero(g))
round.vjp(lambda g, *_, decimals=0: zero(g))
trunc.vjp(lambda g, *_: zero(g))


def _no_zero(name: str, a: Array, b: Array) -> None:
    """Raise a ZeroDivisionError for integers divided by 0: among them there is no infinity to return."""
    whole = all(isinstance(v, int) or getattr(v, "dtype", float64).kind in "biu" for v in (a, b))
    if whole and (b == 0 if isinstance(b, int) else bool((b == 0).any())):
        raise ZeroDivisionError(f"{name}: integers cannot be divided by 0; convert them with .float() for inf and nan")


@primitive
def floor_divide(a: Array, b: Array) -> Array:
    """floor(a / b), as Python's // has it. Integers cannot be divided by 0."""
    _no_zero("floor_divide", a, b)
    return a // b


floor_divide.vjp(lambda g, *_: zero(g), lambda g, *_: zero(g))


@primitive
def remainder(a: Array, b: Array) -> Array:
    """a - b · floor(a / b), as Python's % has it: the sign is b's. Integers cannot be divided by 0."""
    _no_zero("remainder", a, b)
    return a % b


def _remainder_vjp_divisor(g: Any, _y: Any, a: Any, b: Any) -> Any:
    return -(g * floor_divide(a, b))


remainder.vjp(lambda g, *_: g, _remainder_vjp_divisor)
floor_divide.promotes = remainder.promotes = 0
