"""How far to go in a direction: a step length that satisfies the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from tinygrad_seq import Tensor

ENOUGH = 1e-4  # the loss falls by at least this part of what the slope at the start promises
FLATTER = 0.9  # and the slope is at most this part of it


class Point(NamedTuple):
    """A place on the line: how far along it is, the loss there, its gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, t: float, budget: int, size: float, tolerance: float
) -> tuple[Point, int]:
    """A point where the loss has fallen enough and flattened out (Nocedal & Wright, 2006, algorithms 3.5 and 3.6).

    With f the loss along the line, f(t) ≤ f(0) + 10⁻⁴ · t · f'(0) and |f'(t)| ≤ 0.9 · |f'(0)|. Steps grow until such a
    point is found or must lie between the last two; then that interval shrinks. New lengths are the minima of cubics.

    Args:
        evaluate: computes the point at a length.
        start: the point at length 0, from where the loss falls.
        t: the length to try first.
        budget: how many more to try.
        size: the largest element of the direction.
        tolerance: below which change of the parameters the interval is small enough.

    Returns:
        The point, or the best one if the budget did not suffice; and how many were tried.
    """

    def too_high(point: Point) -> bool:
        return point.loss > start.loss + ENOUGH * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -FLATTER * start.slope

    previous, point = start, evaluate(t)
    tried = 0
    while tried < budget:
        if too_high(point) or (tried > 1 and point.loss >= previous.loss):
            break
        if flat(point):
            return point, tried + 1
        if point.slope >= 0:
            break
        bounds = point.t + 0.01 * (point.t - previous.t), 10 * point.t
        previous, point = point, evaluate(cubic_minimum(previous, point, bounds))
        tried += 1
    ends = [previous if tried < budget else start, point]
    low, high = _ordered(ends)
    near_an_end = False
    while tried < budget:
        left, right = min(end.t for end in ends), max(end.t for end in ends)
        if (right - left) * size < tolerance:
            break
        t = cubic_minimum(ends[0], ends[1], (left, right))
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            near_an_end = False
        elif near_an_end or t >= right or t <= left:  # the second time: keep a distance
            t = right - margin if right - t < t - left else left + margin
            near_an_end = False
        else:
            near_an_end = True
        point = evaluate(t)
        tried += 1
        if too_high(point) or point.loss >= ends[low].loss:
            ends[high] = point
            low, high = _ordered(ends)
            continue
        enough = flat(point)
        if not enough and point.slope * (ends[high].t - ends[low].t) >= 0:
            ends[high] = ends[low]
        ends[low] = point
        if enough:
            break
    return ends[low], tried + 1


def _ordered(ends: list[Point]) -> tuple[int, int]:
    """The numbers of the lower and the higher end."""
    return (0, 1) if ends[0].loss <= ends[1].loss else (1, 0)


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points with their slopes is lowest; within the bounds, or midway if it nowhere is."""
    if a.t > b.t:
        a, b = b, a
    width = b.t - a.t
    if width > 0:
        middle = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
        square = middle * middle - a.slope * b.slope
        root = math.sqrt(square) if square >= 0 else math.nan
        divisor = b.slope - a.slope + 2 * root
        t = b.t - width * ((b.slope + root - middle) / divisor) if divisor else math.nan
        if math.isfinite(t):
            return min(max(t, bounds[0]), bounds[1])
    return (bounds[0] + bounds[1]) / 2
