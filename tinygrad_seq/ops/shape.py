"""Primitives that arrange elements: no arithmetic, mostly views."""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..backend import Array, array_module, backend_of
from ..graph import primitive
from ..graph.errors import public
from ..graph.saved_tensors import shares_memory
from .dims import Dims, lengths, normalize_dim, normalize_dims

if TYPE_CHECKING:
    from ..tensor import Tensor


@primitive(name="reshape", is_view=True)
def reshape_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    """The elements of x in another shape."""
    return x.reshape(shape)


reshape_to.vjp(lambda g, _y, _x, shape: reshape_to(g, shape=_x.shape))


@public
def reshape(x: Any, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape; one length may be -1. A view where the memory layout allows it."""
    return reshape_to(x, shape=lengths("reshape", (shape,), -1))


@primitive(name="permute", is_view=True)
def permute_dims(x: Array, *, dims: tuple[int, ...]) -> Array:
    """The dimensions of x in another order."""
    return x.transpose(dims)


def _inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(dims)), key=lambda i: dims[i] % len(dims)))


permute_dims.vjp(lambda g, _y, _x, dims: permute_dims(g, dims=_inverse(dims)))


@public
def permute(x: Any, dims: int | Dims) -> Tensor:
    """The dimensions in another order: `dims` names for each which one of x it is. A view."""
    chosen = normalize_dims("permute", dims, x.ndim)
    if len(chosen) != x.ndim:
        raise ValueError(f"permute: takes each of the {x.ndim} dimensions of shape {x.shape} once, got dims={dims}")
    return permute_dims(x, dims=chosen)


def mT(x: Any) -> Any:
    """The last two dimensions swapped: x (..., N, M) -> (..., M, N)."""
    if x.ndim < 2:
        raise ValueError(f"mT: takes a tensor with at least 2 dimensions, got shape {x.shape}")
    return permute_dims(x, dims=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@primitive(name="broadcast_to", is_view=True)
def broadcast_dims(x: Array, *, shape: tuple[int, ...]) -> Array:
    """x repeated to `shape`."""
    return x[...] if x.shape == shape else array_module(x).broadcast_to(x, shape)  # which nobody could write to


broadcast_dims.vjp(lambda g, _y, _x, shape: g)  # the sweep undoes broadcasting


@public
def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """x repeated to `shape` as broadcasting does; -1 leaves a length as it is. A view."""
    return _stretched("broadcast_to", x, shape)


def _stretched(name: str, x: Any, sizes: Sequence[int]) -> Any:
    sizes = lengths(name, (sizes,), -1)
    lead = len(sizes) - x.ndim
    shape = tuple([x.shape[d - lead] if n == -1 and d >= lead else n for d, n in enumerate(sizes)])
    if lead < 0 or -1 in shape or any(m not in (1, n) for m, n in zip(x.shape, shape[lead:], strict=True)):
        raise ValueError(
            f"{name}: shape {x.shape} does not broadcast to {sizes}: from the last dimension on, each length must be "
            "the same, or 1 in the tensor; further ones come in front"
        )
    return broadcast_dims(x, shape=shape)


@primitive(name="cat")
def cat_dim(*xs: Array, dim: int) -> Array:
    """The arrays one after another along `dim`."""
    return backend_of(xs[0]).concatenate(xs, dim)


@primitive(name="split", is_view=True)
def split_sizes(x: Array, *, sizes: tuple[int, ...], dim: int) -> tuple[Array, ...]:
    """x cut along `dim` into pieces of the given sizes. Views."""
    before = (slice(None),) * (dim % x.ndim)
    pieces, start = [], 0
    for size in sizes:
        pieces.append(x[(*before, slice(start, start + size))])
        start += size
    return tuple(pieces)


cat_dim.vjp_joint(lambda g, _y, *_xs, dim: split_sizes(g, sizes=tuple([x.shape[dim] for x in _xs]), dim=dim))
split_sizes.vjp(lambda g, _y, _x, sizes, dim: cat_dim(*g, dim=dim))


@primitive(name="stack")
def stack_dim(*xs: Array, dim: int) -> Array:
    """Arrays of one shape as the entries of a new dimension `dim`."""
    return array_module(xs[0]).stack(xs, axis=dim)


@primitive(name="unbind", is_view=True)
def unbind_dim(x: Array, *, dim: int) -> tuple[Array, ...]:
    """The entries of dimension `dim`, each without it. Views."""
    x = array_module(x).moveaxis(x, dim, 0) if dim else x
    return tuple([x[i, ...] for i in range(x.shape[0])])  # the dots keep a 0-d entry an array


cat_dim.promotes = stack_dim.promotes = 0
stack_dim.vjp_joint(lambda g, _y, *_xs, dim: unbind_dim(g, dim=dim))
unbind_dim.vjp(lambda g, _y, _x, dim: stack_dim(*g, dim=dim))


@primitive(name="flip")
def flip_dims(x: Array, *, dims: tuple[int, ...]) -> Array:
    """x with the order of the elements reversed along `dims`."""
    return array_module(x).flip(x, dims).copy()


flip_dims.vjp(lambda g, _y, _x, dims: flip_dims(g, dims=dims))


@public
def unsqueeze(x: Any, dim: int) -> Tensor:
    """x with a dimension of length 1 put in at `dim`."""
    dim = normalize_dim("unsqueeze", dim, x.ndim + 1)
    return reshape(x, shape=(*x.shape[:dim], 1, *x.shape[dim:]))


@public
def squeeze(x: Any, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """x without its dimensions of length 1; with `dim`, without that one (or those), if its length is 1."""
    dims = normalize_dims("squeeze", dim, x.ndim)
    return reshape(x, shape=tuple([n for d, n in enumerate(x.shape) if n != 1 or d not in dims]))


@public
def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """x with two dimensions swapped. A view."""
    if x.ndim == 0 and {dim0, dim1} <= {0, -1}:
        return reshape(x, shape=())
    dim0, dim1 = normalize_dim("transpose", dim0, x.ndim), normalize_dim("transpose", dim1, x.ndim)
    dims = list(range(x.ndim))
    dims[dim0], dims[dim1] = dim1, dim0
    return permute(x, dims=tuple(dims))


@public
def t(x: Any) -> Tensor:
    """The transpose of a matrix; a vector as it is. A view."""
    if x.ndim > 2:
        raise ValueError(f"t: takes a matrix, got shape {x.shape}; use transpose, or permute")
    return permute(x, dims=tuple(range(x.ndim))[::-1])


@public
def ravel(x: Any) -> Tensor:
    """The elements one after another: (N,). A view where the memory layout allows it."""
    return reshape(x, shape=(-1,))


@public
def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension `dim` as several of these lengths, one of which may be -1."""
    dim = normalize_dim("unflatten", dim, x.ndim)
    sizes = lengths("unflatten", (sizes,), -1)
    known = builtins.abs(math.prod(sizes))
    if sizes.count(-1) > 1 or (x.shape[dim] % known if -1 in sizes and known else x.shape[dim] != known):
        raise ValueError(f"unflatten: the length {x.shape[dim]} of dim {dim} cannot be {sizes}")
    return reshape(x, shape=(*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


@public
def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """x cut along `dim` into `chunks` pieces of one size; the last is smaller where the length does not divide."""
    (chunks,) = lengths("chunk", (chunks,), least=1)
    dim = normalize_dim("chunk", dim, x.ndim)
    length = x.shape[dim]
    sizes = _even(length, -(-length // chunks)) if length else (0,) * chunks
    pieces: tuple[Any, ...] = split_sizes(x, sizes=sizes, dim=dim)
    return pieces


def _even(length: int, size: int) -> tuple[int, ...]:
    """`length` in pieces of one size, the last of which may be smaller; one empty piece of nothing."""
    return (size,) * (length // size) + ((length % size,) if length % size else ()) if length else (0,)


@public
def split(x: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """x cut along `dim` into pieces of one size (the last may be smaller), or of the sizes listed. Views."""
    dim = normalize_dim("split", dim, x.ndim)
    length = x.shape[dim]
    if hasattr(split_size_or_sections, "__index__"):
        (size,) = lengths("split", (split_size_or_sections,), least=1)
        sizes = _even(length, size)
    else:
        sizes = lengths("split", (split_size_or_sections,))
        if builtins.sum(sizes) != length:
            raise ValueError(f"split: sizes {sizes} do not add up to the length {length} of dim {dim}")
    pieces: tuple[Any, ...] = split_sizes(x, sizes=sizes, dim=dim)
    return pieces


@public
def unbind(x: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """The entries of dimension `dim`, each without it. Views."""
    entries: tuple[Any, ...] = unbind_dim(x, dim=normalize_dim("unbind", dim, x.ndim))
    return entries


def numbers_too(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: of a tensor without dimensions as of one with one entry, whose dimension goes again, as in PyTorch."""

    @wraps(function)
    def called(x: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(x, "ndim", 1):
            return function(x, *args, **kwargs)
        args = tuple([reshape(a, shape=(1,)) if getattr(a, "ndim", 1) == 0 else a for a in args])
        kwargs = {key: reshape(a, shape=(1,)) if getattr(a, "ndim", 1) == 0 else a for key, a in kwargs.items()}
        y = function(reshape(x, shape=(1,)), *args, **kwargs)
        return type(y)(*[reshape(part, shape=()) for part in y]) if isinstance(y, tuple) else reshape(y, shape=())

    return called


def _several(name: str, tensors: Any) -> Sequence[Any]:
    if isinstance(tensors, (str, dict)):
        raise TypeError(f"{name}: takes a list or a tuple of tensors, got a {type(tensors).__name__}")
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError(f"{name}: takes at least one tensor, got none")
    for x in tensors:
        if not hasattr(x, "ndim"):
            raise TypeError(f"{name}: takes a list of tensors, got one with {x!r}")
    return tensors


@public
def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape as the entries of a new dimension `dim`."""
    tensors = _several("stack", tensors)
    return stack_dim(*tensors, dim=normalize_dim("stack", dim, tensors[0].ndim + 1))


@public
def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors one after another along `dim`; their other lengths must agree. An empty one, (0,), fits with all."""
    tensors = _several("cat", tensors)
    if any(x.shape == (0,) for x in tensors):
        like = next((x for x in tensors if x.shape != (0,)), tensors[0])
        dim = normalize_dim("cat", dim, like.ndim)
        shape = (*like.shape[:dim], 0, *like.shape[dim + 1 :])
        tensors = [reshape(x, shape=shape) if x.shape == (0,) else x for x in tensors]
    return cat_dim(*tensors, dim=normalize_dim("cat", dim, tensors[0].ndim))


def _at_least(ndim: int, tensors: Sequence[Any]) -> list[Any]:
    """The tensors with dimensions of length 1 in front, where they have fewer than that."""
    return [reshape(x, shape=(*[1] * (ndim - x.ndim), *x.shape)) if x.ndim < ndim else x for x in tensors]


@public
def hstack(tensors: Sequence[Any]) -> Tensor:
    """The tensors side by side: `cat` along the second dimension, of vectors along the only one."""
    rows = _at_least(1, _several("hstack", tensors))
    return cat(rows, dim=0 if rows[0].ndim == 1 else 1)


@public
def vstack(tensors: Sequence[Any]) -> Tensor:
    """The tensors one below the other: `cat` along the first dimension, vectors as rows."""
    return cat(_at_least(2, _several("vstack", tensors)), dim=0)


@public
def flip(x: Any, dim: int | tuple[int, ...]) -> Tensor:
    """x with the order of the elements reversed along `dim` (one or several)."""
    if dim is None:
        raise TypeError("flip: dim must be an integer or several, got None")
    return flip_dims(x, dims=normalize_dims("flip", dim, x.ndim))


def along(name: str, f: Callable[[Any, int], Any], x: Any, dim: int) -> Any:
    """f(x, dim), of the shape of x or without the dimension, with `dim` counted from the front.

    A number is also the only entry of a dimension, as in PyTorch.
    """
    if x.ndim == 0:
        return reshape(f(reshape(x, shape=(1,)), normalize_dim(name, dim, 1)), shape=())
    return f(x, normalize_dim(name, dim, x.ndim))


@public
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from `start_dim` to `end_dim` (both included) as one. A 0-d tensor becomes 1-d."""
    if x.ndim == 0:
        return reshape(x, shape=(1,))
    first, last = normalize_dim("flatten", start_dim, x.ndim), normalize_dim("flatten", end_dim, x.ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim}")
    length = 1
    for n in x.shape[first : last + 1]:
        length *= n
    return reshape(x, shape=(*x.shape[:first], length, *x.shape[last + 1 :]))


@public
def expand(x: Any, sizes: tuple[int, ...]) -> Tensor:
    """x broadcast to these lengths; -1 leaves one as it is. A view."""
    return _stretched("expand", x, sizes)


@public
def movedim(x: Any, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Tensor:
    """The dimensions `source` moved to the places `destination`, the others in their order. A view."""
    moved = normalize_dims("movedim", source, x.ndim)
    places = normalize_dims("movedim", destination, x.ndim)
    if len(moved) != len(places):
        raise ValueError(f"movedim: source={source} and destination={destination} name different numbers of dimensions")
    rest = iter([d for d in range(x.ndim) if d not in moved])
    by_place = dict(zip(places, moved, strict=True))
    return permute(x, dims=tuple([by_place[d] if d in by_place else next(rest) for d in range(x.ndim)]))


@primitive
def contiguous(x: Array) -> Array:
    """A copy of x in row-major memory."""
    return x.copy()


contiguous.vjp(lambda g, *_: g)


def separate(y: Any, x: Any) -> Any:
    """y, which was made of x, or a copy if it aliases x."""
    return contiguous(y) if shares_memory(getattr(y, "array", y), getattr(x, "array", x)) else y


@public
def repeat(x: Any, repeats: Sequence[int]) -> Tensor:
    """x laid out `repeats[d]` times along each dimension d; new dimensions come first."""
    lead = len(repeats) - x.ndim
    if lead < 0:
        raise ValueError(f"repeat: takes at least {x.ndim} numbers for a tensor of shape {x.shape}, got {len(repeats)}")
    repeats = lengths("repeat", (repeats,))
    old = (*[1] * lead, *x.shape)
    # (n, m) -> (1, n, 1, m) -> (r, n, s, m) -> (r n, s m)
    y = reshape(x, shape=tuple([part for n in old for part in (1, n)]))
    y = broadcast_to(y, shape=tuple([part for r, n in zip(repeats, old, strict=True) for part in (r, n)]))
    return separate(reshape(y, shape=tuple([r * n for r, n in zip(repeats, old, strict=True)])), x)


@public
def tile(x: Any, dims: Sequence[int]) -> Tensor:
    """As `repeat`, but fewer numbers than dimensions are for the last of them."""
    counts = lengths("tile", (dims,))
    return repeat(x, (*[1] * (x.ndim - len(counts)), *counts))


@public
def roll(x: Any, shifts: int | tuple[int, ...], dim: int | tuple[int, ...] | None = None) -> Tensor:
    """The elements moved on by `shifts` along `dim`, those pushed out coming in again; in flat order for dim=None."""
    by = lengths("roll", (shifts,), -sys.maxsize)
    if dim is None:
        if len(by) != 1:
            raise ValueError(f"roll: several shifts {shifts} take as many dimensions in dim")
        return reshape(roll(reshape(x, shape=(-1,)), by, 0), shape=x.shape)
    dims = [normalize_dim("roll", d, x.ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    if len(by) != len(dims):
        raise ValueError(f"roll: got {len(by)} shifts for {len(dims)} dimensions")
    y = x
    for shift, d in zip(by, dims, strict=True):
        length = x.shape[d]
        if length:
            tail = shift % length
            front, back = split_sizes(y, sizes=(length - tail, tail), dim=d)
            y = cat_dim(back, front, dim=d)
    return separate(y, x)
