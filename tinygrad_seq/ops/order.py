"""Largest, smallest, sorted."""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from ..backend import Array, array_module, float64, int64
from ..graph import Value, primitive
from ..graph.errors import public
from .dims import lengths, normalize_dim
from .elementwise import cast, maximum, minimum, where
from .gather import take_along
from .index import ARRAY, getitem, scatter_values
from .logic import isnan
from .reduce import amax, amin, any, argmax, argmin
from .shape import numbers_too, reshape, squeeze

if TYPE_CHECKING:
    from ..tensor import Tensor


class ValuesIndices(NamedTuple):
    """Elements, and where along the dimension they stood."""

    values: Tensor
    indices: Tensor


@primitive(name="argsort")
def argsort_dim(x: Array, *, dim: int, descending: bool) -> Array:
    """The order that sorts x along `dim`; equal elements stay in theirs. Integers: no gradient."""
    if not descending:
        return array_module(x).argsort(x, axis=dim, kind="stable")
    xp = array_module(x)
    order = xp.argsort(xp.flip(x, dim), axis=dim, kind="stable")  # of the reversed, so that ties keep their order
    return xp.flip(x.shape[dim] - 1 - order, dim)


@numbers_too
@public
def argsort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Tensor:
    """The order that sorts x along `dim`; equal elements stay in theirs, whatever `stable` says."""
    return argsort_dim(x, dim=normalize_dim("argsort", dim, x.ndim), descending=descending)


@numbers_too
@public
def sort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = True) -> ValuesIndices:
    """x sorted along `dim`, and the order that sorts it.

    Args:
        stable: equal elements stay in their order; they do in any case.
    """
    dim = normalize_dim("sort", dim, x.ndim)
    indices = argsort_dim(x, dim=dim, descending=descending)
    return ValuesIndices(take_along(x, indices, dim=dim), indices)


@numbers_too
@public
def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The k largest (or smallest) elements along `dim`, the first first, and where they stood.

    Args:
        sorted: they are in any case.
    """
    dim = normalize_dim("topk", dim, x.ndim)
    (k,) = lengths("topk", (k,), -sys.maxsize)
    if not 0 <= k <= x.shape[dim]:
        raise ValueError(f"topk: k={k} is out of range; dim {dim} of the tensor of shape {x.shape} has {x.shape[dim]}")
    order = argsort_dim(x, dim=dim, descending=largest)
    indices = getitem(order, index=(*[slice(None)] * dim, slice(k)))
    return ValuesIndices(take_along(x, indices, dim=dim), indices)


def _extreme(x: Any, dim: int, keepdim: bool, which: Any) -> ValuesIndices:
    return _taken(x, which(x, dim, keepdim=True), dim, keepdim)


def _taken(x: Any, indices: Any, dim: int, keepdim: bool) -> ValuesIndices:
    values = take_along(x, indices, dim=dim)
    return ValuesIndices(values, indices) if keepdim else ValuesIndices(squeeze(values, dim), squeeze(indices, dim))


@overload
def max(x: Any, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
@overload
def max(x: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@numbers_too
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


@overload
def min(x: Any, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
@overload
def min(x: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@numbers_too
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


@overload
def median(x: Any, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def median(x: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@numbers_too
@public
def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle, the smaller of two; with `dim`, those along it and where they stand. A nan is one.

    The one element that is named gets the gradient, at a tie too.
    """
    if dim is None:
        return median(reshape(x, shape=(-1,)), 0).values
    dim = normalize_dim("median", dim, x.ndim)
    length, lead = x.shape[dim], (slice(None),) * dim
    if length == 0:
        raise ValueError(f"median: the tensor of shape {x.shape} has no elements along dim={dim} to choose from")
    order, middle = argsort_dim(x, dim=dim, descending=False), (length - 1) // 2
    indices = getitem(order, index=(*lead, slice(middle, middle + 1)))
    if x.dtype.kind == "f":  # nans stand last
        indices = where(any(isnan(x), dim, True), getitem(order, index=(*lead, slice(length - 1, None))), indices)
    return _taken(x, indices, dim, keepdim)


@overload
def unique(
    x: Any,
    sorted: bool = True,
    return_inverse: Literal[False] = False,
    return_counts: Literal[False] = False,
    dim: int | None = None,
) -> Tensor: ...
@overload
def unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Tensor, ...]: ...
@public
def unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different elements, from the smallest on: (N,). With `dim` the different entries of it. No gradient.

    Args:
        sorted: they are in any case; entries of a dimension by their first elements that differ.
        return_inverse: also where in the result each element of x stands, in the shape of x, or each entry of `dim`.
        return_counts: also how often each of them occurs.
    """
    array = getattr(x, "array", x)
    if not hasattr(array, "dtype"):
        raise TypeError(f"unique: takes a tensor or an array, got a {type(x).__name__}")
    dim = None if dim is None else normalize_dim("unique", dim, array.ndim)
    values = array_module(array).unique(array, return_inverse=return_inverse, return_counts=return_counts, axis=dim)
    found = list(values) if isinstance(values, tuple) else [values]
    if return_inverse:
        found[1] = found[1].reshape(array.shape if dim is None else -1)
    results = [x.wrap(part) if isinstance(x, Value) else part for part in found]
    return tuple(results) if len(results) > 1 else results[0]


@public
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 on occurs in a vector, or the sums of their weights: (max(x) + 1,) at least.

    Sums of weights that are integers are float64.

    Raises:
        TypeError: if x does not hold integers.
        ValueError: if one is negative, or the shapes do not fit.
    """
    if x.dtype.kind not in "iu":
        raise TypeError(f"bincount: takes integers, got {x.dtype}")
    if x.ndim != 1 or (weights is not None and weights.shape != x.shape):
        both = "" if weights is None else f" and weights of shape {weights.shape}"
        raise ValueError(f"bincount: takes a vector, and weights of its length; got shape {x.shape}{both}")
    array = getattr(x, "array", x)
    if array.size and int(array.min()) < 0:
        raise ValueError(f"bincount: takes integers from 0 on, got {int(array.min())}")
    (least,) = lengths("bincount", (minlength,))
    n = builtins.max(int(array.max()) + 1 if array.size else 0, least)
    ones = cast(x == x, dtype=int64) if weights is None else weights
    ones = cast(ones, dtype=float64) if weights is not None and weights.dtype.kind in "biu" else ones
    return scatter_values(ones, array, shape=(n,), indices=((ARRAY,),), counts=(1,))
