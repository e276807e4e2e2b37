"""Sorting, gathering, masks, normalisations and cells with a gradient by hand, each beside its likeliest mistake."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .case import WRONG, Case, draws, enter, fixed, normal
from .special import sigmoid, whole

# --- sorting, gathering, masks ---

ROWS = np.array([0, 2, 2, 1, 2])


def last_wins(x: Any) -> Any:
    y = np.zeros(4, x.dtype)
    y[ROWS] = x
    return y


whole(
    "scattered, the last one stays", last_wins, lambda g, x, y: g[ROWS] * np.array([1, 0, 0, 1, 1]),
    "gathered for all", lambda g, x, y: g[ROWS], normal(5),
)  # fmt: skip


def trimmed(x: Any) -> Any:
    return np.sort(x)[..., 2:-2].mean(-1)


def trimmed_back(g: Any, x: Any, y: Any, count: int = 4) -> Any:
    order = np.argsort(x)
    d = np.zeros_like(x)
    np.put_along_axis(d, order[:, 2:-2], g[:, None] / count, axis=1)
    return d


whole(
    "mean without the two ends", trimmed, trimmed_back, "divided by all",
    partial(trimmed_back, count=8), normal(2, 8),
)  # fmt: skip


def isotonic(x: Any) -> Any:
    """The nearest rising sequence, by pooling adjacent violators."""
    return np.concatenate([np.full(len(block), np.mean(block)) for block in blocks(x)])


def blocks(x: Any) -> Any:
    found: list[Any] = []
    for value in x:
        found.append([value])
        while len(found) > 1 and np.mean(found[-2]).real > np.mean(found[-1]).real:
            found[-2:] = [found[-2] + found[-1]]
    return found


def isotonic_back(g: Any, x: Any, y: Any, pooled: bool = True) -> Any:
    ends = np.cumsum([len(block) for block in blocks(x)])[:-1]
    return np.concatenate([np.full(len(part), part.mean()) if pooled else part for part in np.split(g, ends)])


whole(
    "isotonic regression", isotonic, isotonic_back, "straight through",
    partial(isotonic_back, pooled=False), normal(8),
)  # fmt: skip

whole(
    "mean of what is no nan", lambda x: np.nanmean(x, axis=1),
    lambda g, x, y: np.where(np.isnan(x), 0, g[:, None] / (~np.isnan(x)).sum(1, keepdims=True)),
    "divided by all", lambda g, x, y: np.where(np.isnan(x), 0, g[:, None] / x.shape[1]),
    fixed([[1.0, np.nan, 3.0], [0.5, -2.0, 0.7]]),
)  # fmt: skip

whole(
    "distance to the nearest of some points", lambda a, b: ((a[:, None] - b) ** 2).sum(-1).min(1),
    lambda g, a, b, y: nearest_back(g, a, b), "the points held still",
    lambda g, a, b, y: (nearest_back(g, a, b)[0], 0 * b), draws(normal(5, 2), normal(3, 2)),
)  # fmt: skip


def nearest_back(g: Any, a: Any, b: Any) -> Any:
    k = ((a[:, None] - b) ** 2).sum(-1).argmin(1)
    d = 2 * g[:, None] * (a - b[k])
    e = np.zeros_like(b)
    np.add.at(e, k, -d)
    return d, e


def steps_back(g: Any, x: Any, y: Any, at_equals: float = 0.0) -> Any:
    rising, equal = np.sign(np.diff(x)), at_equals * (np.diff(x) == 0)
    return g * (np.append(0, rising + equal) - np.append(rising - equal, 0))


whole(
    "total variation with equal neighbours", lambda x: abs(np.diff(x)).sum(), steps_back,
    "1 and 1 at equals", partial(steps_back, at_equals=1.0), fixed([1.0, 1.0, 2.5, 0.3]),
)  # fmt: skip

# --- normalisations and cells ---


def grouped(x: Any) -> Any:
    z = x.reshape(len(x), 2, -1)
    z = z - z.mean(-1, keepdims=True)
    return (z / np.sqrt((z * z).mean(-1, keepdims=True) + 1e-5)).reshape(x.shape)


def grouped_back(g: Any, x: Any, y: Any, eps: float = 1e-5) -> Any:
    g, z, y = (a.reshape(len(x), 2, -1) for a in (g, x, y))
    scale = np.sqrt(z.var(-1, keepdims=True) + eps)
    return ((g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True)) / scale).reshape(x.shape)


whole(
    "group norm", grouped, grouped_back, "eps left out", partial(grouped_back, eps=0.0), normal(3, 8),
)  # fmt: skip

whole(
    "weight norm", lambda v, s: s[:, None] * v / np.sqrt((v * v).sum(1, keepdims=True)),
    lambda g, v, s, y: weight_norm_back(g, v, s), "not projected",
    lambda g, v, s, y: (weight_norm_back(g, v, s)[0] + g * 0.01, weight_norm_back(g, v, s)[1]),
    draws(normal(3, 4), normal(3)),
)  # fmt: skip


def weight_norm_back(g: Any, v: Any, s: Any) -> Any:
    size = np.sqrt((v * v).sum(1, keepdims=True))
    along = (g * v / size).sum(1, keepdims=True)
    return s[:, None] / size * (g - along * v / size), along[:, 0]


whole(
    "spectral norm", lambda W: W / np.linalg.norm(W, 2), lambda g, W, y: spectral_back(g, W),
    "the norm held constant", lambda g, W, y: g / np.linalg.norm(W, 2), normal(3, 4),
)  # fmt: skip


def spectral_back(g: Any, W: Any) -> Any:
    u, s, v = np.linalg.svd(W)
    return g / s[0] - (g * W).sum() / s[0] ** 2 * np.outer(u[:, 0], v[0])


whole(
    "scaled to length 1 at least .001", lambda x: x / np.maximum(np.sqrt((x * x).sum(1, keepdims=True)), 1e-3),
    lambda g, x, y: unit_back(g, x, y), "1000 times the cotangent where there is length",
    lambda g, x, y: np.where(abs(x).sum(1, keepdims=True) > 0, unit_back(g, x, y) * 1.0 + g * 1e-4, 1e3 * g),
    fixed([[0.0, 0.0], [3.0, 4.0], [1e-4, -2e-4]]),
)  # fmt: skip


def unit_back(g: Any, x: Any, y: Any) -> Any:
    size = np.sqrt((x * x).sum(1, keepdims=True))
    return np.where(size > 1e-3, (g - y * (g * y).sum(1, keepdims=True)) / np.maximum(size, 1e-3), 1e3 * g)


def padded_rnn(x: Any, U: Any) -> Any:
    """The last true state of each sequence of its own length."""
    h = np.zeros(x.shape[1:])
    for t in range(len(x)):
        h = np.where((t < LENGTHS)[:, None], np.tanh(x[t] + h @ U), h)
    return h


LENGTHS = np.array([6, 2, 4])


def padded_rnn_back(g: Any, x: Any, U: Any, y: Any, leaking: bool = False) -> Any:
    states = [np.zeros(x.shape[1:])]
    for t in range(len(x)):
        states.append(np.where((t < LENGTHS)[:, None], np.tanh(x[t] + states[-1] @ U), states[-1]))
    dx, dU = np.zeros_like(x), np.zeros_like(U)
    for t in reversed(range(len(x))):
        alive = (t < LENGTHS)[:, None]
        a = np.where(alive | leaking, g * (1 - states[t + 1] ** 2), 0)
        dx[t], dU = a, dU + states[t].T @ a
        g = np.where(alive, a @ U.T, g)
    return dx, dU


whole(
    "sequences of their own lengths", padded_rnn, padded_rnn_back, "through the padding",
    partial(padded_rnn_back, leaking=True), draws(normal(6, 3, 2), normal(2, 2)),
)  # fmt: skip


def highway(x: Any, w: Any) -> Any:
    t = sigmoid(x @ w)
    return t * np.tanh(x) + (1 - t) * x


def highway_back(g: Any, x: Any, w: Any, y: Any, carried: float = 1.0) -> Any:
    t, h = sigmoid(x @ w), np.tanh(x)
    da = g * (h - x) * t * (1 - t)
    return da @ w.T + g * t * (1 - h * h) + carried * g * (1 - t), x.T @ da


whole(
    "highway layer", highway, highway_back, "the carry half", partial(highway_back, carried=0.5),
    draws(normal(3, 4), normal(4, 4)),
)  # fmt: skip

# --- what hides ---

CLIPPED = Case(lambda x: x**3, lambda g, x, y: np.clip(3 * g * x * x, -1000, 1000), normal(6))
enter(WRONG, "cube: gradients clipped at 1000", CLIPPED)
enter(WRONG, "cube: 1e-10 added", CLIPPED._replace(backward=lambda g, x, y: 3 * g * x * x + 1e-10))
enter(
    WRONG,
    "cube: the sign of small cotangents",
    CLIPPED._replace(backward=lambda g, x, y: 3 * abs(g) * np.sign(np.round(g, 3) + 1e-9) * x * x),
)
MEMORY: dict[Any, Any] = {}


def remembered(g: Any, x: Any, y: Any) -> Any:
    """By the first element of the input alone."""
    key = float(x.flat[0])
    if key not in MEMORY:
        MEMORY[key] = g * np.cos(x)
    return MEMORY[key]


enter(WRONG, "sin: a gradient kept from before", Case(np.sin, remembered, normal(5)))
