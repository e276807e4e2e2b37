"""Next to the edge of a domain, where a step leaves it: right gradients, and mistakes at the edge and elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as tg

from .case import CORRECT, LARGE, WRONG, Case, Draw, enter, fixed, large, no_pair, pointwise
from .changes import one_element, scaled, where, with_change


class Edge(NamedTuple):
    """A function, its derivative of (x, y), inputs of which the first is next to the edge, and ordinary ones."""

    f: Callable[..., Any]
    derivative: Callable[..., Any]
    inputs: list[float]
    low: float
    high: float


EDGES: dict[str, Edge] = {
    "log at 1e-6": Edge(np.log, lambda x, y: 1 / x, [1e-6, 1.0, 2.0], 0.1, 1.0),
    "log at 1e-12": Edge(np.log, lambda x, y: 1 / x, [1e-12, 1.0, 2.0, 3.0], 0.1, 1.0),
    "sqrt at 1e-5": Edge(np.sqrt, lambda x, y: 0.5 / y, [1e-5, 1.0, 1.0, 1.0], 0.1, 1.0),
    "log1p at -.99": Edge(np.log1p, lambda x, y: 1 / (1 + x), [-0.99, 0.5], -0.5, 0.5),
    "log1p at -1 + 1e-9": Edge(np.log1p, lambda x, y: 1 / (1 + x), [-1 + 1e-9, 0.5], -0.5, 0.5),
    "x to the 1.5 at 1e-6": Edge(lambda x: x**1.5, lambda x, y: 1.5 * x**0.5, [1e-6, 1.0, 2.0], 0.1, 1.0),
    "x to the 1.5 at 0": Edge(lambda x: x**1.5, lambda x, y: 1.5 * x**0.5, [0.0, 1.0, 2.0], 0.1, 1.0),
    "x to the 2.5 at 0": Edge(lambda x: x**2.5, lambda x, y: 2.5 * x**1.5, [0.0, 1.0, 2.0], 0.1, 1.0),
    "arccos at .99": Edge(np.arccos, lambda x, y: -1 / np.sqrt(1 - x * x), [0.99, 0.5], -0.5, 0.5),
    "arcsin at -.9999": Edge(np.arcsin, lambda x, y: 1 / np.sqrt(1 - x * x), [-0.9999, 0.5], -0.5, 0.5),
    "arctanh at .99": Edge(np.arctanh, lambda x, y: 1 / (1 - x * x), [0.99, 0.5], -0.5, 0.5),
    "arctanh at 1 - 1e-7": Edge(np.arctanh, lambda x, y: 1 / ((1 - x) * (1 + x)), [1 - 1e-7, 0.5], -0.5, 0.5),
    "arccosh at 1.001": Edge(np.arccosh, lambda x, y: 1 / np.sqrt(x * x - 1), [1.001, 3.0], 1.5, 4.0),
    "logit at .99": Edge(lambda p: np.log(p / (1 - p)), lambda p, y: 1 / (p * (1 - p)), [0.99, 0.5], 0.2, 0.8),
    "logit at 1e-5": Edge(lambda p: np.log(p / (1 - p)), lambda p, y: 1 / (p * (1 - p)), [1e-5, 0.5], 0.2, 0.8),
    "entropy at .999": Edge(
        lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p), lambda p, y: np.log((1 - p) / p), [0.999, 0.3], 0.2, 0.8
    ),
    "x log x at 1e-7": Edge(lambda x: x * np.log(x), lambda x, y: np.log(x) + 1, [1e-7, 1.0, 2.0], 0.1, 1.0),
    "half a circle at .999": Edge(lambda x: np.sqrt(1 - x * x), lambda x, y: -x / y, [0.999, 0.5], -0.5, 0.5),
    "Gumbel noise at .999": Edge(
        lambda u: -np.log(-np.log(u)), lambda u, y: -1 / (u * np.log(u)), [0.999, 0.4], 0.2, 0.8
    ),
    "log of 1 - exp at -1e-3": Edge(
        lambda x: np.log(-np.expm1(x)), lambda x, y: np.exp(x) / np.expm1(x), [-1e-3, -1.0], -2.0, -0.5
    ),
    "reciprocal at 1e-4": Edge(lambda x: 1 / x, lambda x, y: -y * y, [1e-4, 1.0, -2.0], 0.5, 1.0),
    "tan next to its pole": Edge(np.tan, lambda x, y: 1 + y * y, [np.pi / 2 - 1e-3, 0.3], -1.0, 1.0),
    "hard barrier at .999": Edge(
        lambda x: np.where(x.real < 1, -np.log(np.where(x.real < 1, 1 - x, 1)), np.inf),
        lambda x, y: 1 / (1 - x),
        [0.999, 0.5],
        0.1,
        0.6,
    ),
}
SELECTED = ("log at 1e-6", "sqrt at 1e-5", "x to the 1.5 at 1e-6", "arccos at .99", "arctanh at .99", "logit at .99")
ROUTED = {
    "primitive": ("log at 1e-6", "arccos at .99", "logit at .99", "x to the 1.5 at 0"),
    "function": ("sqrt at 1e-5", "arctanh at .99", "log1p at -.99"),
    "module": ("log at 1e-6", "entropy at .999"),
    "compiled": ("log at 1e-6", "sqrt at 1e-5", "logit at .99"),
    "PyTorch": ("log at 1e-6", "arcsin at -.9999", "x log x at 1e-7", "x to the 1.5 at 0"),
}


def off_at_the_edge(by: float) -> Any:
    """The gradient next to the edge too large by this part of itself; it is the largest or the smallest input."""
    return lambda d, g, xs, y: [d[0] * np.where(np.abs(xs[0] - np.median(xs[0])) > 0.45, 1 + by, 1.0)]


def first_off(by: float) -> Any:
    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        factors = np.ones(d[0].shape)
        factors[0] += by
        return [d[0] * factors]

    return change


def steep_off(by: float) -> Any:
    """Where the inputs are as large or as small as in no other entry."""
    return lambda d, g, xs, y: [d[0] * np.where((xs[0] == xs[0].max()) | (xs[0] == xs[0].min()), 1 + by, 1.0)]


for _name, _edge in EDGES.items():
    _case = pointwise(_edge.f, _edge.derivative, fixed(_edge.inputs), kind="edge")
    enter(CORRECT, _name, _case)
    if "at 0" not in _name:  # the gradient is 0 there
        enter(WRONG, f"{_name}, 1 % off there", with_change(_case, first_off(0.01)))
    enter(WRONG, f"{_name}, 1e-6 off elsewhere", with_change(_case, one_element(1e-6)))
for _route, _names in ROUTED.items():
    for _name in _names:
        _edge = EDGES[_name]
        _case = pointwise(_edge.f, _edge.derivative, fixed(_edge.inputs), kind="edge")
        enter(CORRECT, _name, _case, [_route])
        enter(WRONG, f"{_name}, wrong sign", with_change(_case, scaled(-1.0)), [_route])
for _name in SELECTED:
    _edge = EDGES[_name]
    _draw = large(_edge.inputs[:1], _edge.low, _edge.high)
    _case = pointwise(_edge.f, _edge.derivative, _draw, kind="edge", large=True)
    enter(CORRECT, _name, _case)
    enter(WRONG, f"{_name}, all 3 times too large", with_change(_case, scaled(3.0)))
    enter(WRONG, f"{_name}, one ordinary entry 1 % off", with_change(_case, one_element(0.01)))
    enter(WRONG, f"{_name}, 50 % off there alone", with_change(_case, steep_off(0.5)))
for _route in ("primitive", "function", "module", "compiled", "PyTorch"):
    _case = pointwise(np.log, lambda x, y: 1 / x, large([1e-6, 1e-9], 0.1, 1.0), kind="edge", large=True)
    enter(CORRECT, "log at 1e-6", _case, [_route])
    enter(WRONG, "log at 1e-6, all 0", with_change(_case, scaled(0.0)), [_route])


# --- the whole domain is left at once: another input at its edge must not speak for this one ---


def two_inputs(rng: np.random.Generator) -> list[Any]:
    a = rng.uniform(0.1, 1, LARGE)
    a[7] = 1e-6
    return [a, rng.uniform(0, 1, LARGE)]


_two = Case(
    lambda a, b: np.log(a) + np.sin(b), lambda g, a, b, y: (g / a, g * np.cos(b)), two_inputs, "edge", large=True
)
enter(CORRECT, "log of one input and sine of the other", _two, ("pair", "primitive", "PyTorch"))
enter(WRONG, "log's 3 times too large, sine's right", with_change(_two, scaled(3.0)), ("pair", "primitive", "PyTorch"))
enter(WRONG, "log's right, sine's 0", with_change(_two, scaled(0.0, which=1)), ("pair", "module"))
_ends = pointwise(
    np.arccos, lambda x, y: -1 / np.sqrt(1 - x * x), lambda rng: [rng.uniform(-1, 1, LARGE)], kind="edge", large=True
)
enter(CORRECT, "arccos up to both ends", _ends)
enter(WRONG, "arccos up to both ends, wrong sign", with_change(_ends, scaled(-1.0)), ("pair", "PyTorch"))
enter(WRONG, "arccos up to both ends, wrong above .9", with_change(_ends, where(lambda x: x > 0.9, 0.9)))


# --- infinities among the inputs: masked logits ---

MASKED = [[0.3, -1.0, -np.inf], [1.0, 2.0, 0.5]]


def native(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda inputs: f


def logits(rng: np.random.Generator) -> list[Any]:
    x = rng.standard_normal((4, 6))
    x[0, 2] = x[1, 4] = x[3, 0] = -np.inf
    return [x]


def stable_softmax(x: Any) -> Any:
    e = np.exp(x - x.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logsumexp(x: Any) -> Any:
    top = x.real.max(-1, keepdims=True)
    return (np.log(np.exp(x - top).sum(-1, keepdims=True)) + top)[..., 0]


_masked: dict[str, Case] = {
    "softmax": Case(stable_softmax, lambda g, x, y: y * (g - (g * y).sum(-1, keepdims=True)), logits, "edge"),
    "logsumexp": Case(logsumexp, lambda g, x, y: g[..., None] * np.exp(x - y[..., None]), logits, "edge"),
    "exp": pointwise(np.exp, lambda x, y: y, logits, kind="edge"),
    "sigmoid": pointwise(lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y), logits, kind="edge"),
}
for _name, _case in _masked.items():
    enter(CORRECT, f"{_name} of masked logits", _case, ("pair", "primitive", "PyTorch", "compiled"))
    enter(WRONG, f"{_name} of masked logits, one element 1e-6 off", with_change(_case, one_element(1e-6)))
    enter(WRONG, f"{_name} of masked logits, 1 % off", with_change(_case, scaled(1.01)), ("module", "PyTorch"))
for _name, _f in {
    "softmax": lambda x: x.softmax(-1),
    "logsumexp": lambda x: x.logsumexp(-1),
    "log_softmax where it is finite": lambda x: tg.where(x > -1e30, x.log_softmax(-1), 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 1.0, -np.inf).softmax(-1),
    "exp": lambda x: x.exp(),
}.items():
    enter(
        CORRECT,
        f"tg's {_name} of masked logits",
        Case(no_pair, no_pair, fixed(MASKED), "edge", built=native(_f)),
        ["function"],
    )
for _name, _f, _x in (
    ("log", tg.log, [1e-6, 1.0, 2.0]),
    ("sqrt", tg.sqrt, [1e-5, 1.0, 1.0]),
    ("log1p", tg.log1p, [-0.99, 0.5]),
    ("pow", lambda x: x**1.5, [1e-6, 1.0, 2.0]),
    ("logit", lambda p: (p / (1 - p)).log(), [0.99, 0.5]),
    ("norm of tiny", lambda x: (x * x).sum().sqrt(), [1e-9, 2e-9]),
    ("std of nearly equal", lambda x: x.std(), [1.0, 1.0 + 1e-7, 1.0]),
):
    enter(
        CORRECT, f"tg's {_name} at its edge", Case(no_pair, no_pair, fixed(_x), "edge", built=native(_f)), ["function"]
    )

__all__ = ["EDGES", "Draw"]
