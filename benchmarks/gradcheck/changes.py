"""Ways to make a right gradient wrong. All of them work on arrays, and while a program is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import Case

Change = Callable[..., list[Any]]  # of the gradients, the cotangent, the inputs and the output


def with_change(base: Case, change: Change) -> Case:
    """The case with change(gradients, g, inputs, output) for its gradients."""

    def backward(g: Any, *rest: Any) -> Any:
        found = base.backward(g, *rest)
        several = isinstance(found, tuple)
        result = change(list(found) if several else [found], g, rest[:-1], rest[-1])
        return tuple(result) if several else result[0]

    return base._replace(backward=backward)


def scaled(by: float, which: int = 0) -> Change:
    return lambda d, g, xs, y: [by * v if k == which else v for k, v in enumerate(d)]


def times(factors: Callable[[tuple[int, ...]], Any], which: int = 0) -> Change:
    """The gradient times an array that is made for its shape."""

    def change(d: Any, g: Any, xs: Any, y: Any) -> Any:
        return [v * factors(v.shape).astype(v.dtype) if k == which else v for k, v in enumerate(d)]

    return change


def one_element(by: float, which: int = 0) -> Change:
    """The element in the middle too large by this part of itself."""

    def factors(shape: tuple[int, ...]) -> Any:
        made = np.ones(shape)
        made.reshape(-1)[made.size // 2] += by
        return made

    return times(factors, which)


def zeroed(where: Any, which: int = 0) -> Change:
    def factors(shape: tuple[int, ...]) -> Any:
        made = np.ones(shape)
        made[where] = 0.0
        return made

    return times(factors, which)


def where(condition: Callable[..., Any], by: float) -> Change:
    """The first gradient too large by a factor where condition(first input) holds."""
    return lambda d, g, xs, y: [d[0] * (1 + condition(xs[0]) * (by - 1.0)), *d[1:]]
