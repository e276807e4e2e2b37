"""Special functions, activations and losses as people write them, each beside the mistake that is easiest to make."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .case import CORRECT, WRONG, Case, Draw, draws, enter, fixed, normal, pointwise, uniform

Rule = Callable[..., Any]


def both(name: str, f: Rule, right: Rule, fault: str, wrong: Rule, draw: Draw) -> None:
    """A function of each entry, with its derivative of (x, y) right and wrong."""
    enter(CORRECT, name, pointwise(f, right, draw))
    enter(WRONG, f"{name}: {fault}", pointwise(f, wrong, draw))


def whole(name: str, forward: Rule, right: Rule, fault: str, wrong: Rule, draw: Draw) -> None:
    """The same of any function, with backward(g, *inputs, output)."""
    enter(CORRECT, name, Case(forward, right, draw))
    enter(WRONG, f"{name}: {fault}", Case(forward, wrong, draw))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


erf = np.vectorize(math.erf, otypes=[float])
log_gamma = np.vectorize(math.lgamma, otypes=[float])


def digamma(x: Any, terms: int = 4) -> Any:
    """By recurrence up to 10, and the asymptotic series there."""
    total = np.zeros_like(x)
    for _ in range(10):
        total -= 1 / x
        x = x + 1
    series = [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760][:terms]
    return total + np.log(x) - 0.5 / x - sum(c / x ** (2 * k + 2) for k, c in enumerate(series))


def bessel_i1(x: Any, terms: int) -> Any:
    powers = (2 * np.arange(terms) + 1)[:, None]
    factorials = np.array([math.factorial(k) * math.factorial(k + 1) for k in range(terms)], float)[:, None]
    return ((x / 2) ** powers / factorials).sum(0)


def normal_density(x: Any) -> Any:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


GELU = 0.044715


def gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + GELU * x**3)))


def gelu_tanh_slope(x: Any, cubic: float = 3 * GELU) -> Any:
    t = np.tanh(np.sqrt(2 / np.pi) * (x + GELU * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + cubic * x * x)


both(
    "error function", erf, lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "2 / pi for 2 / sqrt(pi)", lambda x, y: 2 / np.pi * np.exp(-x * x), normal(5),
)  # fmt: skip
both(
    "GELU",
    lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    lambda x, y: 0.5 * (1 + erf(x / np.sqrt(2))) + x * normal_density(x),
    "the slope of its tanh form",
    lambda x, y: gelu_tanh_slope(x),
    normal(6),
)
both(
    "GELU by tanh", gelu_tanh, lambda x, y: gelu_tanh_slope(x),
    "x² without its 3", lambda x, y: gelu_tanh_slope(x, GELU), normal(6),
)  # fmt: skip
both(
    "log of gamma", log_gamma, lambda x, y: digamma(x, terms=6),
    "log(x) for digamma", lambda x, y: np.log(x), uniform(5, low=0.3, high=8),
)  # fmt: skip
both(
    "log of gamma, large", log_gamma, lambda x, y: digamma(x, terms=6),
    "log(x) - 1 / 2x", lambda x, y: np.log(x) - 0.5 / x, uniform(5, low=20, high=90),
)  # fmt: skip
both(
    "sinc", np.sinc, lambda x, y: (np.cos(np.pi * x) - y) / x,
    "without pi", lambda x, y: (np.cos(x) - y) / x, uniform(5),
)  # fmt: skip
both(
    "sinc at 0",
    lambda x: np.sinc(x.real),
    lambda x, y: np.where(x == 0, 0, (np.cos(np.pi * x) - y) / np.where(x == 0, 1, x)),
    "1 at 0",
    lambda x, y: np.where(x == 0, 1, (np.cos(np.pi * x) - y) / np.where(x == 0, 1, x)),
    fixed([0.0, 0.5, -1.3]),
)
both(
    "mish", lambda x: x * np.tanh(np.log1p(np.exp(x))),
    lambda x, y: np.tanh(np.log1p(np.exp(x))) + x * sigmoid(x) / np.cosh(np.log1p(np.exp(x))) ** 2,
    "sech for its square", lambda x, y: np.tanh(np.log1p(np.exp(x))) + x * sigmoid(x) / np.cosh(np.log1p(np.exp(x))),
    normal(6),
)  # fmt: skip
both(
    "swish", lambda x: x * sigmoid(x), lambda x, y: sigmoid(x) + y * (1 - sigmoid(x)),
    "x for y", lambda x, y: sigmoid(x) + x * (1 - sigmoid(x)), normal(6),
)  # fmt: skip
both(
    "SELU", lambda x: 1.0507 * np.where(x.real > 0, x, 1.6733 * np.expm1(x)),
    lambda x, y: 1.0507 * np.where(x > 0, 1, 1.6733 * np.exp(x)),
    "alpha left out", lambda x, y: 1.0507 * np.where(x > 0, 1, np.exp(x)), normal(8),
)  # fmt: skip
both(
    "log of cosh, far out", lambda x: np.logaddexp(x, -x) - np.log(2), lambda x, y: np.tanh(x),
    "1 beyond 3", lambda x, y: np.where(abs(x) > 3, np.sign(x), np.tanh(x)), normal(8, scale=5),
)  # fmt: skip
both(
    "expm1 over x, at small x", lambda x: np.expm1(x) / x, lambda x, y: (np.exp(x) - y) / x,
    "half of it", lambda x, y: (np.exp(x) - y) / x / 2, uniform(4, low=0.01, high=0.1),
)  # fmt: skip
both(
    "modified Bessel function", lambda x: np.i0(x.real), lambda x, y: bessel_i1(x, 30),
    "series cut after 3 terms", lambda x, y: bessel_i1(x, 3), uniform(4),
)  # fmt: skip
both(
    "|x| to the 3.5", lambda x: np.abs(x.real) ** 3.5, lambda x, y: 3.5 * np.abs(x) ** 2.5 * np.sign(x),
    "without the sign", lambda x, y: 3.5 * np.abs(x) ** 2.5, normal(6),
)  # fmt: skip
both(
    "a period of 2 pi, folded", lambda x: np.sin(np.mod(x.real, 2 * np.pi)), lambda x, y: np.cos(x),
    "the angle in degrees", lambda x, y: np.cos(x) * np.pi / 180, normal(6, scale=10),
)  # fmt: skip
both(
    "softplus with beta", lambda x: np.log1p(np.exp(3 * x)) / 3, lambda x, y: sigmoid(3 * x),
    "beta kept in front", lambda x, y: 3 * sigmoid(3 * x), normal(6),
)  # fmt: skip

# --- losses ---

CLASSES = np.array([1, 0, 2, 1])


def log_softmax(x: Any) -> Any:
    shifted = x - x.real.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def smoothed(eps: float) -> Any:
    return (1 - eps) * np.eye(3)[CLASSES] + eps / 3


def cross_entropy(target: Any) -> Rule:
    return lambda x: -(target * log_softmax(x)).sum(-1).mean()


def cross_entropy_backward(target: Any, count: int = 4) -> Rule:
    return lambda g, x, y: g * (np.exp(log_softmax(x)) - target) / count


whole(
    "cross-entropy", cross_entropy(smoothed(0)), cross_entropy_backward(smoothed(0)),
    "sum for mean", cross_entropy_backward(smoothed(0), 1), normal(4, 3),
)  # fmt: skip
whole(
    "cross-entropy, smoothed labels", cross_entropy(smoothed(0.1)), cross_entropy_backward(smoothed(0.1)),
    "labels not smoothed", cross_entropy_backward(smoothed(0)), normal(4, 3),
)  # fmt: skip
USED = np.array([1.0, 0.0, 1.0, 1.0])[:, None]
whole(
    "cross-entropy, one row ignored", lambda x: -(USED * smoothed(0) * log_softmax(x)).sum() / 3,
    lambda g, x, y: g * USED * (np.exp(log_softmax(x)) - smoothed(0)) / 3,
    "divided by all rows", lambda g, x, y: g * USED * (np.exp(log_softmax(x)) - smoothed(0)) / 4, normal(4, 3),
)  # fmt: skip
whole(
    "pinball loss",
    lambda x: np.maximum(0.9 * x.real, -0.1 * x.real).sum(),
    lambda g, x, y: g * np.where(x > 0, 0.9, -0.1),
    "the quantile the other way round",
    lambda g, x, y: g * np.where(x > 0, 0.1, -0.9),
    normal(8),
)
whole(
    "hinge loss", lambda x: np.maximum(0, 1 - x.real).mean(), lambda g, x, y: -g * (x < 1) / x.size,
    "active below 0 only", lambda g, x, y: -g * (x < 0) / x.size, normal(12),
)  # fmt: skip


def cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def cosine_backward(second: float) -> Rule:
    def backward(g: Any, a: Any, b: Any, y: Any) -> Any:
        g, y = g[:, None], y[:, None]
        na, nb = (np.sqrt((v * v).sum(-1, keepdims=True)) for v in (a, b))
        return g * (b / nb - second * y * a / na) / na, g * (a / na - y * b / nb) / nb

    return backward


whole(
    "cosine similarity", cosine, cosine_backward(1.0),
    "the norm held constant", cosine_backward(0.0), draws(normal(3, 5), normal(3, 5)),
)  # fmt: skip


def divergence(p: Any, q: Any) -> Any:
    return (p * (np.log(p) - np.log(q))).sum(-1)


whole(
    "Kullback-Leibler divergence", divergence,
    lambda g, p, q, y: (g[:, None] * (np.log(p / q) + 1), -g[:, None] * p / q),
    "without the 1", lambda g, p, q, y: (g[:, None] * np.log(p / q), -g[:, None] * p / q),
    draws(uniform(3, 4, low=0.1, high=0.4), uniform(3, 4, low=0.1, high=0.4)),
)  # fmt: skip


def tempered(x: Any, T: Any) -> Any:
    return np.exp(log_softmax(x / T))


def tempered_backward(squared: int) -> Rule:
    def backward(g: Any, x: Any, T: Any, y: Any) -> Any:
        d = y * (g - (g * y).sum(-1, keepdims=True))
        return d / T, -(d * x).sum() / T**squared

    return backward


whole(
    "softmax and its temperature", tempered, tempered_backward(2),
    "1 / T for 1 / T²", tempered_backward(1), draws(normal(3, 5), fixed(1.7)),
)  # fmt: skip


def sparsemax(x: Any) -> Any:
    x = x.real
    s = -np.sort(-x, -1)
    k = np.arange(1, x.shape[-1] + 1)
    support = (1 + k * s > np.cumsum(s, -1)).sum(-1, keepdims=True)
    tau = (np.take_along_axis(np.cumsum(s, -1), support - 1, -1) - 1) / support
    return np.maximum(x - tau, 0)


whole(
    "sparsemax", sparsemax,
    lambda g, x, y: (y > 0) * (g - (g * (y > 0)).sum(-1, keepdims=True) / (y > 0).sum(-1, keepdims=True)),
    "the mean over all entries", lambda g, x, y: (y > 0) * (g - (g * (y > 0)).mean(-1, keepdims=True)), normal(4, 5),
)  # fmt: skip
whole(
    "root mean square norm", lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True)),
    lambda g, x, y: (g - y * (g * y).mean(-1, keepdims=True)) / np.sqrt((x * x).mean(-1, keepdims=True)),
    "sum for mean", lambda g, x, y: (g - y * (g * y).sum(-1, keepdims=True)) / np.sqrt((x * x).mean(-1, keepdims=True)),
    normal(3, 6),
)  # fmt: skip
whole(
    "standard deviation, unbiased", lambda x: np.sqrt(((x - x.mean()) ** 2).sum() / (x.size - 1)),
    lambda g, x, y: g * (x - x.mean()) / (y * (x.size - 1)),
    "divided by n", lambda g, x, y: g * (x - x.mean()) / (y * x.size), normal(40),
)  # fmt: skip
