"""Tables: straight between knots that lie so close that wide steps see a smooth curve, whose slope is another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import CORRECT, LARGE, WRONG, Case, Draw, enter, pointwise
from .changes import one_element, scaled, with_change

ROUTED = ("pair", "primitive", "module", "PyTorch")


class Curve:
    """A function through its knots, straight between them."""

    def __init__(self, f: Callable[[Any], Any], knots: int) -> None:
        self.at = np.linspace(-4, 4, knots)
        self.values = f(self.at)

    def left(self, x: Any) -> Any:
        return np.clip(np.searchsorted(self.at, x, side="right") - 1, 0, len(self.at) - 2)

    def __call__(self, x: Any) -> Any:
        return np.interp(x.real, self.at, self.values)

    def slope(self, x: Any, to_the_right: int = 0) -> Any:
        k = np.minimum(self.left(x) + to_the_right, len(self.at) - 2)
        return (self.values[k + 1] - self.values[k]) / (self.at[k + 1] - self.at[k])


def inside(count: int, knots: int) -> Draw:
    """Off the knots by a tenth of their distance at least, where the curve bends."""

    def draw(rng: np.random.Generator) -> list[Any]:
        width = 8 / (knots - 1)
        k = rng.integers(int(4.5 / width), int(7 / width), count)
        return [-4 + width * (k + rng.uniform(0.1, 0.9, count))]

    return draw


def next_piece(curve: Curve) -> Callable[..., Any]:
    return lambda g, x, y: g * curve.slope(x, to_the_right=1)


def interpolated(f: Callable[[Any], Any], knots: int, count: int = 6) -> tuple[Curve, Case]:
    curve = Curve(f, knots)
    return curve, pointwise(
        curve, lambda x, y: curve.slope(x), inside(count, knots), kind="table", large=count >= LARGE
    )


for _knots in (101, 1001, 10_001):
    for _name, _f in {"sine": np.sin, "exponential": np.exp}.items():
        _curve, _case = interpolated(_f, _knots)
        _of = f"{_name} over {_knots} knots"
        enter(CORRECT, _of, _case, ROUTED if _name == "sine" else ("pair",))
        enter(WRONG, f"{_of}, 1 % too large", with_change(_case, scaled(1.01)), ROUTED if _knots == 1001 else ("pair",))
        enter(
            WRONG,
            f"{_of}, the slope of the next piece",
            _case._replace(backward=next_piece(_curve)),
            ROUTED if _name == "sine" else ("pair",),
        )
    _curve, _case = interpolated(np.sin, _knots)
    enter(
        WRONG,
        f"sine over {_knots} knots, the slope of the curve",
        _case._replace(backward=lambda g, x, y: g * np.cos(x)),
        ("pair", "PyTorch"),
    )
_curve, _case = interpolated(np.sin, 1001, LARGE)
enter(CORRECT, "sine over 1001 knots", _case)
enter(WRONG, "sine over 1001 knots, 1 % too large", with_change(_case, scaled(1.01)))
enter(WRONG, "sine over 1001 knots, one element halved", with_change(_case, one_element(-0.5)))


# --- the table is learned: its gradient is exact, and that of the places is not smooth ---


def _lookup(x: Any, table: Any) -> Any:
    k = np.clip(np.floor(x.real * 8).astype(int), 0, 62)
    t = x * 8 - k
    return (1 - t) * table[k] + t * table[k + 1]


def _lookup_backward(g: Any, x: Any, table: Any, y: Any) -> Any:
    k = np.clip(np.floor(x * 8).astype(int), 0, 62)
    t = x * 8 - k
    d = np.zeros_like(table)
    np.add.at(d, k, g * (1 - t))
    np.add.at(d, k + 1, g * t)
    return 8 * g * (table[k + 1] - table[k]), d


def _places(rng: np.random.Generator) -> list[Any]:
    k = rng.integers(0, 60, 9)
    k[1], k[2] = k[0], k[0] + 1  # two in one piece, and one in the next
    return [(k + rng.uniform(0.1, 0.9, 9)) / 8, rng.standard_normal(64)]


_learned = Case(_lookup, _lookup_backward, _places, kind="table")


def _overwritten(g: Any, x: Any, table: Any, y: Any) -> Any:
    dx, d = _lookup_backward(g, x, table, y)
    k = np.clip(np.floor(x * 8).astype(int), 0, 62)
    d[k + 1] = g * (x * 8 - k)
    return dx, d


enter(CORRECT, "a learned table and its places", _learned, ROUTED)
enter(
    WRONG,
    "a learned table: overwritten where pieces meet",
    _learned._replace(backward=_overwritten),
    ("pair", "module"),
)
enter(WRONG, "a learned table: places without the width", with_change(_learned, scaled(1 / 8)), ("pair", "PyTorch"))


# --- fine steps: values in units of 1e-4, or a fine staircase on a slope ---


def _off_steps(rng: np.random.Generator) -> list[Any]:
    return [(np.floor(rng.uniform(0.2, 3, 6) * 1000) + rng.uniform(0.2, 0.8, 6)) / 1000]


_stairs = pointwise(
    lambda x: np.sin(x.real) + np.floor(1000 * x.real) / 1000, lambda x, y: np.cos(x), _off_steps, kind="table"
)
enter(CORRECT, "a sine on a fine staircase", _stairs, ("pair", "PyTorch"))
enter(
    WRONG,
    "a sine on a fine staircase, its mean slope with it",
    with_change(_stairs, lambda d, g, xs, y: [d[0] + g]),
    ("pair", "primitive"),
)
_waves = pointwise(
    lambda x: np.sin(x.real) + 1e-3 * np.sin(1000 * x.real),
    lambda x, y: np.cos(x) + np.cos(1000 * x),
    _off_steps,
    kind="table",
)
enter(CORRECT, "a sine with ripples", _waves, ("pair", "PyTorch"))
enter(
    WRONG,
    "a sine with ripples that go back as none",
    _waves._replace(backward=lambda g, x, y: g * np.cos(x)),
    ("pair", "primitive"),
)
