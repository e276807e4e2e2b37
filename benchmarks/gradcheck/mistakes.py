"""Gradients with a planted mistake, from gross to subtle."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from . import elementwise, recurrent  # noqa: F401 # whose entries are changed here
from .arrays import ROWS
from .case import CORRECT, WRONG, Case, draws, enter, normal
from .changes import Change, one_element, scaled, with_change, zeroed


def changed(name: str, of: str, change: Change, forward: Any = None, draw: Any = None) -> None:
    """The correct case `of`, with change(gradients, g, inputs, output) for its gradients."""
    base = CORRECT[of]
    base = base._replace(forward=forward or base.forward, draw=draw or base.draw)
    enter(WRONG, f"{of}: {name}", with_change(base, change))


# --- gross ---
for _of in ("sin", "matmul", "softmax", "LSTM, 5 steps", "mean of 2000", "scale 1e-8", "tanh of 1e6 x"):
    changed("wrong sign", _of, scaled(-1.0))
for _of in ("exp", "square", "RNN, 5 steps", "layer norm", "scale 1e8", "inputs of 1e8"):
    changed("factor 2", _of, scaled(2.0))
for _of in ("log", "norm", "cumsum", "prod"):
    changed("factor 1/2", _of, scaled(0.5))
for _of in ("sin", "mean of 2000", "scale 1e-8", "scale 1e-20", "RNN, tiny weights"):
    changed("all zero", _of, scaled(0.0))
changed("the weights' all zero", "RNN, tiny weights", scaled(0.0, which=3))
changed("1 % too large", "mean of squares of 2000", scaled(1.01))
changed("of the sum, not of the mean", "mean of 2000", lambda d, g, xs, y: [d[0] * 2000])

# --- shape ---
changed("missing transpose", "square matmul", lambda d, g, xs, y: [g @ xs[1], d[1]])
changed("needless transpose of the result", "square matmul", lambda d, g, xs, y: [d[0].T, d[1]])
changed("missing transpose", "inverse", lambda d, g, xs, y: [-y @ g @ y])
changed("missing sum over the batch", "bias over a batch", lambda d, g, xs, y: [d[0], g])
changed("mean over the batch for the sum", "bias over a batch", lambda d, g, xs, y: [d[0], g.mean(0)])
changed("only the first of the batch", "bias over a batch", lambda d, g, xs, y: [d[0], g[0]])
changed("the second input's left out", "product", lambda d, g, xs, y: [d[0], None])
changed("the inputs' swapped", "product", lambda d, g, xs, y: d[::-1])

# --- parts ---
changed("last row dropped", "matmul", zeroed(np.s_[-1]))
changed("first column dropped", "softmax", zeroed(np.s_[:, 0]))
changed("last time step dropped", "RNN, 5 steps", zeroed(np.s_[-1]))
changed("first time step dropped", "LSTM, 5 steps", zeroed(np.s_[0]))
changed("one element dropped", "cumsum", zeroed(np.s_[3, 1]))
changed("one element's sign", "mean of squares of 2000", one_element(-2.0))
changed("one element's sign", "sum", one_element(-2.0))
for _k in range(1, 9):
    changed(f"one element off by 1e-{_k}", "matmul", one_element(10.0**-_k))
for _k in (2, 4, 6, 8):
    changed(f"one element of W off by 1e-{_k}", "LSTM, 5 steps", one_element(10.0**-_k, which=3))
    changed(f"one element off by 1e-{_k}", "log softmax", one_element(10.0**-_k))

# --- only for some inputs or cotangents ---
changed("wrong for negative inputs", "square", lambda d, g, xs, y: [np.abs(d[0]) * np.sign(g)])
changed("wrong for inputs above 1", "sin", lambda d, g, xs, y: [np.where(xs[0] > 1, 0.9, 1) * d[0]])
changed("wrong for inputs above 4", "sin", lambda d, g, xs, y: [np.where(np.abs(xs[0]) > 4, 0.5, 1) * d[0]])
changed("right for equal cotangents only", "square", lambda d, g, xs, y: [g.mean() * 2 * xs[0]])
changed(
    "right for equal cotangents only",
    "cumsum",
    lambda d, g, xs, y: [g.mean() * np.arange(6, 0, -1.0)[:, None] + 0 * xs[0]],
)
changed("cotangents of one sign", "exp", lambda d, g, xs, y: [np.abs(g) * y])
changed("cotangent left out", "tanh", lambda d, g, xs, y: [1 - y * y])
changed("wrong at a kink: 2", "relu at its kink", lambda d, g, xs, y: [g * np.where(xs[0] == 0, 2.0, xs[0] > 0)])
changed(
    "wrong at a kink: 1 for abs'(0) is right, 1.5 is not",
    "abs at its kink",
    lambda d, g, xs, y: [d[0] + 1.5 * g * (xs[0] == 0)],
)
changed("both of a tie get all", "max with ties", lambda d, g, xs, y: [1.5 * g[:, None] * (xs[0] == y[:, None])])
changed("the zero's own left out", "prod with a zero", lambda d, g, xs, y: [np.where(xs[0] == 0, 0.0, d[0])])
changed("y / x", "prod with a zero", lambda d, g, xs, y: [np.nan_to_num(g * y / xs[0])])

# --- terms of a rule ---
changed(
    "without the mean of g y",
    "layer norm",
    lambda d, g, xs, y: [(g - g.mean(-1, keepdims=True)) / np.sqrt(xs[0].var(-1, keepdims=True) + 1e-5)],
)
changed("only the diagonal", "softmax", lambda d, g, xs, y: [g * y * (1 - y)])
changed("1 - y for 1 - y²", "tanh", lambda d, g, xs, y: [g * (1 - y)])
changed("without the last tap", "convolution", zeroed(np.s_[-1], which=1))
changed("unbiased variance", "layer norm", scaled(1.02))
changed(
    "another mask",
    "dropout with a fixed seed",
    lambda d, g, xs, y: [g * (np.random.default_rng(8).random(g.shape) > 0.3)],
)
changed(
    "the unsorted order",
    "sort",
    lambda d, g, xs, y: [g[np.argsort(xs[0])]],
    draw=lambda rng: [np.array([3.0, 1.0, 2.0, 5.0, 4.0]) + 0.1 * rng.random(5)],
)


def overwritten(g: Any, x: Any, y: Any) -> Any:
    out = np.zeros_like(x)
    out[ROWS] = g
    return out


WRONG["rows with repeats: overwritten"] = CORRECT["rows with repeats"]._replace(backward=overwritten)


# --- not a function ---
_noise = random.SystemRandom()  # which nothing puts back


def _mutating(g: Any, x: Any, y: Any) -> Any:
    x *= 2
    return g * x


def _spoils_cotangent(g: Any, x: Any, y: Any) -> Any:
    g *= 2 * x
    return g


def _in_place_forward(x: Any) -> Any:
    x += 1
    return x * x


WRONG["square: noisy gradient"] = Case(
    lambda x: x * x, lambda g, x, y: g * 2 * x * (1 + 1e-3 * _noise.random()), normal(5)
)
WRONG["square: noisy values"] = Case(lambda x: x * x + 1e-3 * _noise.random(), lambda g, x, y: g * 2 * x, normal(5))
WRONG["square: changes its input"] = Case(lambda x: x * x, _mutating, normal(5))
WRONG["square: changes the cotangent"] = Case(lambda x: x * x, _spoils_cotangent, normal(5))
WRONG["square: changes its input going forward"] = Case(_in_place_forward, lambda g, x, y: g * 2 * x, normal(5))
WRONG["square: nan for 0"] = Case(
    lambda x: x * x, lambda g, x, y: g * 2 * y / x, lambda rng: [np.array([1.0, 0.0, 2.0])]
)
WRONG["tiny gradient beside large outputs"] = Case(
    lambda x, z: np.concatenate([1e-6 * np.sin(x), z]), lambda g, x, z, y: (0 * x, g[3:]), draws(normal(3), normal(4))
)
WRONG["one tiny entry of many is zero"] = Case(
    lambda x: np.array([1.0, 1e-7, 1.0]) * x**2, lambda g, x, y: g * np.array([2.0, 0.0, 2.0]) * x, normal(3)
)
