"""Derivatives from values alone: the complex step, and central differences extrapolated to step 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..backend import Array, array_module, complex128

COMPLEX_STEP = 1e-30


class Estimate(NamedTuple):
    """A derivative and how far off it may be."""

    value: float
    error: float


def complex_step(f: Callable[[Array], complex], x: Array, direction: Array) -> Estimate:
    """The derivative of f at x along a direction, as Im f(x + ih) / h.

    Nothing is subtracted, so h can be tiny and the result is good to rounding (Squire & Trapp, "Using complex variables
    to estimate derivatives of real functions", 1998). f must be analytic, and keep the imaginary part all the way.
    """
    value = f(x.astype(complex128) + 1j * COMPLEX_STEP * direction).imag / COMPLEX_STEP
    return Estimate(value, 0.0)


def central_difference(f: Callable[[Array], float], x: Array, direction: Array, steps: int = 6) -> Estimate:
    """The derivative of f at x along a direction, by Richardson extrapolation of (f(x + h) - f(x - h)) / 2h.

    The tableau entry with the smallest estimated error is taken, and that estimate is reported with it (Ridders,
    "Accurate computation of F'(x) and F'(x) F''(x)", 1982), plus what rounding of f itself can account for.
    """
    xp = array_module(x)
    h = 1e-2 * max(1.0, float(xp.abs(x).max()))
    shrink = 2.0
    rows: list[list[float]] = []
    best = Estimate(0.0, float("inf"))
    for k in range(steps):
        step = h / shrink**k
        high, low = f(x + step * direction), f(x - step * direction)
        row = [(high - low) / (2 * step)]
        rounding = 2.0**-52 * (abs(high) + abs(low)) / step
        for j in range(1, k + 1):
            factor = shrink ** (2 * j)
            row.append((factor * row[j - 1] - rows[-1][j - 1]) / (factor - 1))
            error = max(abs(row[j] - row[j - 1]), abs(row[j] - rows[-1][j - 1])) + rounding
            if error < best.error:
                best = Estimate(row[j], error)
        rows.append(row)
    return best


def basis(x: Array) -> Any:
    """The unit vectors of x's shape, each with its index."""
    xp = array_module(x)
    for flat in range(x.size):
        e = xp.zeros(x.size)
        e[flat] = 1.0
        yield tuple(int(i) for i in xp.unravel_index(flat, x.shape)), e.reshape(x.shape)
