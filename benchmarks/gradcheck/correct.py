"""Functions whose gradients are right, and hard to check: kinks, ties, saturation, scales, long recurrences, ...

Each is a pair: forward(*arrays), backward(cotangent, *arrays, output), and a way to draw inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A pair of functions and its inputs."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Callable[[np.random.Generator], list[Any]]


CORRECT: dict[str, Case] = {}


def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Callable[[np.random.Generator], list[Any]]:
    return lambda rng: [shift + scale * rng.standard_normal(shape)]


def uniform(*shape: int, low: float = 0.5, high: float = 2.0) -> Callable[[np.random.Generator], list[Any]]:
    return lambda rng: [rng.uniform(low, high, shape)]


def draws(*one_each: Callable[[np.random.Generator], list[Any]]) -> Callable[[np.random.Generator], list[Any]]:
    return lambda rng: [x for draw in one_each for x in draw(rng)]


def add(name: str, forward: Any, backward: Any, draw: Any) -> None:
    CORRECT[name] = Case(forward, backward, draw)


def elementwise(name: str, f: Any, derivative: Any, draw: Any) -> None:
    add(name, lambda x: f(x), lambda g, x, y: g * derivative(x, y), draw)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def fixed(values: Any) -> Callable[[np.random.Generator], list[Any]]:
    return lambda rng: [np.array(values, float)]


elementwise("sin", np.sin, lambda x, y: np.cos(x), normal(3, 4))
elementwise("exp", np.exp, lambda x, y: y, normal(3, 4))
elementwise("exp of large", np.exp, lambda x, y: y, normal(3, 4, scale=5, shift=20))
elementwise("log", np.log, lambda x, y: 1 / x, uniform(3, 4))
elementwise("log near 0", np.log, lambda x, y: 1 / x, uniform(3, 4, low=1e-8, high=2e-8))
elementwise("square", lambda x: x * x, lambda x, y: 2 * x, normal(5))
elementwise("cube, 0-d", lambda x: x**3, lambda x, y: 3 * x * x, normal())
elementwise("0 elements", lambda x: x**3, lambda x, y: 3 * x * x, normal(0, 3))
elementwise("tanh", np.tanh, lambda x, y: 1 - y * y, normal(3, 4))
elementwise("tanh, saturated", np.tanh, lambda x, y: 1 - y * y, normal(3, 4, scale=8))
elementwise("tanh of 1e6 x", lambda x: np.tanh(1e6 * x), lambda x, y: 1e6 * (1 - y * y), normal(4, scale=1e-6))
elementwise("sigmoid", sigmoid, lambda x, y: y * (1 - y), normal(3, 4))
elementwise("sigmoid, saturated", sigmoid, lambda x, y: y * (1 - y), normal(3, 4, scale=12))
elementwise("log of a saturated sigmoid", lambda x: np.log(sigmoid(x)), lambda x, y: 1 - np.exp(y), normal(6, scale=8))
elementwise("softplus", lambda x: np.log1p(np.exp(x)), lambda x, y: sigmoid(x), normal(6, scale=4))
elementwise("reciprocal", lambda x: 1 / x, lambda x, y: -y * y, uniform(3, 4))
elementwise("reciprocal of tiny", lambda x: 1 / x, lambda x, y: -y * y, uniform(3, low=1e-8, high=3e-8))
elementwise("sqrt", np.sqrt, lambda x, y: 0.5 / y, uniform(3, 4))
elementwise("x to the 2.5", lambda x: x**2.5, lambda x, y: 2.5 * x**1.5, uniform(4))
elementwise("sin of 100 x", lambda x: np.sin(100 * x), lambda x, y: 100 * np.cos(100 * x), normal(5))
elementwise("sin of 10000 x", lambda x: np.sin(1e4 * x), lambda x, y: 1e4 * np.cos(1e4 * x), normal(5))
elementwise("scale 1e8", lambda x: 1e8 * np.sin(x), lambda x, y: 1e8 * np.cos(x), normal(5))
elementwise("scale 1e-8", lambda x: 1e-8 * np.sin(x), lambda x, y: 1e-8 * np.cos(x), normal(5))
elementwise("scale 1e-20", lambda x: 1e-20 * np.sin(x), lambda x, y: 1e-20 * np.cos(x), normal(5))
elementwise("inputs of 1e8", lambda x: np.sin(1e-8 * x), lambda x, y: 1e-8 * np.cos(1e-8 * x), normal(5, scale=1e8))
elementwise("inputs of 1e-8", lambda x: np.sin(1e8 * x), lambda x, y: 1e8 * np.cos(1e8 * x), normal(5, scale=1e-8))
elementwise("inputs from 1e-6 to 1e6", np.sin, lambda x, y: np.cos(x), fixed([1e-6, -1e-3, 1.0, 1e3, -1e6]))
elementwise("relu", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), normal(3, 4))
elementwise("relu at its kink", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), fixed([0.0, -1.0, 2.0, 0.0]))
elementwise("relu next to its kink", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), fixed([1e-9, -1e-9, 1.0]))
elementwise("relu, dead but for one", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), fixed([-1.0, -2.0, 3.0]))
elementwise("abs", np.abs, lambda x, y: np.sign(x), normal(3, 4))
elementwise("abs at its kink", np.abs, lambda x, y: np.sign(x), fixed([0.0, 1.0, -1.0]))
elementwise("leaky relu", lambda x: np.where(x > 0, x, 0.1 * x), lambda x, y: np.where(x > 0, 1, 0.1), normal(6))
elementwise("clip", lambda x: np.clip(x, -1, 1), lambda x, y: 1.0 * (abs(x) < 1), normal(8, scale=2))
elementwise("hard sigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda x, y: (abs(x) < 3) / 6, normal(8, scale=3))
elementwise(
    "two pieces", lambda x: np.where(x > 1, x**3, np.exp(x)), lambda x, y: np.where(x > 1, 3 * x * x, y), normal(8)
)
elementwise(
    "Huber", lambda x: np.where(abs(x) < 1, x * x / 2, abs(x) - 0.5), lambda x, y: np.clip(x, -1, 1), normal(8, scale=2)
)
elementwise("high curvature", lambda x: np.exp(-50 * x * x), lambda x, y: -100 * x * y, normal(6, scale=0.2))
elementwise("float32 tanh", np.tanh, lambda x, y: 1 - y * y, lambda rng: [rng.standard_normal(5).astype("float32")])
elementwise("float32 exp of large", np.exp, lambda x, y: y, lambda rng: [rng.uniform(10, 20, 4).astype("float32")])
elementwise("real numbers alone", lambda x: np.arctan2(x, 1.0), lambda x, y: 1 / (1 + x * x), normal(5))

add("identity", lambda x: x.copy(), lambda g, x, y: g.copy(), normal(3, 4))
add("sum", lambda x: x.sum(), lambda g, x, y: g * np.ones_like(x), normal(3, 4))
add("mean of 2000", lambda x: x.mean(), lambda g, x, y: g * np.ones_like(x) / x.size, normal(2000))
add("mean of squares of 2000", lambda x: (x * x).mean(), lambda g, x, y: g * 2 * x / x.size, normal(2000))
add("cumsum", lambda x: np.cumsum(x, 0), lambda g, x, y: np.cumsum(g[::-1], 0)[::-1], normal(6, 2))
add("reverse", lambda x: x[::-1], lambda g, x, y: g[::-1], normal(6, 2))
add("transpose", lambda x: x.T * 1, lambda g, x, y: g.T * 1, normal(3, 4))
add("max", lambda x: x.max(1), lambda g, x, y: g[:, None] * (x == y[:, None]), normal(3, 4))
add(
    "max with ties",
    lambda x: x.max(1),
    lambda g, x, y: g[:, None] * (x == y[:, None]) / (x == y[:, None]).sum(1, keepdims=True),
    fixed([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]]),
)
add("sort", lambda x: np.sort(x), lambda g, x, y: g[np.argsort(np.argsort(x))], normal(7))


def prod_backward(g: Any, x: Any, y: Any) -> Any:
    others = [np.prod(np.delete(x, i)) for i in range(len(x))]
    return g * np.array(others)


add("prod", lambda x: np.prod(x), prod_backward, normal(5))
add("prod with a zero", lambda x: np.prod(x), prod_backward, fixed([1.0, 0.0, 3.0]))
add(
    "prod with two zeros but one factor",
    lambda x: np.prod(x) + x[0],
    lambda g, x, y: prod_backward(g, x, y) + g * np.eye(4)[0],
    fixed([1.0, 0.0, 0.0, 2.0]),
)
add("norm", lambda x: np.sqrt((x * x).sum()), lambda g, x, y: g * x / y, normal(6))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(g: Any, x: Any, y: Any) -> Any:
    return y * (g - (g * y).sum(-1, keepdims=True))


add("softmax", softmax, softmax_backward, normal(3, 5))
add("softmax, saturated", softmax, softmax_backward, normal(3, 5, scale=20))
add(
    "log softmax",
    lambda x: (
        x - x.real.max(-1, keepdims=True) - np.log(np.exp(x - x.real.max(-1, keepdims=True)).sum(-1, keepdims=True))
    ),
    lambda g, x, y: g - np.exp(y) * g.sum(-1, keepdims=True),
    normal(3, 5, scale=3),
)


def layer_norm(x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def layer_norm_backward(g: Any, x: Any, y: Any) -> Any:
    scale = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scale * (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True))


add("layer norm", layer_norm, layer_norm_backward, normal(3, 6))
add("product", lambda a, b: a * b, lambda g, a, b, y: (g * b, g * a), draws(normal(3, 4), normal(3, 4)))
add("bias over a batch", lambda a, b: a + b, lambda g, a, b, y: (g, g.sum(0)), draws(normal(5, 3), normal(3)))
add("quotient", lambda a, b: a / b, lambda g, a, b, y: (g / b, -g * y / b), draws(normal(4), uniform(4)))
add("matmul", lambda a, b: a @ b, lambda g, a, b, y: (g @ b.T, a.T @ g), draws(normal(3, 4), normal(4, 2)))
add("square matmul", lambda a, b: a @ b, lambda g, a, b, y: (g @ b.T, a.T @ g), draws(normal(3, 3), normal(3, 3)))
add("outer", np.multiply.outer, lambda g, a, b, y: (g @ b, a @ g), draws(normal(3), normal(4)))
add("inverse", np.linalg.inv, lambda g, x, y: -y.T @ g @ y.T, lambda rng: [rng.standard_normal((3, 3)) + 4 * np.eye(3)])

ROWS = np.array([0, 2, 2, 1, 2])


def gather_backward(g: Any, x: Any, y: Any) -> Any:
    out = np.zeros_like(x)
    np.add.at(out, ROWS, g)
    return out


add("rows with repeats", lambda x: x[ROWS], gather_backward, normal(4, 3))


def conv(x: Any, w: Any) -> Any:
    return np.stack([(x[t : t + len(w)] * w).sum() for t in range(len(x) - len(w) + 1)])


def conv_backward(g: Any, x: Any, w: Any, y: Any) -> Any:
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for t in range(len(g)):
        dx[t : t + len(w)] += g[t] * w
        dw += g[t] * x[t : t + len(w)]
    return dx, dw


add("convolution", conv, conv_backward, draws(normal(9), normal(3)))


def dropout(x: Any) -> Any:
    return x * (np.random.default_rng(7).random(x.shape) > 0.3)


add("dropout with a fixed seed", dropout, lambda g, x, y: dropout(g), normal(12))


# --- recurrent networks by hand ---


def rnn(x: Any, h: Any, U: Any, W: Any) -> Any:
    states = []
    for x_t in x:
        h = np.tanh(x_t @ U.T + h @ W.T)
        states.append(h)
    return np.stack(states)


def rnn_backward(g: Any, x: Any, h: Any, U: Any, W: Any, y: Any) -> Any:
    dx, dU, dW, carried = np.zeros_like(x), np.zeros_like(U), np.zeros_like(W), np.zeros_like(h)
    for t in reversed(range(len(x))):
        da = (g[t] + carried) * (1 - y[t] ** 2)
        before = y[t - 1] if t else h
        dx[t] = da @ U
        dU += da.T @ x[t]
        dW += da.T @ before
        carried = da @ W
    return dx, carried, dU, dW


add(
    "RNN, 5 steps",
    rnn,
    rnn_backward,
    draws(normal(5, 2, 3), normal(2, 4), normal(4, 3, scale=0.5), normal(4, 4, scale=0.5)),
)
add("RNN, 40 steps", rnn, rnn_backward, draws(normal(40, 1, 2), normal(1, 3), normal(3, 2), normal(3, 3, scale=0.6)))
add(
    "RNN, tiny weights", rnn, rnn_backward, draws(normal(6, 2, 3), normal(2, 4), normal(4, 3), normal(4, 4, scale=1e-3))
)


def lstm(x: Any, h: Any, c: Any, W: Any) -> Any:
    """W (4H, H + F) on [h, x], gates i, f, g, o."""
    states = []
    for x_t in x:
        i, f, g, o = np.split(np.concatenate([h, x_t], -1) @ W.T, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states)


def lstm_steps(x: Any, h: Any, c: Any, W: Any) -> list[tuple[Any, ...]]:
    """For each step [h, x], the gates i, f, g, o, and the cell before and after."""
    kept = []
    for x_t in x:
        joined = np.concatenate([h, x_t], -1)
        i, f, g, o = np.split(joined @ W.T, 4, -1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        before, c = c, f * c + i * g
        h = o * np.tanh(c)
        kept.append((joined, i, f, g, o, before, c))
    return kept


def lstm_backward(grad: Any, x: Any, h: Any, c: Any, W: Any, y: Any) -> Any:
    H, kept = h.shape[-1], lstm_steps(x, h, c, W)
    dx, dW, dh, dc = np.zeros_like(x), np.zeros_like(W), np.zeros_like(h), np.zeros_like(h)
    for t in reversed(range(len(x))):
        joined, i, f, g, o, before, c = kept[t]
        dh = dh + grad[t]
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        da = np.concatenate(
            [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * np.tanh(c) * o * (1 - o)], -1
        )
        dW += da.T @ joined
        both = da @ W
        dh, dx[t] = both[:, :H], both[:, H:]
        dc = dc * f
    return dx, dh, dc, dW


LSTM_INPUTS = draws(normal(5, 2, 3), normal(2, 4), normal(2, 4), normal(16, 7, scale=0.4))
add("LSTM, 5 steps", lstm, lstm_backward, LSTM_INPUTS)
add("LSTM, 30 steps", lstm, lstm_backward, draws(normal(30, 1, 2), normal(1, 2), normal(1, 2), normal(8, 4)))
