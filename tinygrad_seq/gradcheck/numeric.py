"""Derivatives from values alone, of each output element by itself: the complex step, and differences at falling steps.

Each element has its own domain, kinks and rounding, so each finds its own best step. Where the function has no value,
as beyond the edge of its domain, a sample is nan, and the steps that are short enough decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..backend import Array, array_module

host: Any = array_module(0.0)  # NumPy

COMPLEX_STEP = 2.0**-100
FALL = 7.3  # from one step to the next: no whole number, by which values on a grid would move in proportion
WIDEST = 0.05  # as a part of the direction
STEPS = 8  # down to 4.5e-8 of it
FIRST = (1, 2, 3, 6)  # of these steps: enough where f is smooth, and the last one sees whether it is not
SETTLED = 1e-9  # error, as a part of what is usual, below which no more steps are taken
NOISY = 1e-11  # grain of the values, as a part of them, that only more wide steps average out
FINE = 1e-3  # grid of the values, as a part of the largest, up to which it is rounding
DECIMALS = 12
HALF, WIDER = 1e-5, 5.0  # grain as a part of the values, as of half precision, from which steps are so much wider
UNKNOWN = 0.1  # error, as a part of a slope, above which the slope to one side is looked at
CLEARLY = 1e-4  # part of that error that the one of the other side must not exceed
WIDE = (0.391, 0.577, 0.704, 0.813, 0.914, 1.0)  # parts of the widest beside its FALL-th, that no grid of values shares


Samples = dict[int, list["Array | None"]]  # to both sides, by the number of the step


class Slopes(NamedTuple):
    """Derivatives along a line of all output elements, one after the other.

    Attributes:
        value: the derivatives.
        error: how far off each may be; infinite where nothing can be said.
        bent: where the slopes to the left and to the right differ.
    """

    value: Array
    error: Array
    bent: Array


def flat(ys: Sequence[Array]) -> Array:
    """The elements of several arrays in one."""
    return host.concatenate([host.ravel(y) for y in ys]) if ys else host.zeros(0)


def along(
    f: Callable[[float], Array | None],
    here: Array,
    rounding: Array,
    steps: Sequence[int] | None = None,
    grid: Callable[[], float] = lambda: 0.0,
    samples: Samples | None = None,
) -> Slopes:
    """The slopes at 0 of f, which gives all output elements at a point of a line (None where it has no values).

    Args:
        here: f(0).
        rounding: the unit of rounding of each output element, as a part of it.
        steps: which of the steps WIDEST / FALL**k to take; by default as many as it takes.
        grid: tells after the samples of which number all values are multiples; those that do not move do not show it.
        samples: of this line, as far as there are any; more are put there.
    """
    samples = {} if samples is None else samples
    for some in (FIRST, range(STEPS)) if steps is None else (steps,):
        for k in sorted(some, reverse=True):
            if k not in samples:
                samples[k] = [f(sign * WIDEST / FALL**k) for sign in (1.0, -1.0)]
            if all(y is None for y in samples[k]):
                break  # nor has it values further away
        found, coarse = _slopes(samples, here, rounding, grid())
        if _settled(found) or all(y is None for y in samples[max(some)]):
            break
        if steps is None and some is FIRST and _is_coarse(coarse, samples):
            return _better(found, _fitted(f, here, coarse, samples.get(1, [None, None])))
    return found


def _is_coarse(coarse: Array, samples: Samples) -> bool:
    """Whether most values are rounded to far less than double precision."""
    size = host.max([abs(y) for pair in samples.values() for y in pair if y is not None], axis=0, initial=0.0)
    return bool((coarse > NOISY * size).mean() > 0.5) if coarse.size else False


def _better(one: Slopes, other: Slopes) -> Slopes:
    better = ~one.bent & (other.error < one.error)
    return Slopes(*[host.where(better, b, a) for a, b in zip(one, other, strict=True)])


def _fitted(f: Callable[[float], Array | None], here: Array, coarse: Array, first: Sequence[Array | None]) -> Slopes:
    """By the odd polynomial of fifth degree that comes nearest at wide steps; errors by what it leaves over.

    That is an error of which much is known, so that half of it will do where others are taken as they are.
    """
    there = here != 0
    wide = WIDER if there.any() and host.median((coarse / abs(here))[there]) > HALF else 1.0
    parts = host.array((1 / FALL, *[wide * t for t in WIDE]))[:, None]
    gap = host.full(here.shape, host.nan)
    high, low = [
        host.stack([gap if y is None else y for y in [known, *[f(sign * wide * t * WIDEST) for t in WIDE]]])
        for sign, known in zip((1.0, -1.0), first, strict=True)
    ]
    powers = parts ** host.array([1, 3, 5])
    odd = (high - low) / 2
    inverse = host.linalg.pinv(powers)
    coefficients = inverse @ odd
    left_over = ((odd - powers @ coefficients) ** 2).sum(axis=0) / (len(parts) - 3)
    spread = host.fmax(host.sqrt(left_over), coarse / 4)  # what is rounded to a grain is off by a quarter of it
    error = 0.5 * spread * float(host.sqrt((inverse[0] ** 2).sum())) / WIDEST
    error = host.where(host.isfinite(left_over), error, host.inf)
    return Slopes(coefficients[0] / WIDEST, error, host.zeros(here.shape, dtype=bool))


def _settled(found: Slopes) -> bool:
    """Whether all slopes are known well."""
    size = abs(found.value)
    usual = float(host.median(size[size > 0])) if (size > 0).any() else 0.0
    return bool((found.error <= SETTLED * (size + usual)).all()) and not found.bent.any()


def _slopes(samples: Samples, here: Array, rounding: Array, grid: float) -> tuple[Slopes, Array]:
    """Of samples to both sides, by the number of the step; and to what the values are rounded."""
    steps = sorted(samples)
    widths = host.array([WIDEST / FALL**k for k in steps])[:, None]
    gap = host.full(here.shape, host.nan)
    with host.errstate(all="ignore"):
        high, low = [
            host.stack([gap if samples[k][side] is None else samples[k][side] for k in steps]) for side in (0, 1)
        ]
        high, low = [host.where(host.isfinite(y), y, host.nan) for y in (high, low)]
        size = rounding * host.fmax(host.fmax(abs(high), abs(low)), abs(here))
        moves = (high != here).any(axis=0) | (low != here).any(axis=0)
        coarse = grain(host.concatenate([high, low, here[None]]))
        usual = host.median((coarse / abs(here))[moves & (here != 0)]) if (moves & (here != 0)).any() else 0.0
        coarse = host.where(moves, coarse, abs(here) * (usual if usual <= FINE else 0.0))  # what is still shows none
        size = host.fmax(host.fmax(size, coarse), grid)
        right, left = (high - here) / widths, (here - low) / widths
        slopes = (high - low) / (2 * widths)
        seen = _scatter(slopes, widths)
        noise = host.fmax(host.fmax(_noise(high - low), size), seen)
        result = central = _extrapolated(slopes, noise / widths, widths, 2)
        edge = ~host.isfinite(central.error)
        one_sided = edge | (central.error > UNKNOWN * abs(central.value))
        if one_sided.any():  # at an edge of the domain, next to a jump
            for side, move in ((right, high - here), (left, here - low)):
                grained = host.fmax(_noise(move), _noise(high - low))
                noise = host.fmax(2 * host.fmax(grained, size), _scatter(side, widths))
                found = _extrapolated(side, noise / widths, widths, 1)
                better = one_sided & (found.error < host.where(edge, 1.0, CLEARLY) * result.error)
                result = Slopes(*[host.where(better, b, a) for a, b in zip(result, found, strict=True)])
        noise = host.fmax(host.fmax(host.fmax(_noise(high - here), _noise(here - low)), size), seen)
        bent = _bent(right, left, noise / widths) & host.isfinite(central.error)
        return result._replace(bent=bent), host.fmax(host.fmax(coarse, _noise(high - low)[0]), grid)


def _noise(moves: Array) -> Array:
    """What rounding is seen to do: an element that moves, but not for short steps, is rounded to its smallest move."""
    size = abs(moves)
    grain = host.where(size > 0, size, host.inf).min(axis=0)
    some, still = (size > 0).any(axis=0), (size == 0).any(axis=0)
    return host.where(some & still, grain, 0.0) * host.ones_like(moves)


def grain(values: Array) -> Array:
    """The largest power of two of which all values of an element are multiples: single precision, cancellation."""
    mantissa, exponent = host.frexp(host.nan_to_num(values, posinf=0.0, neginf=0.0))
    digits = (abs(mantissa) * 2.0**53).astype("int64")
    lowest = host.ldexp((digits & -digits).astype("float64"), exponent - 53)
    smallest = host.where(digits == 0, host.inf, lowest).min(axis=0)
    return host.where(host.isfinite(smallest), smallest, 0.0)


def decimal_grid(values: Array) -> float:
    """The power of ten of which all values are multiples, as those of `round` are; 0 if there is none, or a coarse one.

    Values on a coarse grid are those of a function with steps, whose slopes are 0.
    """
    largest = float(abs(values[host.isfinite(values)]).max(initial=0.0))
    for digits in range(DECIMALS + 1):
        if 0 < largest < 10.0 ** (14 - digits) and is_on_grid(values, 10.0**-digits):
            return 10.0**-digits if 10.0**-digits <= FINE * largest else 0.0
    return 0.0


def is_on_grid(values: Array, grid: float) -> bool:
    """Whether all values are multiples of a power of ten, to the rounding of double precision."""
    scaled = values[host.isfinite(values)] * round(1 / grid)
    return bool((abs(scaled - host.rint(scaled)) <= 1e-15 * abs(scaled)).all())


def _scatter(slopes: Array, widths: Array) -> Array:
    """The same by the slopes at the shortest steps, which differ by rounding; at a kink they do not."""
    last = min(max(len(slopes) - 3, 0), 2)
    if not last:
        return 0 * slopes[0]
    apart = (abs(host.diff(slopes, axis=0)) * widths[1:])[-last:].max(axis=0)
    return host.where(host.isfinite(apart), apart, 0.0)


def _extrapolated(slopes: Array, rounding: Array, widths: Array, powers: int) -> Slopes:
    """Richardson's tableau of slopes at falling steps, whose error is a series in h to multiples of `powers`.

    Of each element the entry with the smallest estimated error is taken (Ridders, "Accurate computation of F'(x) and
    F'(x) F''(x)", 1982) out of those that the slopes at all shorter steps bear out: these must come nearer as the
    series says, but for rounding. Where f bends within a step, slopes at wide steps agree and are wrong.
    """
    count = len(slopes)
    value, best = slopes[-1], host.full(slopes[0].shape, host.inf)
    previous: list[Array] = []
    for k in range(count):
        row = [slopes[k]]
        for j in range(1, k + 1):
            factor = FALL ** (powers * j)
            row.append((factor * row[j - 1] - previous[j - 1]) / (factor - 1))
            error = host.maximum(abs(row[j] - row[j - 1]), abs(row[j] - previous[j - 1])) + 2 * rounding[k]
            borne_out = host.isfinite(error) & (error < best)
            for m in range(k + 1, count):
                if not borne_out.any():
                    break
                reach = 10 * abs(slopes[k] - row[j]) * (widths[m] / widths[k]) ** powers + 10 * (error + rounding[m])
                borne_out &= ~(abs(slopes[m] - row[j]) > reach)
            value, best = host.where(borne_out, row[j], value), host.where(borne_out, error, best)
        previous = row
    return Slopes(value, best, host.zeros(best.shape, dtype=bool))


def _bent(right: Array, left: Array, rounding: Array) -> Array:
    """Where the slopes to both sides stay apart, however short the steps."""
    apart = abs(right - left)[-3:]
    if len(apart) < 3:
        return host.zeros(apart.shape[1:], dtype=bool)
    stays = (apart[1] > 0.5 * apart[0]) & (apart[2] > 0.5 * apart[1])
    stays &= (apart[1] < 2 * apart[0]) & (apart[2] < 2 * apart[1])  # rounding grows as steps fall
    return stays & (apart[2] > 40 * rounding[-1]) & (apart[2] > 1e-6 * host.fmax(abs(right[-1]), abs(left[-1])))


def scatter_about_a_curve(curves: Callable[[float], Sequence[Array] | None]) -> list[Array]:
    """The rounding noise of quantities, as their scatter about smooth functions of t near t = 0: sixth differences.

    Moré & Wild, "Estimating computational noise", 2011. It sees what moving by an ulp does not: 1 - y² where y is
    rounded to nearly 1. Spacings up to 1e-4, so that such a y changes.
    """
    largest: list[Array] = []
    for spacing in (1e-8, 1e-4):
        points = [p for p in [curves(k * spacing) for k in range(-3, 5)] if p is not None]
        if len(points) < 8:
            continue
        with host.errstate(all="ignore"):
            # 924 is the squared norm of the sixth difference's coefficients
            sixth = [host.diff(host.stack(p), n=6, axis=0) / 924**0.5 for p in zip(*points, strict=True)]
            found = [abs(s).max(axis=0) for s in sixth]
        largest = [host.fmax(a, b) for a, b in zip(largest, found, strict=True)] if largest else found
    return [host.nan_to_num(a, nan=0.0, posinf=0.0) for a in largest]
