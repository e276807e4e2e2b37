"""Small mistakes where the complex step does not see: real parts, absolute values, functions of real numbers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import CORRECT, WRONG, Case, draws, enter, fixed, normal, pointwise, uniform
from .changes import one_element, scaled, with_change

WEIGHTS = fixed([0.3, 0.5, 0.8, 1.0])

# what hides the imaginary part, its derivative
HIDING: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "|w|": (np.abs, np.sign),
    "conj(w)": (lambda w: np.conj(w) ** 2, lambda w: 2 * w),
    "real(w)": (lambda w: np.real(w) ** 3, lambda w: 3 * w * w),
    "hypot(w, 1)": (lambda w: np.hypot(np.real(w), 1.0), lambda w: w / np.hypot(w, 1.0)),
    "arctan2(w, 2)": (lambda w: np.arctan2(np.real(w), 2.0), lambda w: 2 / (4 + w * w)),
    "max(w, 0)": (lambda w: np.maximum(np.real(w), 0), lambda w: (w > 0) * 1.0),
}
for _name, (_f, _derivative) in HIDING.items():
    for _k in (1e-6, 1e-7, 1e-8):
        _right = pointwise(
            lambda w, f=_f, k=_k: np.sin(w) + k * f(w),
            lambda w, y, d=_derivative, k=_k: np.cos(w) + k * d(w),
            WEIGHTS,
            kind="blind",
        )
        _wrong = _right._replace(backward=lambda g, w, y: g * np.cos(w))
        enter(CORRECT, f"sine and {_k:g} {_name}", _right)
        enter(WRONG, f"sine and {_k:g} {_name}, which goes back as nothing", _wrong)
for _route in ("primitive", "function", "module", "compiled", "PyTorch"):
    _right = pointwise(
        lambda w: np.sin(w) + 1e-6 * abs(w), lambda w, y: np.cos(w) + 1e-6 * np.sign(w), WEIGHTS, kind="blind"
    )
    enter(CORRECT, "sine and 1e-06 |w|", _right, [_route])
    enter(
        WRONG,
        "sine and 1e-06 |w|, which goes back as nothing",
        _right._replace(backward=lambda g, w, y: g * np.cos(w)),
        [_route],
    )

# functions that take no complex numbers at all
REAL: dict[str, Case] = {
    "arctan2": Case(
        lambda a, b: np.arctan2(a, b),
        lambda g, a, b, y: (g * b / (a * a + b * b), -g * a / (a * a + b * b)),
        draws(normal(4), uniform(4)),
    ),
    "hypot": Case(lambda a, b: np.hypot(a, b), lambda g, a, b, y: (g * a / y, g * b / y), draws(normal(4), normal(4))),
    "logaddexp": Case(
        lambda a, b: np.logaddexp(a, b),
        lambda g, a, b, y: (g * np.exp(a - y), g * np.exp(b - y)),
        draws(normal(4), normal(4)),
    ),
    "cbrt": pointwise(np.cbrt, lambda x, y: 1 / (3 * y * y), uniform(4)),
    "exp2": pointwise(np.exp2, lambda x, y: y * np.log(2), normal(4)),
    "a loop over Python's floats": pointwise(
        lambda x: np.array([float(v) ** 3 for v in x]), lambda x, y: 3 * x * x, uniform(4)
    ),
    "float64 asked for": pointwise(lambda x: np.tanh(np.asarray(x, dtype=float)), lambda x, y: 1 - y * y, normal(4)),
    "absolute value of a product": Case(
        lambda a, b: np.abs(a * b),
        lambda g, a, b, y: (g * np.sign(a * b) * b, g * np.sign(a * b) * a),
        draws(uniform(4), uniform(4)),
    ),
}
for _name, _case in REAL.items():
    _case = _case._replace(kind="blind")
    enter(CORRECT, f"real numbers alone: {_name}", _case, ("pair", "PyTorch") if "logaddexp" in _name else ("pair",))
    for _by in (1e-5, 1e-7):
        enter(WRONG, f"real numbers alone: {_name}, {_by:g} too large", with_change(_case, scaled(1 + _by)))
    enter(
        WRONG,
        f"real numbers alone: {_name}, one element 1e-6 off",
        with_change(_case, one_element(1e-6)),
        ("pair", "primitive"),
    )

_many = pointwise(
    lambda x: np.abs(np.sin(x)),
    lambda x, y: np.sign(np.sin(x)) * np.cos(x),
    uniform(200, 250),
    kind="blind",
    large=True,
)
enter(CORRECT, "|sin|", _many, ("pair", "PyTorch"))
enter(WRONG, "|sin|, 1e-6 too large", with_change(_many, scaled(1 + 1e-6)))
enter(WRONG, "|sin|, one element 1e-3 off", with_change(_many, one_element(1e-3)), ("pair", "module", "PyTorch"))
enter(
    WRONG,
    "digits of float32 where the complex step sees",
    pointwise(np.sin, lambda x, y: np.cos(x), WEIGHTS, kind="blind")._replace(
        backward=lambda g, w, y: (g.astype("f4") * np.cos(w.astype("f4"))).astype(float)
    ),
)
enter(
    WRONG,
    "digits of float32 where it does not",
    pointwise(lambda w: np.hypot(w, 1.0), lambda w, y: w / y, WEIGHTS, kind="blind")._replace(
        backward=lambda g, w, y: (g.astype("f4") * (w / y).astype("f4")).astype(float)
    ),
)
