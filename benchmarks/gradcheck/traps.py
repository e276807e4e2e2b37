"""What looks right: several outputs, broadcasting, estimators, branches not taken, jumps nearby, float32 inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import CORRECT, LARGE, WRONG, Case, Draw, cast, draws, enter, fixed, normal, pointwise, uniform
from .changes import one_element, scaled, with_change
from .special import both, whole

# --- several outputs ---

_several = Case(
    lambda a, b: (np.sin(a) * b, a + b, (a * b).sum()),
    lambda g, a, b, y: (g[0] * np.cos(a) * b + g[1] + g[2] * b, g[0] * np.sin(a) + g[1] + g[2] * a),
    draws(normal(3, 4), normal(3, 4)),
)
enter(CORRECT, "three outputs", _several)
enter(
    WRONG,
    "three outputs: the second one's left out",
    _several._replace(backward=lambda g, a, b, y: (g[0] * np.cos(a) * b + g[2] * b, g[0] * np.sin(a) + g[2] * a)),
)
enter(
    WRONG,
    "three outputs: cotangents of two swapped",
    _several._replace(
        backward=lambda g, a, b, y: (g[1] * np.cos(a) * b + g[0] + g[2] * b, g[1] * np.sin(a) + g[0] + g[2] * a)
    ),
)
enter(
    WRONG,
    "three outputs: the last one's 1e-6 too large",
    _several._replace(
        backward=lambda g, a, b, y: (
            g[0] * np.cos(a) * b + g[1] + g[2] * b * (1 + 1e-6),
            g[0] * np.sin(a) + g[1] + g[2] * a,
        )
    ),
)

# --- broadcasting ---

whole(
    "a column times a row", lambda a, b: a * b,
    lambda g, a, b, y: ((g * b).sum(1, keepdims=True), (g * a).sum(0, keepdims=True)),
    "sums along the other axis",
    lambda g, a, b, y: ((g * b).sum(0)[:, None], (g * a).sum(0, keepdims=True)),
    draws(normal(4, 1), normal(1, 4)),
)  # fmt: skip
whole(
    "a number times a matrix", lambda a, b: a * b, lambda g, a, b, y: ((g * b).sum(), g * a),
    "mean for sum", lambda g, a, b, y: ((g * b).mean(), g * a), draws(normal(), normal(3, 4)),
)  # fmt: skip
whole(
    "products of a batch of matrices with one", lambda a, b: a @ b,
    lambda g, a, b, y: (g @ b.T, (a.transpose(0, 2, 1) @ g).sum(0)),
    "only the last of the batch", lambda g, a, b, y: (g @ b.T, a[-1].T @ g[-1]), draws(normal(3, 2, 4), normal(4, 2)),
)  # fmt: skip
whole(
    "affine layer", lambda x, w, b: x @ w.T + b, lambda g, x, w, b, y: (g @ w, g.T @ x, g.sum(0)),
    "bias summed over the features", lambda g, x, w, b, y: (g @ w, g.T @ x, g.sum(1)),
    draws(normal(3, 4), normal(3, 4), normal(3)),
)  # fmt: skip

# --- estimators: useful, and no gradients ---

both(
    "identity, to be reversed", lambda x: x * 1, lambda x, y: 1 + 0 * x,
    "gradient reversal", lambda x, y: -1 + 0 * x, normal(5),
)  # fmt: skip
enter(WRONG, "a product: gradients clipped", Case(lambda x: 3 * x, lambda g, x, y: np.clip(3 * g, -2, 2), normal(8)))
enter(
    WRONG,
    "a product: gradients of length 1",
    Case(lambda x: 3 * x, lambda g, x, y: g / np.sqrt((g * g).sum()), normal(8)),
)
enter(WRONG, "rounding: straight through", pointwise(lambda x: np.rint(x.real), lambda x, y: 1 + 0 * x, normal(8)))
enter(
    WRONG,
    "step function: a sigmoid going back",
    pointwise(lambda x: (x.real > 0) * 1.0, lambda x, y: np.exp(-x) / (1 + np.exp(-x)) ** 2, normal(8)),
)
whole(
    "hard choice of a row by weights", lambda w, x: x[np.argmax(w.real)] * 1,
    lambda g, w, x, y: (np.zeros_like(w), np.outer(np.arange(3) == np.argmax(w), g)),
    "softmax going back",
    lambda g, w, x, y: ((x * g).sum(1) * np.exp(w) / np.exp(w).sum(), np.outer(np.arange(3) == np.argmax(w), g)),
    draws(normal(3), normal(3, 4)),
)  # fmt: skip
whole(
    "a ratio whose denominator is data", lambda x: x / (x * x).sum(),
    lambda g, x, y: g / (x * x).sum() - 2 * x * (g * x).sum() / (x * x).sum() ** 2,
    "the denominator held constant", lambda g, x, y: g / (x * x).sum(), normal(5),
)  # fmt: skip

# --- branches not taken must not spoil the one that is ---

both(
    "log beyond 1, else 0", lambda x: np.where(abs(x.real) > 1, np.log(abs(x.real)), 0),
    lambda x, y: np.where(abs(x) > 1, 1 / np.where(x == 0, 1, x), 0),
    "0 / 0 where it is not taken", lambda x, y: (abs(x) > 1) / x, fixed([0.0, 0.5, 2.0, -3.0]),
)  # fmt: skip
whole(
    "a power, of 0 too", lambda a, b: a**b,
    lambda g, a, b, y: (g * b * a ** (b - 1), g * y * np.log(np.where(a > 0, a, 1))),
    "log of 0 by the exponent", lambda g, a, b, y: (g * b * a ** (b - 1), g * y * np.log(a)),
    draws(fixed([0.0, 0.5, 2.0]), fixed([2.0, 1.5, 3.0])),
)  # fmt: skip
both(
    "square root of a square, plus a little", lambda x: np.sqrt(x * x + 1e-12), lambda x, y: x / y,
    "sign", lambda x, y: np.sign(x), fixed([0.0, 1e-6, -2.0]),
)  # fmt: skip
both(
    "x squared times sign", lambda x: x.real * abs(x.real), lambda x, y: 2 * abs(x),
    "2 x", lambda x, y: 2 * x, normal(6),
)  # fmt: skip

# --- jumps nearby ---

_saw = pointwise(
    lambda x: x.real - np.floor(x.real), lambda x, y: 1 + 0 * x, fixed([3 - 1e-6, 0.4, 2 + 1e-6]), kind="edge"
)
enter(CORRECT, "a saw tooth next to its jump", _saw, ("pair", "primitive", "PyTorch"))
enter(
    WRONG, "a saw tooth next to its jump, 1 % off there", with_change(_saw, lambda d, g, xs, y: [d[0] * [1.01, 1, 1]])
)
enter(WRONG, "a saw tooth next to its jump, wrong sign", with_change(_saw, scaled(-1.0)), ("pair", "PyTorch"))
_angle = Case(
    lambda a, b: np.arctan2(a, b),
    lambda g, a, b, y: (g * b / (a * a + b * b), -g * a / (a * a + b * b)),
    draws(fixed([1e-6, -1e-5, 0.3]), fixed([-1.0, -2.0, 0.5])),
    kind="edge",
)
enter(CORRECT, "an angle next to its cut", _angle, ("pair", "primitive", "PyTorch"))
enter(WRONG, "an angle next to its cut, 1 % too large", with_change(_angle, scaled(1.01)), ("pair", "PyTorch"))
_pole = pointwise(lambda x: 1 / (x - 1), lambda x, y: -y * y, fixed([1 + 1e-5, 1 - 1e-4, 3.0]), kind="edge")
enter(CORRECT, "on both sides of a pole", _pole, ("pair", "primitive"))
enter(WRONG, "on both sides of a pole, one element 1 % off", with_change(_pole, one_element(0.01)))
_narrow = pointwise(
    lambda x: np.exp(-((x / 1e-4) ** 2)), lambda x, y: -2 * x / 1e-8 * y, fixed([1e-4, 1.0, -5e-5]), kind="edge"
)
enter(CORRECT, "a narrow peak among numbers of 1", _narrow)
enter(WRONG, "a narrow peak among numbers of 1, halved", with_change(_narrow, scaled(0.5)))

# --- float32 inside ---

_inside = pointwise(
    lambda x: np.sin(x.real.astype("float32")).astype(float), lambda x, y: np.cos(x), normal(5), kind="precision"
)
enter(CORRECT, "values by way of float32", _inside, ("pair", "PyTorch"))
enter(WRONG, "values by way of float32, 1 % too large", with_change(_inside, scaled(1.01)), ("pair", "PyTorch"))
_half = pointwise(
    lambda x: np.tanh(x.real.astype("float16")).astype(float),
    lambda x, y: 1 - y * y,
    normal(5, scale=0.5),
    kind="precision",
)
enter(CORRECT, "values by way of float16", _half)
enter(WRONG, "values by way of float16, wrong sign", with_change(_half, scaled(-1.0)))
_text = pointwise(
    lambda x: np.array([float(f"{v:.9g}") for v in np.sin(x.real)]), lambda x, y: np.cos(x), normal(5), kind="precision"
)
enter(CORRECT, "values rounded to nine digits", _text)
enter(WRONG, "values rounded to nine digits, 1 % too large", with_change(_text, scaled(1.01)))

# --- many entries of very different weight ---

WEIGHTS = 10.0 ** np.linspace(-7, 0, LARGE)
AT = LARGE // 7  # where the weight is 1e-6


def without_one(d: Any, g: Any, xs: Any, y: Any) -> Any:
    factors = np.ones(LARGE)
    factors[AT] = 0
    return [d[0] * factors]


_spread: Draw = uniform(LARGE)
_light = pointwise(lambda x: WEIGHTS * np.sin(x), lambda x, y: WEIGHTS * np.cos(x), _spread, large=True)
_light_real = pointwise(lambda x: WEIGHTS * np.cbrt(x), lambda x, y: y / (3 * x), _spread, kind="blind", large=True)
enter(CORRECT, "weights from 1e-7 to 1", _light, ("pair", "PyTorch"))
enter(WRONG, "weights from 1e-7 to 1: a light one is 0", with_change(_light, without_one), ("pair", "PyTorch"))
enter(CORRECT, "weights from 1e-7 to 1, real", _light_real)
enter(WRONG, "weights from 1e-7 to 1, real: a light one is 0", with_change(_light_real, without_one))
_sizes: Draw = lambda rng: [10.0 ** rng.uniform(-6, 6, LARGE)]  # noqa: E731
_log = pointwise(np.log, lambda x, y: 1 / x, _sizes, large=True)
enter(CORRECT, "inputs from 1e-6 to 1e6", _log)
enter(WRONG, "inputs from 1e-6 to 1e6: one element 1e-3 off", with_change(_log, one_element(1e-3)))
_total = Case(lambda x: (x * x).sum(), lambda g, x, y: 2 * g * x, normal(LARGE), large=True)
enter(CORRECT, "one number of many", _total, ("pair", "module", "PyTorch"))
enter(WRONG, "one number of many: one element 1e-3 off", with_change(_total, one_element(1e-3)), ("pair", "module"))
enter(WRONG, "one number of many: mean for sum", with_change(_total, scaled(1 / LARGE)), ("pair", "PyTorch"))
_single = _total._replace(draw=cast(normal(LARGE), "float32"), kind="precision")
enter(CORRECT, "one number of many in float32", _single, ("pair", "PyTorch"))
