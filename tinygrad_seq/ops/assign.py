"""Putting values into a part of a tensor, recorded: their gradient is that of the part, and the rest of it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..backend import Array, array_module, backend_of
from ..graph import Primitive, primitive
from ..graph.saved_tensors import is_writable, shares_memory
from .index import ARRAY, Index, getitem, with_arrays
from .layout import diagonal_dims
from .shape import permute_dims, reshape_to

Steps = tuple[tuple[Primitive[...], dict[str, Any]], ...]  # views of views, from the whole on
INJECTIVE_VIEWS = (getitem, permute_dims, reshape_to, diagonal_dims)  # views in which no element is there twice


class Cleared:
    """The gradient of what a tensor was before an assignment: `g`, with 0 where the values went.

    The sweep clears one array for a chain of assignments, so that T of them into a (T, ...) tensor cost one such array
    and not T of them.
    """

    __slots__ = ("arrays", "g", "index", "steps")
    arrays: tuple[Any, ...]
    g: Any
    index: Index
    steps: Steps

    def __init__(self, g: Any, arrays: tuple[Any, ...], index: Index, steps: Steps) -> None:
        self.g, self.arrays, self.index, self.steps = g, arrays, index, steps

    def dense(self, own: bool) -> Any:
        """As one array: `g` itself, changed, if that is ours."""
        g = self.g if own else backend_of(self.g).asarray(self.g).copy()
        write(g, 0, self.arrays, self.index, self.steps)
        return g


@primitive
def setitem(x: Array, values: Array, *arrays: Array, index: Index, steps: Steps = (), reuse: bool = False) -> Array:
    """x with `values` at an index, as of `getitem`, of the view that `steps` take of it.

    Args:
        reuse: whether nobody else has x, so that its memory is that of the result.
    """
    y = x if reuse else x.copy()
    write(y, values, arrays, index, steps)
    return y


def _setitem_vjp(
    g: Any, _y: Any, _x: Any, _values: Any, *arrays: Any, index: Index, steps: Steps = (), reuse: bool = False
) -> list[Any]:
    recorded, part = hasattr(g, "array"), None
    if hasattr(_values, "ndim"):
        part = g
        for view, params in steps:
            part = view(part, **params)
        part = getitem(part, *arrays, index=index)
        missing = _values.ndim - part.ndim  # dimensions of length 1 in front
        if missing > 0:
            part = reshape_to(part, shape=(*[1] * missing, *part.shape))
        part = part if recorded else part.copy()  # as g may be cleared
    rest = setitem(g, 0, *arrays, index=index, steps=steps) if recorded else Cleared(g, arrays, index, steps)
    return [rest, part, *[None for _ in arrays]]


setitem.vjp_joint(_setitem_vjp)
setitem.internal = frozenset({"index", "steps", "reuse"})


def write(y: Array, values: Any, arrays: Sequence[Any], index: Index, steps: Steps) -> None:
    """Put values into an array.

    Raises:
        ValueError: if they do not fit there, or what the steps give is no view.
    """
    part = y
    for view, params in steps:
        part = view.forward(part, **params)
    if steps and not (is_writable(part) and shares_memory(part, y)):
        raise ValueError("this view cannot be written to; clone() the tensor first")
    part[with_arrays(index, tuple(arrays))] = values


def require_once(shape: tuple[int, ...], arrays: Sequence[Any], index: Index) -> None:
    """Raise a ValueError if index arrays name a place twice: which of two values is there gets the gradient?"""
    if any(a.dtype.kind != "b" for a in arrays):
        backend_of(arrays[0]).verify(partial(_require_once, shape=shape, index=index), *arrays)


def _require_once(*arrays: Any, shape: tuple[int, ...], index: Index) -> None:
    xp, rest = array_module(arrays[0]), iter(arrays)
    used = sum([isinstance(i, (int, slice)) for i in index]) + sum(
        [a.ndim if a.dtype.kind == "b" else 1 for a in arrays]
    )
    if used > len(shape):
        return  # which the array library says better
    place: Any = 0
    dim = 0
    for i in index:
        if i is Ellipsis:
            dim += len(shape) - used
        elif i is ARRAY:
            a = next(rest)
            for part in xp.nonzero(a) if a.dtype.kind == "b" else (a,):
                place = place * shape[dim] + part % shape[dim]
                dim += 1
        elif i is not None:
            dim += 1
    if len(xp.unique(place)) < place.size:
        raise ValueError(
            "assigning to an index: the index names a place twice, and which of the two values would get the gradient? "
            "Use index_add or scatter_add, or an index without repetition"
        )
