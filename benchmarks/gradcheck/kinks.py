"""At kinks: gradients of points arbitrarily near are right, and no others; many kinks hide no mistake elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg

from .case import CORRECT, LARGE, WRONG, Case, Draw, draws, enter, fixed, no_pair, normal, pointwise
from .changes import Change, one_element, scaled, with_change

OTHERS = ("primitive", "function", "module", "compiled", "PyTorch")


def half_zeros(rng: np.random.Generator) -> list[Any]:
    return [np.maximum(rng.standard_normal(LARGE), 0)]


def on_a_grid(rng: np.random.Generator) -> list[Any]:
    """Numbers of which many lie on the bounds -1 and 1."""
    return [np.clip(rng.standard_normal(LARGE), -1, 1)]


def every_hundredth(by: float) -> Change:
    """One in a hundred of those that are not 0."""

    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        factors = np.ones(xs[0].shape)
        factors[np.flatnonzero(np.asarray(xs[0]) > 0)[::100]] = by
        return [d[0] * factors]

    return change


def one_positive(by: float) -> Change:
    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        factors = np.ones(xs[0].shape)
        factors[np.flatnonzero((np.asarray(xs[0]) > 0.2) & (np.asarray(xs[0]) < 0.9))[100]] = by
        return [d[0] * factors]

    return change


def many(f: Callable[..., Any], derivative: Callable[..., Any], draw: Draw) -> Case:
    return pointwise(f, derivative, draw, kind="kink", large=True)


MANY: dict[str, Case] = {
    "relu of half zeros": many(lambda x: np.maximum(x.real, 0), lambda x, y: x > 0, half_zeros),
    "relu of half zeros, 1 at 0": many(lambda x: np.maximum(x.real, 0), lambda x, y: x >= 0, half_zeros),
    "relu of half zeros, complex": many(lambda x: x * (x.real > 0), lambda x, y: x > 0, half_zeros),
    "abs of half zeros": many(lambda x: np.abs(x.real), lambda x, y: np.sign(x), half_zeros),
    "square root of |x| above a step": many(
        lambda x: np.sqrt(np.abs(x.real) + 1), lambda x, y: np.sign(x) * 0.5 / y, half_zeros
    ),
    "clip at its bounds": many(lambda x: np.clip(x.real, -1, 1), lambda x, y: abs(x) < 1, on_a_grid),
    "clip at its bounds, 1 there": many(lambda x: np.clip(x.real, -1, 1), lambda x, y: abs(x) <= 1, on_a_grid),
    "Huber at its bounds": many(
        lambda x: np.where(abs(x.real) < 1, x.real**2 / 2, abs(x.real) - 0.5), lambda x, y: np.clip(x, -1, 1), on_a_grid
    ),
}
for _name, _case in MANY.items():
    enter(CORRECT, _name, _case)
    enter(WRONG, f"{_name}, 1 % halved", with_change(_case, every_hundredth(0.5)))
    enter(WRONG, f"{_name}, one halved", with_change(_case, one_positive(0.5)))
for _route in OTHERS:
    _case = MANY["relu of half zeros, complex" if _route == "compiled" else "relu of half zeros"]
    _case = _case._replace(backward=lambda g, x, y: g * (x > 0))
    enter(CORRECT, "relu of half zeros", _case, [_route])
    enter(WRONG, "relu of half zeros, half of all", with_change(_case, scaled(0.5)), [_route])
    if _route != "compiled":
        enter(WRONG, "relu of half zeros, 1 % halved", with_change(_case, every_hundredth(0.5)), [_route])
_relu = MANY["relu of half zeros"]
enter(WRONG, "relu of half zeros, 2 at 0", _relu._replace(backward=lambda g, x, y: g * np.where(x == 0, 2.0, x > 0)))
enter(WRONG, "relu of half zeros, -1 at 0", _relu._replace(backward=lambda g, x, y: g * np.where(x == 0, -1.0, x > 0)))


# --- right by the outputs at kinks alone and by the others alone, wrong by all together, which is what people get ---


def where_cotangent(condition: Callable[[Any], Any]) -> Change:
    """Doubled where condition(cotangent) holds."""
    return lambda d, g, xs, y: [d[0] * (2.0 if condition(np.asarray(g)) else 1.0)]


TOGETHER: dict[str, Callable[[Any], Any]] = {
    "doubled by all outputs together": lambda g: g.all() and np.ptp(g) > 0,
    "doubled by equal cotangents": lambda g: np.ptp(g) == 0,
}
_abs = pointwise(lambda x: np.abs(x.real), lambda x, y: np.sign(x), fixed([0.0, 1.0, -2.0, 3.0]), kind="kink")
enter(CORRECT, "abs of four, one at its kink", _abs, ("pair", *OTHERS[:3], "PyTorch"))
for _name, _condition in TOGETHER.items():
    _change = where_cotangent(_condition)
    enter(WRONG, f"abs of four, one at its kink, {_name}", with_change(_abs, _change), ("pair", *OTHERS[:3], "PyTorch"))
    enter(WRONG, f"relu of half zeros, {_name}", with_change(_relu, _change), ("pair", "primitive", "PyTorch"))


# --- several that tie: what is right of each alone may be wrong together ---


def shares(weights: Callable[[Any], Any]) -> Callable[..., Any]:
    """The gradient of a row's maximum, given out by weights(where it is reached)."""
    return lambda g, x, y: g[:, None] * weights((x == y[:, None]).astype(x.dtype))


