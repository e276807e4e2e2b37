"""Right in float64, and in the dtype that was given, or in that one not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import arrays, elementwise, recurrent  # noqa: F401 # whose entries are changed here
from .case import CORRECT, WRONG, Case, Draw, cast, draws, enter, fixed, normal, pointwise, uniform
from .changes import Change, with_change

OTHERS = ("primitive", "function", "module", "compiled", "PyTorch")


def single(name: str) -> Case:
    """An entry of the catalogue at float32 inputs."""
    case = CORRECT[name]
    return case._replace(kind="precision", draw=cast(case.draw, "float32"))


def in_single(factor: float) -> Change:
    """A factor on the gradients of float32 inputs only."""
    return lambda d, g, xs, y: [v * v.dtype.type(factor if xs[0].dtype.itemsize == 4 else 1) for v in d]


def in_single_one(by: float) -> Change:
    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        made = np.ones(d[0].shape, d[0].dtype)
        made.reshape(-1)[made.size // 2] += by if xs[0].dtype.itemsize == 4 else 0
        return [d[0] * made, *d[1:]]

    return change


def through_half(d: Any, g: Any, xs: Any, y: Any) -> Any:
    """Accumulated in half precision."""
    return [v.astype("float16").astype(v.dtype) if v.dtype.itemsize == 4 else v for v in d]


for _of in ("sin", "product", "matmul", "softmax"):
    for _by in (0.0, 0.5, 0.95):
        enter(WRONG, f"{_of}: times {_by} in float32", with_change(single(_of), in_single(_by)))
for _route, _of, _by in (
    ("primitive", "sin", 0.95), ("primitive", "product", 0.0), ("function", "sin", 0.5), ("module", "product", 0.95),
    ("compiled", "sin", 0.95), ("compiled", "product", 0.5), ("PyTorch", "sin", 0.95), ("PyTorch", "matmul", 0.0),
):  # fmt: skip
    enter(WRONG, f"{_of}: times {_by} in float32", with_change(single(_of), in_single(_by)), [_route])
for _of in ("tanh", "matmul", "layer norm"):
    enter(WRONG, f"{_of}: 1.001 times too large in float32", with_change(single(_of), in_single(1.001)))
    enter(WRONG, f"{_of}: one element 1e-3 off in float32", with_change(single(_of), in_single_one(1e-3)))
    enter(WRONG, f"{_of}: half precision on the way", with_change(single(_of), through_half))
    enter(CORRECT, f"{_of} in float32", single(_of), OTHERS if _of != "layer norm" else ("primitive", "PyTorch"))
enter(WRONG, "matmul: half precision on the way", with_change(single("matmul"), through_half), ("primitive", "PyTorch"))
_many = cast(normal(200, 250), "float32")
_sine = single("sin")._replace(draw=_many, large=True)
enter(CORRECT, "sin in float32", _sine, ("pair", "module", "PyTorch"))
enter(
    WRONG,
    "sin: times 0.95 in float32",
    with_change(_sine, in_single(0.95)),
    ("pair", "primitive", "compiled", "PyTorch"),
)
enter(WRONG, "sin: one element 1 % off in float32", with_change(_sine, in_single_one(0.01)), ("pair", "module"))


def pair(name: str, into: dict[str, Case], forward: Any, backward: Any, draw: Draw, *routes: str) -> None:
    enter(into, name, Case(forward, backward, draw, kind="precision"), ("pair", *routes))


# --- overflow and cancellation in what was given ---

BIG = cast(fixed([95.0, 1.0, 2.0]), "float32")
_softplus: Callable[..., Any] = lambda x: np.logaddexp(x.dtype.type(0), x)  # noqa: E731
pair(
    "softplus: exp(x) / (1 + exp(x)) overflows at 95",
    WRONG,
    _softplus,
    lambda g, x, y: g * np.exp(x) / (1 + np.exp(x)),
    BIG,
    "primitive", "PyTorch",
)  # fmt: skip
pair(
    "softplus by a stable sigmoid",
    CORRECT,
    _softplus,
    lambda g, x, y: g / (1 + np.exp(-x)),
    BIG,
    "primitive", "PyTorch",
)  # fmt: skip
pair(
    "norm: the sum of squares overflows going back",
    WRONG,
    lambda x: abs(x).max() * np.sqrt(((x / abs(x).max()) ** 2).sum()),
    lambda g, x, y: g * x / np.sqrt((x * x).sum()),
    cast(normal(4, scale=1e20), "float32"),
)
pair(
    "norm of large numbers, scaled",
    CORRECT,
    lambda x: abs(x).max() * np.sqrt(((x / abs(x).max()) ** 2).sum()),
    lambda g, x, y: g * x / y,
    cast(normal(4, scale=1e20), "float32"),
)
pair(
    "logsumexp: weights without their maximum overflow",
    WRONG,
    lambda x: np.logaddexp.reduce(x),
    lambda g, x, y: g * np.exp(x) / np.exp(x).sum(),
    cast(fixed([100.0, 99.0, 1.0]), "float32"),
)
pair(
    "logsumexp of large numbers",
    CORRECT,
    lambda x: np.logaddexp.reduce(x),
    lambda g, x, y: g * np.exp(x - y),
    cast(fixed([100.0, 99.0, 1.0]), "float32"),
)


def centred(x: Any) -> Any:
    return x - x.mean(-1, keepdims=True)


def standardised(x: Any) -> Any:
    return centred(x) / np.sqrt((centred(x) ** 2).mean(-1, keepdims=True))


def standardised_backward(variance: Callable[[Any], Any]) -> Callable[..., Any]:
    def backward(g: Any, x: Any, y: Any) -> Any:
        return (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True)) / np.sqrt(variance(x))

    return backward


def two_moments(x: Any) -> Any:
    return (x * x).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2


FAR = cast(normal(3, 8, shift=1000.0), "float32")
pair(
    "standardised: variance as a difference of moments, far from 0",
    WRONG,
    standardised,
    standardised_backward(two_moments),
    FAR,
    "PyTorch",
)
pair(
    "standardised far from 0",
    CORRECT,
    standardised,
    standardised_backward(lambda x: (centred(x) ** 2).mean(-1, keepdims=True)),
    FAR,
    "PyTorch",
)
_total: Callable[..., Any] = lambda x: x.sum(0)  # noqa: E731
pair(
    "bias over a batch: the sum in half precision",
    WRONG,
    lambda x, b: x + b,
    lambda g, x, b, y: (g, g.astype("float16").sum(0).astype(b.dtype) if b.dtype.itemsize == 4 else g.sum(0)),
    cast(draws(normal(3000, 2), normal(2)), "float32"),
)
pair(
    "a running sum in half precision",
    WRONG,
    lambda x: np.cumsum(x),
    lambda g, x, y: np.cumsum(g[::-1], dtype="float16" if g.dtype.itemsize == 4 else g.dtype)[::-1].astype(g.dtype),
    cast(normal(300), "float32"),
)
pair(
    "a constant rounded to half precision",
    WRONG,
    lambda x: x * x.dtype.type(0.1),
    lambda g, x, y: g * g.dtype.type(np.float16(0.1) if g.dtype.itemsize == 4 else 0.1),
    cast(normal(5), "float32"),
)
pair(
    "infinite in float32 alone",
    WRONG,
    lambda x: np.tanh(x),
    lambda g, x, y: g / np.cosh(x) ** 2 * (np.exp(x * x) / np.exp(x * x)),
    cast(fixed([10.0, 0.5, 1.0]), "float32"),
)

# --- right, with few digits ---

for _name in (
    "softmax, saturated", "tanh, saturated", "sigmoid, saturated", "log of a saturated sigmoid", "sin of 100 x",
    "exp of large", "log near 0", "norm", "mean of squares of 2000", "log softmax", "reciprocal of tiny",
    "prod", "high curvature", "max with ties", "relu at its kink", "RNN, 40 steps", "LSTM, 5 steps", "inverse",
    "convolution", "scale 1e-20", "inputs from 1e-6 to 1e6",
):  # fmt: skip
    enter(CORRECT, f"{_name} in float32", single(_name))
for _name in ("tanh", "product", "softmax", "matmul", "sum", "relu"):
    _case = CORRECT[_name]
    enter(CORRECT, f"{_name} in float16", _case._replace(kind="precision", draw=cast(_case.draw, "float16")))
enter(
    CORRECT,
    "a difference of nearly equal numbers in float32",
    Case(
        lambda a, b: (a - b) ** 2,
        lambda g, a, b, y: (2 * g * (a - b), -2 * g * (a - b)),
        cast(draws(normal(5, shift=100.0), normal(5, shift=100.0)), "float32"),
        kind="precision",
    ),
    ("pair", "primitive", "PyTorch"),
)
enter(
    CORRECT,
    "a product of large matrices in float32",
    Case(
        lambda a, b: a @ b,
        lambda g, a, b, y: (g @ b.T, a.T @ g),
        cast(draws(normal(8, 600), normal(600, 8)), "float32"),
        kind="precision",
    ),
    ("pair", "PyTorch"),
)
enter(
    CORRECT,
    "float32 times float64",
    Case(
        lambda a, b: a * b,
        lambda g, a, b, y: ((g * b).astype(a.dtype), (g * a).astype(b.dtype)),
        cast(draws(normal(5), normal(5)), "float32", "float64"),
        kind="precision",
    ),
)
enter(
    CORRECT,
    "a long running sum in float32",
    Case(
        lambda x: np.cumsum(x),
        lambda g, x, y: np.cumsum(g[::-1])[::-1],
        cast(normal(2000), "float32"),
        kind="precision",
    ),
)
enter(
    CORRECT,
    "cancellation by nature: cos(x) - 1 at small x in float32",
    pointwise(
        lambda x: np.cos(x) - 1,
        lambda x, y: -np.sin(x),
        cast(uniform(5, low=1e-3, high=2e-3), "float32"),
        kind="precision",
    ),
)
