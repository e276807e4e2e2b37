"""Gradients with a planted mistake, from gross to subtle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .correct import CORRECT, LSTM_INPUTS, ROWS, Case, draws, lstm, lstm_steps, normal, rnn

WRONG: dict[str, Case] = {}


def changed(name: str, of: str, change: Callable[..., Any], forward: Any = None, draw: Any = None) -> None:
    """The correct case `of`, with change(gradients, g, inputs, output) for its gradients."""
    base = CORRECT[of]

    def backward(g: Any, *rest: Any) -> Any:
        found = base.backward(g, *rest)
        several = isinstance(found, tuple)
        result = change(list(found) if several else [found], g, rest[:-1], rest[-1])
        return tuple(result) if several else result[0]

    WRONG[f"{of}: {name}"] = Case(forward or base.forward, backward, draw or base.draw)


def scaled(by: float, which: int = 0) -> Callable[..., Any]:
    return lambda d, g, xs, y: [by * v if k == which else v for k, v in enumerate(d)]


def one_element(by: float, which: int = 0) -> Callable[..., Any]:
    """The element in the middle too large by this part of itself."""

    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        d[which] = np.array(d[which], dtype=float)
        d[which].reshape(-1)[d[which].size // 2] *= 1 + by
        return d

    return change


def zeroed(where: Any, which: int = 0) -> Callable[..., Any]:
    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        d[which] = np.array(d[which], dtype=float)
        d[which][where] = 0.0
        return d

    return change


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


def rnn_wrong(term: str) -> Callable[..., Any]:
    def backward(g: Any, x: Any, h: Any, U: Any, W: Any, y: Any) -> Any:
        dx, dU, dW, carried = np.zeros_like(x), np.zeros_like(U), np.zeros_like(W), np.zeros_like(h)
        for t in reversed(range(len(x))):
            da = (g[t] + carried) * (1 - y[t] ** 2)
            before = y[t - 1] if t else (h * 0 if term == "h_0" else h)
            dx[t] = da @ U
            dU += da.T @ x[t]
            dW = dW + da.T @ before if term != "dW overwritten" else da.T @ before
            carried = da @ (W.T if term == "W transposed" else W)
            if term == "no carry":
                carried = carried * 0
            if term == "cut after 3 steps" and t == len(x) - 3:
                carried = carried * 0
        return dx, carried, dU, dW

    return backward


for _term in ("h_0", "dW overwritten", "W transposed", "no carry", "cut after 3 steps"):
    WRONG[f"RNN by hand: {_term}"] = Case(rnn, rnn_wrong(_term), CORRECT["RNN, 5 steps"].draw)


def lstm_wrong(term: str) -> Callable[..., Any]:
    def backward(grad: Any, x: Any, h: Any, c: Any, W: Any, y: Any) -> Any:
        H, kept = h.shape[-1], lstm_steps(x, h, c, W)
        dx, dW, dh, dc = np.zeros_like(x), np.zeros_like(W), np.zeros_like(h), np.zeros_like(h)
        for t in reversed(range(len(x))):
            joined, i, f, g, o, before, c = kept[t]
            dh = dh + grad[t]
            through = dh * o * (1 - np.tanh(c) ** 2)
            dc = through if term == "cell's carry" else dc + through
            if term == "tanh' of the cell":
                dc = dc + dh * o * np.tanh(c) ** 2
            of_forget = dc * (c if term == "c_t for c_{t-1}" else before) * f * (1 - f)
            of_output = dh * (c if term == "c for tanh c" else np.tanh(c)) * o * (1 - o)
            of_input = dc * g * i * (1 - i)
            if term == "input and forget swapped":
                of_input, of_forget = of_forget, of_input
            of_cell = dc * i * (1 - g) if term == "1 - g" else dc * i * (1 - g * g)
            da = np.concatenate([of_input, of_forget, of_cell, of_output], -1)
            dW += da.T @ joined
            both = da @ W
            dh, dx[t] = both[:, :H], both[:, H:]
            if term == "hidden's carry":
                dh = dh * 0
            dc = dc if term == "forget gate on the cell's carry" else dc * f
        return dx, dh, dc, dW

    return backward


for _term in (
    "cell's carry", "tanh' of the cell", "c_t for c_{t-1}", "c for tanh c", "input and forget swapped", "1 - g",
    "hidden's carry", "forget gate on the cell's carry",
):  # fmt: skip
    WRONG[f"LSTM by hand: {_term}"] = Case(lstm, lstm_wrong(_term), LSTM_INPUTS)


# --- not a function ---
_noise = np.random.default_rng()


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
