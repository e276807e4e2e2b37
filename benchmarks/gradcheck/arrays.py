"""Functions of whole arrays: sums, products, norms, softmax, sorting, gathering, convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import CORRECT, Case, Draw, draws, enter, fixed, normal, uniform


def add(name: str, forward: Any, backward: Any, draw: Draw) -> None:
    enter(CORRECT, name, Case(forward, backward, draw))


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
