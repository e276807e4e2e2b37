"""Derivatives from values alone: the complex step, and differences extrapolated to step 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..backend import Array, array_module, complex128

host = array_module(0.0)  # NumPy

COMPLEX_STEP = 2.0**-100
Values = Callable[[Array], Sequence[Array]]  # of one input: the outputs, with the other inputs held


class Estimate(NamedTuple):
    """A derivative and how far off it may be."""

    value: float
    error: float


def complex_step(f: Values, x: Array, direction: Array, weights: Sequence[Array], step: float = COMPLEX_STEP) -> float:
    """The derivative along a direction of the weighted sum of f's outputs, as Im f(x + ih) / h.

    Nothing is subtracted, so h can be tiny and the result is good to rounding (Squire & Trapp, "Using complex variables
    to estimate derivatives of real functions", 1998). f must be analytic, and keep the imaginary part all the way.

    Raises:
        TypeError: if f gives no complex numbers.
    """
    ys = f(x.astype(complex128) + 1j * (step * direction))
    if not any(y.dtype.kind == "c" for y in ys):
        raise TypeError("the function gives real numbers for complex ones")
    return float(sum(float((w * (y.imag / step)).sum()) for y, w in zip(ys, weights, strict=True)))


def central_difference(
    f: Values,
    x: Array,
    direction: Array,
    weights: Sequence[Array],
    noise: Sequence[Array],
    first: float,
    steps: int = 12,
) -> Estimate:
    """The same by Richardson extrapolation of (f(x + h) - f(x - h)) / 2h, h = `first`, a quarter of it, ...

    The entry of the tableau with the smallest estimated error is taken, and that estimate is reported with it (Ridders,
    "Accurate computation of F'(x) and F'(x) F''(x)", 1982), plus what the rounding of f accounts for. Outputs are
    subtracted one by one before they are added up, so that those which do not depend on x bring no rounding.

    Args:
        noise: how far rounding inside of f moves each output.
    """
    widths = [first / 4.0**k for k in range(steps)]
    pairs = [(f(x + h * direction), f(x - h * direction)) for h in widths]
    return _extrapolated(_slopes(pairs, [2 * h for h in widths], weights, noise), powers=2)


def one_sided_differences(
    f: Values,
    x: Array,
    direction: Array,
    weights: Sequence[Array],
    noise: Sequence[Array],
    first: float,
    steps: int = 12,
) -> tuple[Estimate, Estimate]:
    """The slopes to the left and to the right, which differ at a kink."""
    here = f(x)
    widths = [first / 4.0**k for k in range(steps)]
    left = [(here, f(x - h * direction)) for h in widths]
    right = [(f(x + h * direction), here) for h in widths]
    return (
        _extrapolated(_slopes(left, widths, weights, noise), powers=1),
        _extrapolated(_slopes(right, widths, weights, noise), powers=1),
    )


def _slopes(
    pairs: Sequence[tuple[Sequence[Array], Sequence[Array]]],
    widths: Sequence[float],
    weights: Sequence[Array],
    noise: Sequence[Array],
) -> list[Estimate]:
    """(high - low) / width for falling widths, weighted and added up, and what rounding can make of each."""
    value, rounding, unseen = host.zeros(len(widths)), host.zeros(len(widths)), 0.0
    with host.errstate(all="ignore"):
        for k, w in enumerate(weights):
            differences = host.stack([host.asarray(high[k].real - low[k].real, dtype=float) for high, low in pairs])
            largest = host.stack([abs(high[k].real) + abs(low[k].real) for high, low in pairs]).max(axis=0)
            unit = float(host.finfo(pairs[0][0][k].real.dtype).eps)
            moves = differences != 0
            # an output that moves, but not for small steps, is rounded to multiples of at least its smallest move
            grain = host.where(moves, abs(differences), host.inf).min(axis=0)
            grain = host.where(moves.any(axis=0) & ~moves.all(axis=0), grain, 0.0)
            moved = moves.any(axis=0)
            off = host.maximum(host.maximum(unit * largest, noise[k]), grain) * moved
            unseen += float((abs(w) * unit * largest * ~moved).sum())
            value += (w * differences).reshape(len(widths), -1).sum(axis=1)
            rounding += float((abs(w) * off).sum())
    unseen /= widths[0]  # a slope so small that rounding hides it even over the widest step
    return [Estimate(float(v) / h, float(r) / h + unseen) for v, r, h in zip(value, rounding, widths, strict=True)]


def _extrapolated(slopes: Sequence[Estimate], powers: int) -> Estimate:
    """Richardson's tableau of slopes at steps that fall by 4, whose error is a series in h to multiples of `powers`.

    A slope at a smaller step must not be farther from the result than the one it starts from, but for rounding: where f
    waves within a step, slopes at wide steps agree with each other and are wrong.
    """
    candidates: list[tuple[float, float, int]] = []
    previous: list[float] = []
    for k, here in enumerate(slopes):
        row = [here.value]
        for j in range(1, k + 1):
            factor = 4.0 ** (powers * j)
            row.append((factor * row[j - 1] - previous[j - 1]) / (factor - 1))
            error = max(abs(row[j] - row[j - 1]), abs(row[j] - previous[j - 1])) + 2 * here.error
            candidates.append((error, row[j], k))
        previous = row
    for error, value, k in sorted(candidates):
        reach = abs(slopes[k].value - value) + 10 * error
        if all(abs(later.value - value) <= reach + 10 * later.error for later in slopes[k + 1 :]):
            return Estimate(value, error)
    return Estimate(slopes[-1].value, float("inf"))


def scatter_about_a_curve(curves: Callable[[float], Sequence[Array]]) -> list[Array]:
    """The rounding noise of quantities, as their scatter about smooth functions of t near t = 0: sixth differences.

    Moré & Wild, "Estimating computational noise", 2011. It sees what moving by an ulp does not: 1 - y² where y is
    rounded to nearly 1. Spacings up to 1e-4, so that such a y changes.
    """
    largest: list[Array] = []
    for spacing in (1e-10, 1e-7, 1e-4):
        points = [curves(k * spacing) for k in range(-5, 6)]
        with host.errstate(all="ignore"):
            # 924 is the squared norm of the sixth difference's coefficients
            sixth = [host.diff(host.stack(p), n=6, axis=0) / 924**0.5 for p in zip(*points, strict=True)]
            found = [abs(s).max(axis=0) for s in sixth]
        largest = [host.fmax(a, b) for a, b in zip(largest, found, strict=True)] if largest else found
    return [host.nan_to_num(a, nan=0.0, posinf=0.0) for a in largest]
