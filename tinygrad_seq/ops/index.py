"""Indexing, and its transpose: adding values up at indices."""

from __future__ import annotations

from operator import index as whole
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

from ..backend import SCALAR, Array, array_module, backend_of, is_array, numpy_module, on_gpu, uint8
from ..graph import Value, primitive
from ..graph.conversion import is_scalar, require_fit
from ..graph.device import beside, device_of
from ..graph.errors import public, require_numbers
from ..graph.tracing_hook import tracers
from .dims import normalize_dim
from .elementwise import cast, where
from .shape import broadcast_to, reshape, unbind

if TYPE_CHECKING:
    from ..tensor import Tensor

Index = tuple[Any, ...]  # slices, integers, None and Ellipsis; ARRAY stands where an index array goes


class Slot:
    """Marks where in a static index an index array belongs; the arrays themselves are inputs, which may change."""

    def __repr__(self) -> str:
        return "ARRAY"


ARRAY = Slot()


def with_arrays(index: Index, arrays: tuple[Array, ...]) -> Index:
    """A static index with the arrays where it says ARRAY."""
    rest = iter(arrays)
    return tuple([next(rest) if i is ARRAY else i for i in index])


class SparseGrad:
    """The gradient of an indexing: zeros, with `values` added at an index.

    The sweep gathers these before adding them up, so that T steps cut out of a (T, ...) tensor cost one such tensor and
    not T of them.
    """

    __slots__ = ("arrays", "index", "values")
    arrays: tuple[Any, ...]
    index: Index
    values: Any

    def __init__(self, values: Any, arrays: tuple[Any, ...], index: Index) -> None:
        self.values, self.arrays, self.index = values, arrays, index


@primitive(is_view=True)
def getitem(x: Array, *arrays: Array, index: Index) -> Array:
    """x[index], with `arrays` put in where the index says ARRAY. A view if there are none."""
    if arrays:
        return x[with_arrays(index, arrays)]
    y = x[index]
    return x[(*index, Ellipsis)] if isinstance(y, SCALAR) else y  # the dots keep a 0-d entry a view


getitem.vjp_joint(
    lambda g, _y, _x, *arrays, index: (SparseGrad(g, arrays, index), *[None for _ in arrays]),
)


@primitive(name="scatter")
def scatter_values(
    *inputs: Array, shape: tuple[int, ...], indices: tuple[Index, ...], counts: tuple[int, ...]
) -> Array:
    """Zeros of `shape`, to which values are added at indices: the transpose of several `getitem`s at once.

    `inputs` holds for each of the `indices` the values and then its index arrays, `counts` of them.
    """
    out = array_module(inputs[0]).zeros(shape, inputs[0].dtype)
    for values, arrays, index in _contributions(inputs, indices, counts):
        add_at(out, values, arrays, index)
    return out


def add_at(out: Array, values: Array, arrays: tuple[Array, ...], index: Index) -> None:
    """out[index] += values; equal indices add up."""
    if not arrays:
        out[index] += values
    else:
        backend_of(out).scatter_add(out, arrays if index == (ARRAY,) else with_arrays(index, arrays), values)


def _contributions(inputs: tuple[Any, ...], indices: tuple[Index, ...], counts: tuple[int, ...]) -> Any:
    start = 0
    for index, n in zip(indices, counts, strict=True):
        yield inputs[start], inputs[start + 1 : start + 1 + n], index
        start += 1 + n


def _scatter_vjp(g: Any, _y: Any, *inputs: Any, shape: Any, indices: Any, counts: Any) -> list[Any]:
    gradients: list[Any] = []
    for _values, arrays, index in _contributions(inputs, indices, counts):
        gradients += [getitem(g, *arrays, index=index), *[None for _ in arrays]]
    return gradients


scatter_values.vjp_joint(_scatter_vjp, keeps=lambda wanted: not wanted)  # the index arrays, not the values


def gather_scattered(parts: list[SparseGrad], shape: tuple[int, ...]) -> Any:
    """The sum of scattered gradients as one dense one."""
    inputs = [x for part in parts for x in (part.values, *part.arrays)]
    return scatter_values(
        *inputs,
        shape=shape,
        indices=tuple([part.index for part in parts]),
        counts=tuple([len(part.arrays) for part in parts]),
    )


def index(x: Any, key: Any) -> Any:
    """x[key] for integers, slices, None, Ellipsis, and tensors, arrays or lists of integers or booleans."""
    if type(key) is int:  # the commonest one: half the time
        return getitem(x, index=(key,))
    first, static, arrays = resolved(x, key)
    return getitem(x if first is None else getitem(x, index=first), *arrays, index=static)


def resolved(x: Any, key: Any) -> tuple[Index | None, Index, list[Array]]:
    """What x[key] means: an index for whole numbers that stand beside arrays, if there are any, then one for the rest.

    The second has ARRAY where the arrays, which come last, belong.
    """
    keys, first = masks(key), None
    if len(keys) > 1 and any(_is_whole(k) for k in keys) and any(_is_array(k) for k in keys):
        # the numbers first: NumPy would take them for index arrays, and put the dimension of these in front
        chosen = [k if _is_whole(k) or k is Ellipsis else slice(None) for k in keys for _ in range(_consumed(k))]
        first, keys = tuple(chosen), tuple([k for k in keys if not _is_whole(k)])
    static: list[Any] = []
    arrays = []
    recorded = bool(tracers) and tracers[-1].mine()  # by compile: numbers may be others at each call
    for k in keys:
        if isinstance(k, slice):  # whose bounds may be tensors, which can be changed later
            k = slice(*[None if bound is None else _bound(bound) for bound in (k.start, k.stop, k.step)])
        elif isinstance(k, Value) and k.array.ndim == 0 and k.array.dtype.kind in "iu" and not recorded:
            k = int(k.array)  # as in PyTorch, where x[tensor(1)] is a view
        if k is None or k is Ellipsis or (isinstance(k, (slice, int)) and not isinstance(k, bool)):
            static.append(k)
        elif isinstance(k, (list, range, bool)) or hasattr(k, "dtype") or isinstance(k, Value):
            arrays.append(index_array(x, k))
            static.append(ARRAY)
        else:
            raise TypeError(
                f"indexing: got an index of type {type(k).__name__}; takes integers, slices, None, ... and "
                "integer or boolean tensors"
            )
    return first, tuple(static), arrays


