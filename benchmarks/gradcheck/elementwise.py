"""Elementwise functions that are hard to check: saturation, scales, pieces."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import CORRECT, Draw, enter, fixed, normal, pointwise, uniform


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def add(name: str, f: Any, derivative: Any, draw: Draw) -> None:
    enter(CORRECT, name, pointwise(f, derivative, draw))


add("sin", np.sin, lambda x, y: np.cos(x), normal(3, 4))
add("exp", np.exp, lambda x, y: y, normal(3, 4))
add("exp of large", np.exp, lambda x, y: y, normal(3, 4, scale=5, shift=20))
add("log", np.log, lambda x, y: 1 / x, uniform(3, 4))
add("log near 0", np.log, lambda x, y: 1 / x, uniform(3, 4, low=1e-8, high=2e-8))
add("square", lambda x: x * x, lambda x, y: 2 * x, normal(5))
add("cube, 0-d", lambda x: x**3, lambda x, y: 3 * x * x, normal())
add("0 elements", lambda x: x**3, lambda x, y: 3 * x * x, normal(0, 3))
add("tanh", np.tanh, lambda x, y: 1 - y * y, normal(3, 4))
add("tanh, saturated", np.tanh, lambda x, y: 1 - y * y, normal(3, 4, scale=8))
add("tanh of 1e6 x", lambda x: np.tanh(1e6 * x), lambda x, y: 1e6 * (1 - y * y), normal(4, scale=1e-6))
add("sigmoid", sigmoid, lambda x, y: y * (1 - y), normal(3, 4))
add("sigmoid, saturated", sigmoid, lambda x, y: y * (1 - y), normal(3, 4, scale=12))
add("log of a saturated sigmoid", lambda x: np.log(sigmoid(x)), lambda x, y: 1 - np.exp(y), normal(6, scale=8))
add("softplus", lambda x: np.log1p(np.exp(x)), lambda x, y: sigmoid(x), normal(6, scale=4))
add("reciprocal", lambda x: 1 / x, lambda x, y: -y * y, uniform(3, 4))
add("reciprocal of tiny", lambda x: 1 / x, lambda x, y: -y * y, uniform(3, low=1e-8, high=3e-8))
add("sqrt", np.sqrt, lambda x, y: 0.5 / y, uniform(3, 4))
add("x to the 2.5", lambda x: x**2.5, lambda x, y: 2.5 * x**1.5, uniform(4))
add("sin of 100 x", lambda x: np.sin(100 * x), lambda x, y: 100 * np.cos(100 * x), normal(5))
add("sin of 10000 x", lambda x: np.sin(1e4 * x), lambda x, y: 1e4 * np.cos(1e4 * x), normal(5))
add("scale 1e8", lambda x: 1e8 * np.sin(x), lambda x, y: 1e8 * np.cos(x), normal(5))
add("scale 1e-8", lambda x: 1e-8 * np.sin(x), lambda x, y: 1e-8 * np.cos(x), normal(5))
add("scale 1e-20", lambda x: 1e-20 * np.sin(x), lambda x, y: 1e-20 * np.cos(x), normal(5))
add("inputs of 1e8", lambda x: np.sin(1e-8 * x), lambda x, y: 1e-8 * np.cos(1e-8 * x), normal(5, scale=1e8))
add("inputs of 1e-8", lambda x: np.sin(1e8 * x), lambda x, y: 1e8 * np.cos(1e8 * x), normal(5, scale=1e-8))
add("inputs from 1e-6 to 1e6", np.sin, lambda x, y: np.cos(x), fixed([1e-6, -1e-3, 1.0, 1e3, -1e6]))
add("relu", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), normal(3, 4))
add("relu at its kink", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), fixed([0.0, -1.0, 2.0, 0.0]))
add("relu next to its kink", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), fixed([1e-9, -1e-9, 1.0]))
add("relu, dead but for one", lambda x: x * (x > 0), lambda x, y: 1.0 * (x > 0), fixed([-1.0, -2.0, 3.0]))
add("abs", np.abs, lambda x, y: np.sign(x), normal(3, 4))
add("abs at its kink", np.abs, lambda x, y: np.sign(x), fixed([0.0, 1.0, -1.0]))
add("leaky relu", lambda x: np.where(x > 0, x, 0.1 * x), lambda x, y: np.where(x > 0, 1, 0.1), normal(6))
add("clip", lambda x: np.clip(x, -1, 1), lambda x, y: 1.0 * (abs(x) < 1), normal(8, scale=2))
add("hard sigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda x, y: (abs(x) < 3) / 6, normal(8, scale=3))
add("two pieces", lambda x: np.where(x > 1, x**3, np.exp(x)), lambda x, y: np.where(x > 1, 3 * x * x, y), normal(8))
add(
    "Huber", lambda x: np.where(abs(x) < 1, x * x / 2, abs(x) - 0.5), lambda x, y: np.clip(x, -1, 1), normal(8, scale=2)
)
add("high curvature", lambda x: np.exp(-50 * x * x), lambda x, y: -100 * x * y, normal(6, scale=0.2))
add("float32 tanh", np.tanh, lambda x, y: 1 - y * y, lambda rng: [rng.standard_normal(5).astype("float32")])
add("float32 exp of large", np.exp, lambda x, y: y, lambda rng: [rng.uniform(10, 20, 4).astype("float32")])
add("real numbers alone", lambda x: np.arctan2(x, 1.0), lambda x, y: 1 / (1 + x * x), normal(5))