TIED = fixed([[1.0, 2.0, 2.0], [0.0, 3.0, 1.0], [4.0, 4.0, 4.0]])


def first(m: Any) -> Any:
    return m * (np.cumsum(m, 1) == 1)


def last(m: Any) -> Any:
    return first(m[:, ::-1])[:, ::-1]


def row_maximum(weights: Callable[[Any], Any]) -> Case:
    return Case(lambda x: x.real.max(1), shares(weights), TIED, kind="kink")


ROUTED = ("pair", "primitive", "module", "PyTorch")
enter(CORRECT, "maximum, shared by all of a tie", row_maximum(lambda m: m / m.sum(1, keepdims=True)), ROUTED)
enter(CORRECT, "maximum, all to the first of a tie", row_maximum(first), ROUTED)
enter(CORRECT, "maximum, all to the last of a tie", row_maximum(last))
enter(
    CORRECT,
    "maximum, a fifth to the first and the rest to the last",
    row_maximum(lambda m: 0.2 * first(m) + 0.8 * last(m)),
)
enter(WRONG, "maximum, all to each of a tie", row_maximum(lambda m: m), ROUTED)
enter(WRONG, "maximum, none to a tie", row_maximum(lambda m: m * (m.sum(1, keepdims=True) == 1)), ROUTED)
enter(WRONG, "maximum, 60 % to each of a tie", row_maximum(lambda m: np.where(m.sum(1, keepdims=True) > 1, 0.6 * m, m)))
enter(
    WRONG,
    "maximum, 1.5 and -0.5 to a tie",
    row_maximum(lambda m: np.where(m.sum(1, keepdims=True) > 1, 1.5 * first(m) - 0.5 * last(m), m)),
)

PAIRED = draws(fixed([1.0, 2.0, -1.0]), fixed([1.0, 0.5, -1.0]))


def larger(a_at_ties: float, b_at_ties: float) -> Case:
    def backward(g: Any, a: Any, b: Any, y: Any) -> Any:
        at_ties = a == b
        return g * np.where(at_ties, a_at_ties, a > b), g * np.where(at_ties, b_at_ties, b > a)

    return Case(lambda a, b: np.maximum(a.real, b.real), backward, PAIRED, kind="kink")


for _a, _b in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)):
    enter(CORRECT, f"the larger of two, {_a} and {_b} where they tie", larger(_a, _b), ("pair", "primitive"))
for _a, _b in ((1.0, 1.0), (0.0, 0.0), (0.7, 0.7)):
    enter(WRONG, f"the larger of two, {_a} and {_b} where they tie", larger(_a, _b), ("pair", "function", "PyTorch"))


def distance(sign_b: float) -> Case:
    """|a - b| where a = b: both slopes are between -1 and 1, but they cancel."""

    def backward(g: Any, a: Any, b: Any, y: Any) -> Any:
        s = np.where(a == b, 1.0, np.sign(a - b))
        return g * s, g * np.where(a == b, sign_b, -s)

    return Case(lambda a, b: np.abs(a.real - b.real), backward, PAIRED, kind="kink")


enter(CORRECT, "distance of two that are equal, 1 and -1", distance(-1.0), ("pair", "primitive"))
enter(WRONG, "distance of two that are equal, 1 and 1", distance(1.0), ("pair", "primitive", "PyTorch"))


def norm_at_0(at_0: Any) -> Case:
    """The norm has every gradient of length 1 or less at 0."""
    return Case(
        lambda x: np.sqrt((x.real**2).sum()),
        lambda g, x, y: g * (np.array(at_0) if y == 0 else x / y),
        fixed([0.0, 0.0]),
        kind="kink",
    )


enter(CORRECT, "norm at 0: [0.6, 0.8]", norm_at_0([0.6, 0.8]))
enter(WRONG, "norm at 0: [1, 1]", norm_at_0([1.0, 1.0]))
enter(WRONG, "norm at 0: [2, 0]", norm_at_0([2.0, 0.0]))


def ranked(rank: Callable[[int], int], to: Callable[[Any], Any], values: list[float]) -> Case:
    """One element of a sorted array; to(where the ties are) is the gradient."""
    return Case(
        lambda x: np.sort(x.real)[rank(x.size)],
        lambda g, x, y: g * to((x == y).astype(float)),
        fixed(values),
        kind="kink",
    )