def masks(key: Any) -> tuple[Any, ...]:
    """The parts of an index. Tensors of uint8 are masks, as in PyTorch: which are not 0?

    Raises:
        TypeError: for arrays of uint8, which NumPy takes for indices.
    """
    keys = key if isinstance(key, tuple) else (key,)
    return tuple([_as_mask(k) if getattr(k, "dtype", None) == uint8 else k for k in keys])


def _as_mask(k: Any) -> Any:
    if is_scalar(k):
        return int(k)
    if is_array(k):
        raise TypeError(
            "indexing: an array of uint8 is a mask in PyTorch, and indices in NumPy; convert it to bool or int64"
        )
    return k != 0


def _bound(bound: Any) -> int:
    try:
        return whole(bound)
    except TypeError:
        raise TypeError(f"indexing: a slice takes whole numbers, got {bound!r}") from None


def _is_whole(k: Any) -> bool:
    return isinstance(k, int) and not isinstance(k, bool)


def _is_array(k: Any) -> bool:
    return isinstance(k, (list, Value)) or hasattr(k, "dtype")


def _consumed(k: Any) -> int:
    """How many entries an index that only picks whole numbers needs in the place of k."""
    if k is None:
        return 0
    array = getattr(k, "array", k)
    return int(array.ndim) if getattr(array, "dtype", None) is not None and array.dtype.kind == "b" else 1


def index_array(x: Any, k: Any) -> Any:
    """An index as an array of integers or booleans where x is."""
    x = getattr(x, "array", x)
    array = beside(x, getattr(k, "array", k))
    if on_gpu and device_of(x) != device_of(array):  # CuPy would fetch it in silence
        names = sorted([str(device_of(x)), str(device_of(array))])
        raise RuntimeError(f"indexing: operands are on {' and '.join(names)}; move one with .to({names[-1]!r})")
    if array.dtype.kind not in "iub":
        if array.size:
            raise TypeError(f"indexing: an index tensor must hold integers or booleans, got {array.dtype}")
        array = array.astype("int64")  # the empty list
    return array


@public
def masked_select(x: Any, mask: Any) -> Tensor:
    """The elements of x where the mask is true, one after another: (N,). The two broadcast with each other."""
    mask = index_array(x, mask)
    if mask.dtype.kind != "b":
        raise TypeError(f"masked_select: the mask must hold booleans, got {mask.dtype}; compare first, as in x > 0")
    shape = numpy_module.broadcast_shapes(x.shape, mask.shape)
    return getitem(broadcast_to(x, shape), broadcast_to(mask, shape), index=(ARRAY,))


@overload
def nonzero(x: Any, *, as_tuple: Literal[False] = False) -> Tensor: ...
@overload
def nonzero(x: Any, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
@public
def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0: (N, D), or D tensors (N,) to index with. Integers: no gradient."""
    if as_tuple:
        return unbind(nonzero_indices(x if x.ndim else reshape(x, shape=(1,))), 1)
    return nonzero_indices(x)


@primitive(name="nonzero")
def nonzero_indices(x: Array) -> Array:
    """The indices of the elements that are not 0: (N, D)."""
    xp = array_module(x)
    return xp.stack(xp.nonzero(x), axis=1) if x.ndim else xp.zeros((int(bool(x)), 0), "int64")


@public
def narrow(x: Any, dim: int, start: SupportsIndex, length: int) -> Tensor:
    """`length` entries of dimension `dim` from `start` on, which counts from the end if it is negative. A view.

    Raises:
        IndexError: if there are not so many.
    """
    dim = normalize_dim("narrow", dim, x.ndim)
    start = whole(start)
    start += x.shape[dim] if start < 0 else 0
    if not 0 <= start <= start + length <= x.shape[dim]:
        raise IndexError(f"narrow: {length} entries from {start} on go beyond dim {dim} of length {x.shape[dim]}")
    return getitem(x, index=(*[slice(None)] * dim, slice(start, start + length)))


@public
def select(x: Any, dim: int, index: int) -> Tensor:
    """The entry of dimension `dim` at `index`, without that dimension. A view."""
    return getitem(x, index=(*[slice(None)] * normalize_dim("select", dim, x.ndim), whole(index)))


@public
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """x with `value`, in the dtype of x, where the mask is true.

    Raises:
        TypeError: if the mask does not hold booleans, or the dtype of x has no such number.
    """
    mask = index_array(x, mask)
    if mask.dtype.kind != "b":
        raise TypeError(f"masked_fill: the mask must hold booleans, got {mask.dtype}; compare first, as in x > 0")
    return filled(x, mask, value, "masked_fill")


def filled(x: Any, mask: Array, value: Any, name: str) -> Any:
    """`masked_fill` under another name."""
    if hasattr(value, "dtype") and value.ndim:
        return where(mask, cast(value, dtype=x.dtype), x)
    require_numbers((value,), f"{name}: ")
    if isinstance(value, Value):
        return where(mask, cast(value, dtype=x.dtype), x)
    return where(mask, require_fit(name, value, x.dtype), x)
