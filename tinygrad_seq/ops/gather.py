"""Gather and scatter: the entries that integers name along one dimension, and adding values up at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import Array, array_module, backend_of
from ..graph import primitive
from ..graph.conversion import require_fit
from ..graph.errors import public
from .dims import normalize_dim
from .elementwise import add, cast, where
from .index import ARRAY, filled, getitem, index_array, scatter_values
from .shape import numbers_too, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor


def _in_range(name: str, index: Array, length: int, least: int = 0) -> Array:
    """The index, whose numbers must be from `least` on: NumPy would count negative ones from the end."""
    if index.dtype.kind == "b":
        raise TypeError(f"{name}: takes integers, got booleans; index with x[mask]")

    def check(index: Array) -> None:
        if array_module(index).count_nonzero(
            (index < least) | (index >= length)
        ):  # min and max take three times as long
            low, high = int(index.min()), int(index.max())
            raise IndexError(f"{name}: got index {low if low < least else high} for a dimension of length {length}")

    if index.size and backend_of(index).device_name(index) == "cpu":  # on a GPU this would wait for the device
        backend_of(index).verify(check, index)
    return index


def chosen(name: str, x: Any, dim: int, index: Any) -> Array:
    """The entries of one dimension that a list of integers (one is a list, too) names, as an array."""
    index = index_array(x, [index] if isinstance(index, int) else index)
    index = index.reshape(1) if index.ndim == 0 else index
    if index.ndim != 1:
        raise ValueError(f"{name}: index must have one dimension, got shape {index.shape}")
    return _in_range(name, index, x.shape[dim])


@primitive(name="take_along_dim")
def take_along(x: Array, indices: Array, *, dim: int) -> Array:
    """What `take_along_dim` computes."""
    return x[_along(x, indices, dim, x.shape)]


@primitive
def put_along_dim(g: Array, indices: Array, *, dim: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `g` added at `indices` along `dim`: the transpose of `take_along`."""
    out = array_module(g).zeros(shape, g.dtype)
    backend_of(g).scatter_add(out, _along(g, indices, dim, shape), g)
    return out


def _along(like: Array, indices: Array, dim: int, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """The index of all dimensions that `indices` along one of them, in an array of this shape, stand for."""
    xp = array_module(like)
    grid = [xp.arange(n).reshape([-1 if k == d else 1 for k in range(len(shape))]) for d, n in enumerate(shape)]
    grid[dim] = indices
    return tuple(grid)


take_along.vjp(lambda g, _y, _x, indices, dim: put_along_dim(g, indices, dim=dim, shape=_x.shape), None)
put_along_dim.vjp(lambda g, _y, _g, indices, dim, shape: take_along(g, indices, dim=dim), None)


@public
def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Tensor:
    """Entry by entry along `dim`: y[..., j, ...] = x[..., indices[..., j, ...], ...]. Otherwise they broadcast.

    Negative indices count from the end. For dim=None the entries of the flattened tensor that the flattened `indices`
    name.

    Raises:
        IndexError: if the tensors do not have the same number of dimensions, or an index is out of range.
    """
    indices = index_array(x, indices)
    if dim is None:
        x, indices, dim = reshape(x, shape=(-1,)), indices.reshape(-1), 0
    if indices.ndim != x.ndim:
        raise IndexError(
            f"take_along_dim: indices of shape {indices.shape} must have as many dimensions as the tensor, {x.shape}"
        )
    dim = normalize_dim("take_along_dim", dim, x.ndim)
    return take_along(x, _in_range("take_along_dim", indices, x.shape[dim], -x.shape[dim]), dim=dim)


@public
def gather(x: Any, dim: int, index: Any) -> Tensor:
    """Entry by entry along `dim`: y[i, j] = x[index[i, j], j] for dim=0. `index` may be smaller than x elsewhere.

    Raises:
        IndexError: if the shapes do not fit, or an index is out of range.
    """
    index = index_array(x, index)
    if x.ndim == 0 and index.ndim < 2:
        found = gather(reshape(x, shape=(1,)), dim, index.reshape(-1))
        return reshape(found, shape=index.shape)
    dim = normalize_dim("gather", dim, x.ndim)
    index = _in_range("gather", index, x.shape[dim])
    if index.ndim != x.ndim or any(
        n > m for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if d != dim
    ):
        raise IndexError(f"gather: index of shape {index.shape} does not fit the tensor of shape {x.shape}")
    if any(n < m for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if d != dim):
        x = getitem(x, index=tuple([slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape)]))
    return take_along(x, index, dim=dim)