_one_of = lambda m: m * (np.cumsum(m) == 1)  # noqa: E731
_middle = lambda n: n // 2  # noqa: E731
for _values in ([1.0, 1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 0.0, 3.0, 2.0, 1.0, 0.5]):
    _of = f"median of {len(_values)} with a triple tie"
    enter(CORRECT, f"{_of}, one of them", ranked(_middle, _one_of, _values), ("pair", "primitive"))
    enter(CORRECT, f"{_of}, shared", ranked(_middle, lambda m: m / m.sum(), _values))
    enter(WRONG, f"{_of}, all of each", ranked(_middle, lambda m: m, _values), ("pair", "PyTorch"))
    enter(WRONG, f"{_of}, none", ranked(_middle, lambda m: 0 * m, _values))


def sorted_backward(order: Callable[[Any], Any]) -> Callable[..., Any]:
    def backward(g: Any, x: Any, y: Any) -> Any:
        d = np.empty_like(g)
        d[order(x)] = g
        return d

    return backward


_sort = Case(
    lambda x: np.sort(x.real),
    sorted_backward(lambda x: np.argsort(x, kind="stable")),
    fixed([2.0, 1.0, 1.0, 0.5, 1.0]),
    kind="kink",
)
enter(CORRECT, "sort with a triple tie", _sort, ("pair", "primitive", "PyTorch"))
enter(
    CORRECT,
    "sort with a triple tie, the other order",
    _sort._replace(backward=sorted_backward(lambda x: np.lexsort((-np.arange(x.size), x)))),
)
enter(WRONG, "sort with a triple tie, one element 1e-3 off", with_change(_sort, one_element(1e-3)))
enter(
    WRONG,
    "sort with a triple tie, the tied ones' lost",
    with_change(_sort, lambda d, g, xs, y: [d[0] * (xs[0] != 1.0)]),
)

A, B = np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([1.0, -1.0])


def network(at_0: Any) -> Case:
    """Two units on zero padding without bias; near 0 the gradient is [0, 0], [2, 0], [1, 1] or [1, -1]."""
    return Case(
        lambda x: np.maximum(x.real @ A, 0) @ B, lambda g, x, y: g * np.array(at_0), fixed([0.0, 0.0]), kind="kink"
    )


for _at in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, -1.0]):
    enter(CORRECT, f"a network of two units at 0: {_at}", network(_at), ("pair", "primitive"))
for _at in ([0.0, 1.0], [3.0, 0.0], [1.0, 2.0], [-1.0, 0.0]):
    enter(WRONG, f"a network of two units at 0: {_at}", network(_at), ("pair", "PyTorch"))


def native(name: str, f: Callable[..., Any], *values: Any) -> None:
    case = Case(no_pair, no_pair, draws(*[fixed(v) for v in values]), kind="kink", built=lambda inputs: f)
    enter(CORRECT, f"tg's {name}", case, ["function"])


native("median of a triple tie", lambda x: x.median(), [1.0, 1.0, 1.0, 0.0, 2.0])
native("topk of a tie", lambda x: x.topk(2)[0], [1.0, 1.0, 0.0, 1.0])
native("max of a tie", lambda x: x.amax(1), [[1.0, 2.0, 2.0], [0.0, 3.0, 1.0]])
native("sort of a tie", lambda x: x.sort()[0], [1.0, 1.0, 0.0, 1.0])
native("maximum of equal inputs", lambda a, b: tg.maximum(a, b), [1.0, 2.0], [1.0, 0.0])
native("network on zero padding", lambda x: (x @ tg.tensor(A)).relu() @ tg.tensor(B), [0.0, 0.0])
native("norm at 0", lambda x: x.norm(), [0.0, 0.0])
native("clamp at its bounds", lambda x: x.clamp(-1.0, 1.0), [-1.0, 0.3, 1.0])


# --- right of each entry, far from any kink but next to one ---

_near = pointwise(lambda x: np.abs(x.real), lambda x, y: np.sign(x), fixed([1e-12, -1e-12, 1.0]), kind="kink")
enter(CORRECT, "abs next to its kink", _near, ("pair", "primitive", "PyTorch"))
enter(
    WRONG,
    "abs next to its kink, the other side's",
    with_change(_near, lambda d, g, xs, y: [d[0] * np.where(abs(xs[0]) < 0.5, -1, 1)]),
)
_floor = pointwise(lambda x: np.floor(x.real) + np.sin(x.real), lambda x, y: np.cos(x), normal(6, scale=3), kind="kink")
enter(CORRECT, "a staircase and a sine", _floor, ("pair", "PyTorch"))
enter(
    WRONG,
    "a staircase and a sine, straight through",
    with_change(_floor, lambda d, g, xs, y: [d[0] + g]),
    ("pair", "primitive"),
)
enter(
    WRONG,
    "rounded, straight through",
    pointwise(lambda x: np.round(4 * x.real) / 4 + x.real, lambda x, y: 0 * x + 2, normal(6), kind="kink"),
)
