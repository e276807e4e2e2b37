"""What is composed of indexing: repetition, windows, edges, diagonals, grids, sums and values at chosen entries."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..backend import Array, array_module, backend_of
from ..graph import primitive
from ..graph.errors import public
from .dims import lengths, normalize_dim
from .elementwise import cast, where
from .gather import chosen
from .index import ARRAY, SparseGrad, filled, getitem, scatter_values
from .reduce import sum
from .shape import broadcast_to, contiguous, movedim, numbers_too, permute, reshape, separate, transpose

if TYPE_CHECKING:
    from ..tensor import Tensor


def _along(x: Any, n: int) -> Any:
    """0 to n - 1, where x is."""
    return array_module(getattr(x, "array", x)).arange(n)


@public
def repeat_interleave(x: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each entry of `dim` several times in a row: one number for all, or a list with one for each.

    For dim=None the entries of the flattened tensor. `output_size` is checked: how many there will be.
    """
    y = _repeat_interleave(x, repeats, dim)
    if output_size is not None and output_size != y.shape[dim or 0]:
        raise ValueError(f"repeat_interleave: output_size={output_size}, but there are {y.shape[dim or 0]} entries")
    return y


def _repeat_interleave(x: Any, repeats: Any, dim: int | None) -> Any:
    if dim is None:
        x, dim = reshape(x, shape=(-1,)), 0
    dim = normalize_dim("repeat_interleave", dim, x.ndim)
    n, lead = x.shape[dim], (slice(None),) * dim
    repeats = repeats.tolist() if hasattr(repeats, "tolist") else repeats
    counts = lengths("repeat_interleave", (repeats,))
    if not isinstance(repeats, (list, tuple)):
        y = getitem(x, index=(*lead, slice(None), None))
        y = broadcast_to(y, (*y.shape[: dim + 1], *counts, *y.shape[dim + 2 :]))
        return separate(reshape(y, shape=(*y.shape[:dim], n * counts[0], *y.shape[dim + 2 :])), x)
    if len(counts) == 1:
        counts *= n
    if len(counts) != n:
        raise ValueError(f"repeat_interleave: got {len(counts)} repeats for the {n} entries of dim {dim}")
    along = _along(x, n)
    return getitem(x, array_module(along).repeat(along, list(counts)), index=(*lead, ARRAY))


@primitive(name="unfold", is_view=True)
def unfold_windows(x: Array, *, dim: int, size: int, step: int) -> Array:
    """What `unfold` computes."""
    return backend_of(x).windows(x, dim, size, step)


def _unfold_vjp(g: Any, _y: Any, _x: Any, dim: int, size: int, step: int) -> SparseGrad:
    places = _along(g, g.shape[dim])[:, None] * step + _along(g, size)
    return SparseGrad(movedim(g, -1, dim + 1), (places,), (*[slice(None)] * dim, ARRAY))


unfold_windows.vjp(_unfold_vjp)


@public
def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of `size` entries along a dimension, each `step` after the one before: (.., N, ..) -> (.., W, .., size).

    A view: windows that overlap share what they show, and their gradients add up.
    """
    if x.ndim == 0:
        return getitem(unfold(reshape(x, shape=(1,)), dimension, size, step), index=(0,))
    dim = normalize_dim("unfold", dimension, x.ndim)
    (size,), (step,) = lengths("unfold", (size,)), lengths("unfold", (step,), least=1)
    n = x.shape[dim]
    if size > n:
        raise ValueError(f"unfold: windows of size {size} do not fit into dim {dim} of length {n}")
    return unfold_windows(x, dim=dim, size=size, step=step)


@primitive(name="diagonal", is_view=True)
def diagonal_dims(x: Array, *, offset: int, dims: tuple[int, int]) -> Array:
    """What `diagonal` computes."""
    return backend_of(x).diagonal(x, offset, *dims)


def _diagonal_vjp(g: Any, _y: Any, _x: Any, offset: int, dims: tuple[int, int]) -> Any:
    order = (*dims, *[d for d in range(_x.ndim) if d not in dims])
    along = _along(g, g.shape[-1])
    placed = scatter_values(
        movedim(g, -1, 0), along - min(offset, 0), along + max(offset, 0),
        shape=tuple([_x.shape[d] for d in order]), indices=((ARRAY, ARRAY),), counts=(2,),
    )  # fmt: skip
    return permute(placed, tuple([order.index(d) for d in range(_x.ndim)]))


diagonal_dims.vjp(_diagonal_vjp)


@public
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The entries x[i, i + offset] of two dimensions, as the last dimension instead of them. A view."""
    first, second = normalize_dim("diagonal", dim1, x.ndim), normalize_dim("diagonal", dim2, x.ndim)
    if first == second:
        raise ValueError(f"diagonal: dim1={dim1} and dim2={dim2} name one dimension")
    (offset,) = lengths("diagonal", (offset,), -sys.maxsize)
    return diagonal_dims(x, offset=offset, dims=(first, second))


