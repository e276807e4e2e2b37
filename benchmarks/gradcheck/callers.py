"""Primitives whose rules know who calls: arrays in `backward`, tensors where it is recorded, a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg

from .case import CORRECT, WRONG, Case, Draw, draws, enter, no_pair, normal

EVERYWHERE = ("primitive", "function", "module", "compiled")
SMALL, ONE_LARGE = normal(3, 4), normal(200, 250)
TWO, TWO_LARGE = draws(normal(3, 4), normal(3, 4)), draws(normal(200, 250), normal(200, 250))


def made_of(forward: Callable[..., Any], *rules: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    """Gives a fresh primitive for each check."""

    def built(inputs: list[Any]) -> tg.Primitive[...]:
        found = tg.primitive(lambda *xs: forward(*xs))
        found.vjp(*rules)
        return found

    return built


def caller(built: Callable[[list[Any]], Any], draw: Draw, large: bool = False) -> Case:
    return Case(no_pair, no_pair, draw, kind="caller", built=built, large=large)


def records(x: Any) -> bool:
    """Whether a rule was given a tensor, so that what it computes is recorded."""
    return isinstance(x, tg.Tensor)


def sine(factor: Callable[[Any, Any], Any]) -> Callable[[list[Any]], Any]:
    """sin, whose rule is too large by factor(g, x)."""
    return made_of(np.sin, lambda g, _y, x: g * tg.cos(x) * factor(g, x))


# --- wrong ---


def _in_place(g: Any, _y: Any, a: Any, b: Any) -> Any:
    if not records(g):
        g *= b
        return g
    return g * b


def _middle(by: float) -> Any:
    """1, but for one entry."""

    def factor(g: Any, x: Any) -> Any:
        if records(x):
            return 1.0
        made = np.ones(x.shape, x.dtype)
        made[1, 2] += by
        return made

    return factor


_in_place_product = made_of(np.multiply, _in_place, lambda g, _y, a, b: g * a)
_WRONG: dict[str, tuple[Any, Draw, Draw]] = {
    "the cotangent overwritten where nobody records": (_in_place_product, TWO, TWO_LARGE),
    "3 times too large on arrays": (sine(lambda g, x: 1 if records(x) else 3), SMALL, ONE_LARGE),
    "3 times too large on tensors": (sine(lambda g, x: 3 if records(x) else 1), SMALL, ONE_LARGE),
    "one element 1 % off on arrays": (sine(_middle(0.01)), SMALL, ONE_LARGE),
    "one element 1e-6 off on arrays": (sine(_middle(1e-6)), SMALL, ONE_LARGE),
    "0 where recording is on": (sine(lambda g, x: float(not tg.is_grad_enabled())), SMALL, ONE_LARGE),
}
for _name, (_built, _draw, _many) in _WRONG.items():  # a compiled program has no tensors going back
    _routes = EVERYWHERE[:3] if _name.endswith(("on tensors", "is on")) else EVERYWHERE
    enter(WRONG, _name, caller(_built, _draw), _routes)
    enter(WRONG, _name, caller(_built, _many, large=True), ("primitive", "module"))
_traced = sine(lambda g, x: 5 if type(x).__name__ == "ProxyArray" else 1)
enter(WRONG, "5 times too large in compiled programs", caller(_traced, SMALL), ["compiled"])
enter(WRONG, "5 times too large in compiled programs", caller(_traced, ONE_LARGE, large=True), ["compiled"])
_digits = made_of(np.sin, lambda g, _y, x: g * tg.cos(x) if records(x) else (g * np.cos(x)).astype("float32"))
enter(WRONG, "float32 on arrays", caller(_digits, SMALL), ("primitive", "function", "module"))
_swapped = made_of(
    np.multiply,
    lambda g, _y, a, b: g * (b if records(g) else a),
    lambda g, _y, a, b: g * (a if records(g) else b),
)
enter(WRONG, "the inputs' swapped on arrays", caller(_swapped, TWO), EVERYWHERE)


def _shortcut(g: Any, _y: Any, x: Any) -> Any:
    """For the cotangent of `y.sum().backward()` something simpler, and wrong."""
    if not records(g) and g.size and bool((g == g.flat[0]).all()):
        return g + 0 * x
    return g * tg.cos(x)


enter(WRONG, "a shortcut for equal cotangents", caller(made_of(np.sin, _shortcut), SMALL), ("primitive", "module"))


# --- right ---


def _own_copy(g: Any, _y: Any, a: Any, b: Any) -> Any:
    if not records(g):
        g = g.copy()
        g *= b
        return g
    return g * b


def _accumulated(g: Any, _y: Any, x: Any) -> Any:
    """Rows with repeats, by NumPy alone."""
    found = np.zeros(x.shape, x.dtype)
    np.add.at(found, [0, 2, 2, 1], g)
    return found


_RIGHT: dict[str, tuple[Any, Draw, tuple[str, ...]]] = {
    "in place on a copy where nobody records": (
        made_of(np.multiply, _own_copy, lambda g, _y, a, b: g * a),
        TWO,
        EVERYWHERE,
    ),
    "two formulas for the same": (
        made_of(np.tanh, lambda g, y, x: g * (1 - y * y) if records(g) else g / np.cosh(x) ** 2),
        SMALL,
        EVERYWHERE,
    ),
    "the cotangent itself": (made_of(lambda x: x + 1, lambda g, _y, _x: g), SMALL, EVERYWHERE),
    "a view of the cotangent": (made_of(lambda x: x.T * 1, lambda g, _y, _x: g.T), SMALL, EVERYWHERE),
    "a formula chosen by whether it is recorded": (
        made_of(np.exp, lambda g, y, x: g * tg.exp(x) if tg.is_grad_enabled() else g * y),
        SMALL,
        EVERYWHERE,
    ),
    "a rule of NumPy's cumsum and flip": (
        made_of(lambda x: np.cumsum(x, 0), lambda g, _y, _x: np.flip(np.cumsum(np.flip(g, 0), 0), 0)),
        SMALL,
        ("primitive", "function", "module"),
    ),
    "a rule of NumPy's add.at": (
        made_of(lambda x: x[[0, 2, 2, 1]], _accumulated),
        normal(3, 4),
        ("primitive", "function", "module"),
    ),
    "a rule of NumPy's einsum": (
        made_of(
            lambda a, b: np.einsum("ij,jk->ik", a, b),
            lambda g, _y, a, b: np.einsum("ik,jk->ij", g, b),
            lambda g, _y, a, b: np.einsum("ij,ik->jk", a, g),
        ),
        draws(normal(3, 4), normal(4, 2)),
        ("primitive", "function", "module"),
    ),
    "a rule of NumPy's where and sign": (
        made_of(np.abs, lambda g, _y, x: np.where(x > 0, g, -g)),
        SMALL,
        ("primitive", "function", "module"),
    ),
    "a rule that writes element by element": (
        made_of(
            lambda x: x**2,
            lambda g, _y, x: np.array([2 * a * b for a, b in zip(g.flat, x.flat, strict=True)]).reshape(x.shape),
        ),
        SMALL,
        ("primitive", "function", "module"),
    ),
    "a broadcast view for a gradient": (
        made_of(lambda x: x.sum(0), lambda g, _y, x: np.broadcast_to(g, x.shape)),
        SMALL,
        ("primitive", "function", "module"),
    ),
}
for _name, (_built, _draw, _on) in _RIGHT.items():
    enter(CORRECT, _name, caller(_built, _draw), _on)
enter(
    CORRECT,
    "in place on a copy where nobody records",
    caller(made_of(np.multiply, _own_copy, lambda g, _y, a, b: g * a), TWO_LARGE, large=True),
    ("primitive", "module"),
)
enter(
    CORRECT,
    "a rule of NumPy's cumsum and flip",
    caller(_RIGHT["a rule of NumPy's cumsum and flip"][0], ONE_LARGE, large=True),
    ["primitive"],
)
