"""Largest, smallest, sorted."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, array_module
from ..graph import primitive
from ..public import public
from .dims import normalize_dim
from .elementwise import maximum, minimum
from .index import getitem, take_along_dim
from .reduce import amax, amin, argmax, argmin
from .shape import squeeze


class ValuesIndices(NamedTuple):
    """Elements, and where along the dimension they stood."""

    values: Any
    indices: Any


@primitive(name="argsort")
def argsort_dim(x: Array, *, dim: int, descending: bool) -> Array:
    """The order that sorts x along `dim`; equal elements stay in theirs. Integers: no gradient."""
    if not descending:
        return array_module(x).argsort(x, axis=dim, kind="stable")
    xp = array_module(x)
    order = xp.argsort(xp.flip(x, dim), axis=dim, kind="stable")  # of the reversed, so that ties keep their order
    return xp.flip(x.shape[dim] - 1 - order, dim)


@public
def argsort(x: Any, dim: int = -1, descending: bool = False) -> Any:
    """The order that sorts x along `dim`; equal elements stay in theirs."""
    return argsort_dim(x, dim=normalize_dim("argsort", dim, x.ndim), descending=descending)


@public
def sort(x: Any, dim: int = -1, descending: bool = False) -> ValuesIndices:
    """x sorted along `dim`, and the order that sorts it."""
    dim = normalize_dim("sort", dim, x.ndim)
    indices = argsort_dim(x, dim=dim, descending=descending)
    return ValuesIndices(take_along_dim(x, indices, dim=dim), indices)


@public
def topk(x: Any, k: int, dim: int = -1, largest: bool = True) -> ValuesIndices:
    """The k largest (or smallest) elements along `dim`, the first first, and where they stood."""
    dim = normalize_dim("topk", dim, x.ndim)
    if not 0 <= k <= x.shape[dim]:
        raise ValueError(f"topk: k={k} is out of range; dim {dim} of the tensor of shape {x.shape} has {x.shape[dim]}")
    order = argsort_dim(x, dim=dim, descending=largest)
    indices = getitem(order, index=(*[slice(None)] * dim, slice(k)))
    return ValuesIndices(take_along_dim(x, indices, dim=dim), indices)


def _extreme(x: Any, dim: int, keepdim: bool, where: Any) -> ValuesIndices:
    indices = where(x, dim, keepdim=True)
    values = take_along_dim(x, indices, dim=dim)
    return ValuesIndices(values, indices) if keepdim else ValuesIndices(squeeze(values, dim), squeeze(indices, dim))


@public
def max(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with `dim`, the largest along it and where they stand: the first of them at a tie.

    With a tensor as second argument, as in PyTorch, the larger of each two elements: `maximum`.

    Without `dim`, elements that tie share the gradient; with it, the one that is named gets it.
    """
    if dim is None:
        return amax(x, None, keepdim)
    if hasattr(dim, "shape"):
        return maximum(x, dim)
    return _extreme(x, normalize_dim("max", dim, x.ndim), keepdim, argmax)


@public
def min(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with `dim`, the smallest along it and where they stand: the first of them at a tie.

    With a tensor as second argument, as in PyTorch, the smaller of each two elements: `minimum`.
    """
    if dim is None:
        return amin(x, None, keepdim)
    if hasattr(dim, "shape"):
        return minimum(x, dim)
    return _extreme(x, normalize_dim("min", dim, x.ndim), keepdim, argmin)