@numbers_too
@public
def index_select(x: Any, dim: int, index: Any) -> Tensor:
    """The entries of dimension `dim` that a list of integers names, in that order."""
    dim = normalize_dim("index_select", dim, x.ndim)
    index = chosen("index_select", x, dim, index)
    return getitem(x, index, index=(*[slice(None)] * dim, ARRAY))


@public
def embedding(weight: Any, tokens: Any) -> Tensor:
    """The rows of a table that integers name. weight (V, F), tokens (...) -> (..., F).

    Raises:
        TypeError: if the tokens are no integers.
        IndexError: if one is not from 0 to V - 1. Not on a GPU, where one goes around: looking would wait for it.
    """
    tokens = _in_range("embedding", index_array(weight, tokens), weight.shape[0])
    return getitem(weight, tokens, index=(ARRAY,))


@numbers_too
@public
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """x with src added entry by entry along `dim`: x[index[i, j], j] += src[i, j] for dim=0; equal indices add up.

    Raises:
        IndexError: if the shapes do not fit, or an index is out of range.
    """
    dim = normalize_dim("scatter_add", dim, x.ndim)
    index = _in_range("scatter_add", index_array(x, index), x.shape[dim])
    if index.ndim != x.ndim or src.ndim != x.ndim or any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise IndexError(f"scatter_add: index of shape {index.shape} does not fit src of shape {src.shape}")
    if any(n > m for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if d != dim):
        raise IndexError(f"scatter_add: index of shape {index.shape} does not fit the tensor of shape {x.shape}")
    src = getitem(src, index=tuple([slice(n) for n in index.shape]))
    shape = tuple([n if d == dim else m for d, (n, m) in enumerate(zip(x.shape, index.shape, strict=True))])
    added = put_along_dim(src, index, dim=dim, shape=shape)
    if shape == x.shape:
        return add(x, added)  # one of them may be an array, which on a GPU takes no tensor
    corner = tuple([slice(n) for n in shape])
    return add(x, scatter_values(added, shape=x.shape, indices=(corner,), counts=(0,)))


@numbers_too
@public
def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """x with src put in entry by entry along `dim`: x[index[i, j], j] = src[i, j] for dim=0.

    src may be a number, which PyTorch calls `value`. With reduce="add" or "multiply" it changes what is there.

    Raises:
        IndexError: if the shapes do not fit, or an index is out of range.
        ValueError: if two entries of a tensor go to one place: which of them should stay?
    """
    dim = normalize_dim("scatter", dim, x.ndim)
    if (src is None) == (value is None):
        raise TypeError("scatter: takes src, a tensor or a number, or value, a number: one of the two")
    src = value if src is None else src
    index = _in_range("scatter", index_array(x, index), x.shape[dim])
    if reduce is not None:
        return _scattered_into(x, dim, index, src, reduce)
    nothing = array_module(index).zeros(x.shape, "int64")
    count = scatter_add(nothing, dim, index, array_module(index).ones_like(index, dtype="int64"))
    if not hasattr(src, "dtype"):
        return filled(x, count != 0, src, "scatter")
    backend_of(count).verify(_require_once, count)
    return where(count != 0, scatter_add(cast(nothing, dtype=x.dtype), dim, index, cast(src, dtype=x.dtype)), x)


def _scattered_into(x: Any, dim: int, index: Array, src: Any, reduce: str) -> Any:
    """x with src added, or multiplied, entry by entry along `dim`."""
    if reduce not in ("add", "multiply"):
        raise ValueError(f"scatter: reduce is 'add' or 'multiply', got {reduce!r}")
    if reduce == "multiply":
        return x * scatter(array_module(index).ones(x.shape, x.dtype), dim, index, src)
    if not hasattr(src, "dtype"):
        src = array_module(index).full(index.shape, require_fit("scatter", src, x.dtype), x.dtype)
    return scatter_add(x, dim, index, src)


def _require_once(count: Array) -> None:
    if bool((count > 1).any()):
        raise ValueError("scatter: two entries go to one place; use scatter_add to add them up")