@public
def diag(x: Any, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or a matrix with this diagonal: (N, N) -> (N,), (N,) -> (N, N)."""
    if x.ndim == 2:
        return contiguous(_diagonal(x, diagonal))
    if x.ndim != 1:
        raise ValueError(f"diag: takes a vector or a matrix, got shape {x.shape}; see diagonal")
    along, n = _along(x, x.shape[0]), x.shape[0] + abs(diagonal)
    rows, columns = along - min(diagonal, 0), along + max(diagonal, 0)
    return scatter_values(x, rows, columns, shape=(n, n), indices=((ARRAY, ARRAY),), counts=(2,))


_diagonal = diagonal  # where an argument has its name


@public
def trace(x: Any) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if x.ndim != 2:
        raise ValueError(f"trace: takes a matrix, got shape {x.shape}")
    return sum(_diagonal(x))


@public
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: from vectors of lengths N, M, ... as many tensors (N, M, ...), the k-th along dimension k.

    With indexing="xy" the first two dimensions are swapped.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is 'ij' or 'xy', got {indexing!r}")
    if any(x.ndim > 1 for x in tensors):
        raise ValueError(f"meshgrid: takes vectors, got shapes {[x.shape for x in tensors]}")
    vectors = [reshape(x, shape=(-1,)) for x in tensors]
    shape = tuple([x.shape[0] for x in vectors])
    alone = [reshape(x, shape=(*[1] * k, -1, *[1] * (len(shape) - 1 - k))) for k, x in enumerate(vectors)]
    grids = [broadcast_to(x, shape) for x in alone]
    return tuple([transpose(x, 0, 1) for x in grids] if indexing == "xy" and len(shape) > 1 else grids)


@numbers_too
@public
def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """x with the entries of `source` added to those of dimension `dim` that `index` names; equal indices add up."""
    dim = normalize_dim("index_add", dim, x.ndim)
    index = chosen("index_add", x, dim, index)
    shape = (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :])
    if source.shape != shape:
        raise ValueError(f"index_add: source has shape {source.shape}; for this index it takes {shape}")
    source = source if alpha == 1 else source * alpha
    place = (*[slice(None)] * dim, ARRAY)
    return x + scatter_values(source, index, shape=x.shape, indices=(place,), counts=(1,))


@numbers_too
@public
def index_fill(x: Any, dim: int, index: Any, value: Any) -> Tensor:
    """x with `value` in the entries of dimension `dim` that `index` names."""
    dim = normalize_dim("index_fill", dim, x.ndim)
    index = chosen("index_fill", x, dim, index)
    mask = array_module(index).zeros(x.shape[dim], "bool")
    mask[index] = True
    return filled(x, mask.reshape((-1, *[1] * (x.ndim - 1 - dim))), value, "index_fill")


@public
def pad(x: Any, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """x with `value` around it: `pad` holds how much before and after the last dimension, then the one before it, ...

    Negative numbers cut off.

    Raises:
        TypeError: if the dtype of x has no such value.
        ValueError: if there are not so many dimensions, or more is cut off than there is.
    """
    pad = lengths("pad", (pad,), -sys.maxsize)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"pad: takes pairs (before, after) for up to {x.ndim} dimensions from the last, got {pad}")
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if any(n + min(before, 0) + min(after, 0) < 0 for n, (before, after) in zip(x.shape, pairs, strict=True)):
        raise ValueError(f"pad: {pad} cuts more off than the tensor of shape {x.shape} has")
    inner = [slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, pairs, strict=True)]
    x = getitem(x, index=tuple(inner))
    pairs = [(max(before, 0), max(after, 0)) for before, after in pairs]
    shape = tuple([before + n + after for n, (before, after) in zip(x.shape, pairs, strict=True)])
    place = tuple([slice(before, before + n) for n, (before, _) in zip(x.shape, pairs, strict=True)])
    padded = scatter_values(x, shape=shape, indices=(place,), counts=(0,))
    if value == 0:
        return padded
    outside = array_module(getattr(x, "array", x)).ones(shape, "bool")
    outside[place] = False
    return filled(padded, outside, value, "pad")


def _below(name: str, x: Any, diagonal: int) -> Array:
    """Which elements of the last two dimensions lie on or below a diagonal."""
    if x.ndim < 2:
        raise ValueError(f"{name}: takes a tensor with at least 2 dimensions, got shape {x.shape}")
    (diagonal,) = lengths(name, (diagonal,), -sys.maxsize)
    xp = array_module(getattr(x, "array", x))
    return xp.arange(x.shape[-2])[:, None] + diagonal >= xp.arange(x.shape[-1])


@public
def tril(x: Any, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal of the last two dimensions, zeros elsewhere."""
    return cast(where(_below("tril", x, diagonal), x, 0), dtype=x.dtype)


@public
def triu(x: Any, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal of the last two dimensions, zeros elsewhere."""
    return cast(where(_below("triu", x, diagonal - 1), 0, x), dtype=x.dtype)


@public
def one_hot(x: Any, num_classes: int = -1) -> Tensor:
    """Integers as rows of zeros with a one: x (...) -> (..., num_classes), integers. -1: as many as are needed.

    Raises:
        TypeError: if x does not hold integers.
        IndexError: if one is not from 0 to num_classes - 1.
    """
    if x.dtype.kind not in "iu":
        raise TypeError(f"one_hot: takes integers, got {x.dtype}")
    array = getattr(x, "array", x)
    if num_classes == -1:
        num_classes = int(array.max()) + 1 if array.size else 0
    (num_classes,) = lengths("one_hot", (num_classes,))

    def check(array: Array) -> None:
        if not (int(array.min()) >= 0 and int(array.max()) < num_classes):
            raise IndexError(
                f"one_hot: got {array.min()} to {array.max()}, takes 0 to num_classes - 1 = {num_classes - 1}"
            )

    if array.size:
        backend_of(array).verify(check, array)
    classes = array_module(array).arange(num_classes)
    return cast(reshape(x, shape=(*x.shape, 1)) == classes, dtype=x.dtype)
