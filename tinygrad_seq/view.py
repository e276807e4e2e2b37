"""Primitives whose results show the memory of what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graph import Primitive, Value
from .memory import owner_of, share


class View(Primitive):
    """A primitive whose result is a view of its first input, or of none where NumPy has to copy.

    Which tensors show the same memory is noted: a recorded change in place would not reach the others.
    """

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        y = Primitive.__call__(self, *inputs, **params)
        if inputs and isinstance(inputs[0], Value):
            if type(y) is tuple:
                share(inputs[0], *y)
            elif shares_memory(y.array, inputs[0].array):
                share(inputs[0], y)
        return y


def view(*, name: str) -> Callable[[Callable[..., Any]], View]:
    """Decorator: make a function on arrays a `View` of this name."""
    return lambda forward: View(forward, name)


def shares_memory(a: Any, b: Any) -> bool:
    """Whether two arrays lie in the memory of one."""
    return owner_of(a) is owner_of(b)
