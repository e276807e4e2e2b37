"""Comparisons, logic, and questions about numbers. The answers are booleans, which carry no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import Array, array_module, float64
from ..graph import primitive
from ..graph.device import beside
from ..graph.errors import public, require_numbers
from .elementwise import cast

if TYPE_CHECKING:
    from ..tensor import Tensor


@primitive
def eq(a: Array, b: Array) -> Array:
    """a == b, as booleans."""
    return a == b


@primitive
def ne(a: Array, b: Array) -> Array:
    """a != b, as booleans."""
    return a != b


@primitive
def lt(a: Array, b: Array) -> Array:
    """a < b, as booleans."""
    return a < b


@primitive
def le(a: Array, b: Array) -> Array:
    """a <= b, as booleans."""
    return a <= b


@primitive
def gt(a: Array, b: Array) -> Array:
    """a > b, as booleans."""
    return a > b


@primitive
def ge(a: Array, b: Array) -> Array:
    """a >= b, as booleans."""
    return a >= b


for _comparison in (eq, ne, lt, le, gt, ge):
    _comparison.promotes = 0


@primitive
def logical_and(a: Array, b: Array) -> Array:
    """Whether both are true (not zero)."""
    require_numbers((a, b))
    return array_module(a).logical_and(a, b)


@primitive
def logical_or(a: Array, b: Array) -> Array:
    """Whether one is true (not zero)."""
    require_numbers((a, b))
    return array_module(a).logical_or(a, b)


@primitive
def logical_xor(a: Array, b: Array) -> Array:
    """Whether just one is true (not zero)."""
    require_numbers((a, b))
    return array_module(a).logical_xor(a, b)


@primitive
def logical_not(x: Array) -> Array:
    """Whether x is false (zero)."""
    return array_module(x).logical_not(x)


@primitive
def isnan(x: Array) -> Array:
    """Whether x is not a number."""
    return array_module(x).isnan(x)


@primitive
def isinf(x: Array) -> Array:
    """Whether x is infinite."""
    return array_module(x).isinf(x)


@primitive
def isfinite(x: Array) -> Array:
    """Whether x is a number and finite."""
    return array_module(x).isfinite(x)


@public
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |a - b| <= atol + rtol · |b|, element by element."""
    equal = eq(a, b)
    a, b = (cast(x, dtype=float64) if getattr(x, "dtype", float64).kind in "biu" else x for x in (a, b))
    near = logical_and(isfinite(b), abs(a - b) <= atol + rtol * abs(b))
    return (
        logical_or(logical_or(equal, near), logical_and(isnan(a), isnan(b))) if equal_nan else logical_or(equal, near)
    )


@public
def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close to each other: a Python boolean. See `isclose`."""
    return bool(isclose(a, b, rtol, atol, equal_nan).all())


@public
def isin(elements: Any, test_elements: Any) -> Tensor:
    """For each element whether it is one of `test_elements`: a tensor, a list, or a number."""
    require_numbers((elements, test_elements), "isin: ")
    test = beside(getattr(elements, "array", elements), getattr(test_elements, "array", test_elements))
    return eq(elements.reshape((*elements.shape, 1)), test.reshape(-1)).any(-1)


@public
def equal(a: Any, b: Any) -> bool:
    """Whether two tensors have the same shape and the same elements: a Python boolean."""
    require_numbers((a, b))
    return a.shape == b.shape and bool(eq(a, b).all())
