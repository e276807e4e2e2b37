"""Functions that raise next to their inputs: shorter steps, the other side, or nothing said of it; never a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nn.functional as F
import tinygrad_seq as tg

from .case import CORRECT, WRONG, Case, cast, enter, fixed, large, no_pair, normal, pointwise
from .changes import Change, one_element, scaled, with_change

ALL = ("pair", "primitive", "function", "module", "PyTorch")
TABLE = np.array([0.0, 1.0, 4.0, 9.0])


def only(condition: Callable[[Any], Any], message: str, f: Callable[..., Any]) -> Callable[..., Any]:
    """f, which raises where condition(real parts) does not hold for all."""

    def checked(x: Any) -> Any:
        if not np.all(condition(x.real)):
            raise ValueError(message)
        return f(x)

    return checked


def strict(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, with NumPy's warnings raised."""

    def checked(x: Any) -> Any:
        with np.errstate(all="raise"):
            return f(x)

    return checked


def entropy(p: Any) -> Any:
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


_entropy = only(lambda p: (p >= 0) & (p <= 1), "not a probability", entropy)
_smooth: dict[str, Case] = {
    "entropy of probabilities": pointwise(_entropy, lambda p, y: np.log((1 - p) / p), fixed([0.98, 0.6, 0.3])),
    "entropy at 1 - 1e-6": pointwise(_entropy, lambda p, y: np.log((1 - p) / p), fixed([1 - 1e-6, 0.6, 0.3])),
    "log that refuses what is not positive": pointwise(
        only(lambda x: x > 0, "must be positive", np.log), lambda x, y: 1 / x, fixed([1e-4, 1.0, 2.0])
    ),
    "log with warnings raised": pointwise(strict(np.log), lambda x, y: 1 / x, fixed([1e-4, 1.0, 2.0])),
    "reciprocal with warnings raised": pointwise(strict(lambda x: 1 / x), lambda x, y: -y * y, fixed([1e-3, 1.0, 2.0])),
    "arccos with a check": pointwise(
        only(lambda x: abs(x) <= 1, "no cosine", np.arccos), lambda x, y: -1 / np.sqrt(1 - x * x), fixed([0.99, 0.5])
    ),
    "a table's line, near its end": pointwise(
        lambda x: x * TABLE[np.floor(2 * x.real).astype(int)],
        lambda x, y: TABLE[(2 * x).astype(int)],
        fixed([1.98, 1.2, 0.7]),
    ),
    "knots that must rise": pointwise(
        only(lambda x: np.diff(x) > 0, "the knots must rise", lambda x: x**3),
        lambda x, y: 3 * x * x,
        fixed([1.0, 1.001, 2.0]),
    ),
    "a bounded sine": pointwise(
        only(lambda x: (x >= 0) & (x <= 1), "out of [0, 1]", np.sin), lambda x, y: np.cos(x), fixed([0.999, 0.001, 0.4])
    ),
    "a sine on its very bounds": pointwise(
        only(lambda x: (x >= 0) & (x <= 1), "out of [0, 1]", np.sin), lambda x, y: np.cos(x), fixed([1.0, 0.0, 0.4])
    ),
}
for _name, _case in _smooth.items():
    _case = _case._replace(kind="raising")
    enter(CORRECT, _name, _case, ALL if "entropy of" in _name or "a table" in _name else ("pair", "primitive"))
    enter(
        WRONG,
        f"{_name}, 3 times too large",
        with_change(_case, scaled(3.0)),
        ALL if "entropy of" in _name else ("pair",),
    )
    enter(WRONG, f"{_name}, one element 1 % off", with_change(_case, one_element(0.01)), ("pair", "PyTorch"))


def _half_log_determinant_backward(g: Any, x: Any, y: Any) -> Any:
    """NumPy's Cholesky factor is that of the lower triangle."""
    symmetric = np.tril(x) + np.tril(x, -1).T
    return g * np.tril(np.linalg.inv(symmetric) * (1 - np.eye(2) / 2))


_refused = Case(
    lambda x: np.log(np.diag(np.linalg.cholesky(x.real))).sum(),
    _half_log_determinant_backward,
    fixed([[1.0, 0.0], [0.99, 1.0]]),
    kind="raising",
)
enter(CORRECT, "a determinant by Cholesky, nearly singular", _refused, ("pair", "PyTorch"))
enter(WRONG, "a determinant by Cholesky, nearly singular, not halved", with_change(_refused, scaled(2.0)))

_many = pointwise(
    _entropy, lambda p, y: np.log((1 - p) / p), large([0.999, 1e-5], 0.1, 0.45), kind="raising", large=True
)
enter(CORRECT, "entropy of probabilities", _many, ALL)
enter(WRONG, "entropy of probabilities, 3 times too large", with_change(_many, scaled(3.0)), ALL)
enter(WRONG, "entropy of probabilities, one element halved", with_change(_many, one_element(-0.5)), ("pair", "PyTorch"))


# --- going back raises where going forward does not ---


def raises_where(condition: Callable[[Any, Any], Any], error: type[Exception] = IndexError) -> Change:
    """No gradient where condition(cotangent, input) holds."""

    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        if condition(np.asarray(g), np.asarray(xs[0])):
            raise error("no such row")
        return d

    return change


_sine = pointwise(np.sin, lambda x, y: np.cos(x), normal(3, 4, scale=1.5), kind="raising")
_single = _sine._replace(draw=cast(_sine.draw, "float32"))
_large_sine = _sine._replace(draw=normal(200, 250), large=True)
for _name, _base, _change in (
    ("always", _sine, raises_where(lambda g, x: True)),
    ("always, a TypeError", _sine, raises_where(lambda g, x: True, TypeError)),
    ("at larger inputs", _sine, raises_where(lambda g, x: abs(x).max() > 7)),
    ("at larger inputs", _large_sine, raises_where(lambda g, x: abs(x).max() > 7)),
    ("under equal cotangents", _sine, raises_where(lambda g, x: g.all() and np.ptp(g) == 0)),
    ("in single precision", _single, raises_where(lambda g, x: x.itemsize == 4)),
):
    enter(WRONG, f"sine whose backward pass raises {_name}", with_change(_base, _change), ALL)
enter(CORRECT, "sine that raises nothing in single precision", _single, ALL)


def native(name: str, f: Callable[..., Any], values: Any, *routes: str) -> None:
    enter(
        CORRECT,
        f"tg's {name}",
        Case(no_pair, no_pair, fixed(values), "raising", built=lambda inputs: f),
        routes or ("function",),
    )


TARGET = tg.tensor([1.0, 0.0], dtype=tg.float64)
native("binary cross-entropy at .99", lambda p: F.binary_cross_entropy(p, TARGET), [0.99, 0.5])
native("binary cross-entropy at 1e-7", lambda p: F.binary_cross_entropy(p, TARGET), [1e-7, 0.5])


def positive(x: Any) -> Any:
    if bool((x <= 0).any()):
        raise ValueError("must be positive")
    return x.log()


native("own check of tensors", positive, [1e-3, 1.0, 2.0])


def _torch_entropy(inputs: list[Any]) -> Any:
    import torch

    target = torch.tensor([1.0, 0.0], dtype=torch.float64)
    return lambda p: torch.nn.functional.binary_cross_entropy(p, target)


enter(
    CORRECT,
    "PyTorch's binary cross-entropy at .99",
    Case(no_pair, no_pair, fixed([0.99, 0.5]), "raising", built=_torch_entropy),
    ["PyTorch"],
)
