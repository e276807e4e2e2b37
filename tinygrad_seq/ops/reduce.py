"""Reductions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import Array, DType, backend_of, bool_, float16, float32, int64
from ..graph import Primitive, primitive
from ..graph.conversion import as_dtype
from ..graph.errors import public
from .dims import Dims, normalize_dim, reduced_dims
from .elementwise import abs, cast, copied, div, in_float32, mul, sqrt, where, zero
from .index import getitem
from .shape import along, broadcast_to, cat_dim, flip_dims, numbers_too, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor


def _kept(shape: tuple[int, ...], dims: Dims) -> tuple[int, ...]:
    return tuple([1 if d in dims else n for d, n in enumerate(shape)])


@primitive(name="sum")
def reduce_sum(x: Array, *, dims: Dims, keepdim: bool) -> Array:
    """The sum over `dims`, in the dtype of x; of booleans an int64."""
    return backend_of(x).sum_over(x, dims, keepdim)


reduce_sum.vjp(lambda g, _y, _x, dims, keepdim: broadcast_to(reshape(g, shape=_kept(_x.shape, dims)), shape=_x.shape))


@primitive(name="amax")
def reduce_max(x: Array, *, dims: Dims, keepdim: bool) -> Array:
    """The largest element over `dims`. Elements that tie for it share the gradient equally."""
    return x.max(axis=dims, keepdims=keepdim)


@primitive(name="amin")
def reduce_min(x: Array, *, dims: Dims, keepdim: bool) -> Array:
    """The smallest element over `dims`. Elements that tie for it share the gradient equally."""
    return x.min(axis=dims, keepdims=keepdim)


def _extreme_vjp(g: Any, y: Any, x: Any, dims: Dims, keepdim: bool) -> Any:
    kept = _kept(x.shape, dims)
    y = reshape(y, shape=kept)
    ties = (x == y) | ((x != x) & (y != y))  # a nan is where it is
    wide = float32 if g.dtype == float16 else g.dtype  # in which large numbers of ties are finite
    share = cast(reduce_sum(ties, dims=dims, keepdim=True), dtype=wide)
    return where(ties, reshape(g, shape=kept) / share, 0.0)


reduce_max.vjp(_extreme_vjp)
reduce_min.vjp(_extreme_vjp)


@primitive(name="argmax")
def argmax_dim(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Where along `dim` the largest element stands, the first of them at a tie. Integers: no gradient."""
    return x.argmax(axis=dim, keepdims=keepdim)


@primitive(name="argmin")
def argmin_dim(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Where along `dim` the smallest element stands, the first of them at a tie. Integers: no gradient."""
    return x.argmin(axis=dim, keepdims=keepdim)


def _arg(name: str, which: Primitive[...], x: Any, dim: int | None, keepdim: bool) -> Any:
    dim = None if dim is None else normalize_dim(name, dim, x.ndim)
    if 0 in (x.shape if dim is None else x.shape[dim : dim + 1]):
        raise ValueError(f"{name}: the tensor of shape {x.shape} has no elements along dim={dim} to choose from")
    return which(x, dim=dim, keepdim=keepdim)


@numbers_too
@public
def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where along `dim` (in the flattened tensor for None) the largest element stands, the first of them at a tie."""
    return _arg("argmax", argmax_dim, x, dim, keepdim)


@numbers_too
@public
def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where along `dim` (in the flattened tensor for None) the smallest element stands, the first of them at a tie."""
    return _arg("argmin", argmin_dim, x, dim, keepdim)


def _wide(x: Any, dtype: DType = None) -> Any:
    """x in this dtype; without one, integers as int64, which their sums and products fit sooner."""
    if dtype is not None:
        return cast(x, dtype=as_dtype(dtype))
    return x if x.dtype.kind in "fc" or x.dtype == int64 else cast(x, dtype=int64)


@public
def sum(x: Any, dim: int | Dims | None = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The sum over `dim` (one, several, or None: all). Of integers and booleans an int64. `dtype`: convert x first.

    Of booleans that stay such (dtype=tg.bool) it is true where one is.
    """
    x = _wide(x, dtype)
    which = reduce_any if x.dtype == bool_ else reduce_sum
    return which(x, dims=reduced_dims("sum", dim, x.ndim), keepdim=keepdim)


@public
def mean(x: Any, dim: int | Dims | None = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The mean over `dim` (one, several, or None: all). Of no elements at all nan. `dtype`: convert x first."""
    x = floating("mean", x, dtype)
    return _mean(x, reduced_dims("mean", dim, x.ndim), keepdim)


@in_float32
def _mean(x: Any, dims: Dims, keepdim: bool) -> Any:
    total = reduce_sum(x, dims=dims, keepdim=keepdim)
    count = 1
    for d in dims:
        count *= x.shape[d]
    return div(total, float(count)) if count else mul(total, float("nan"))


@public
def var(
    x: Any,
    dim: int | Dims | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance over `dim`, divided by the number of elements less `correction`: 1, or 0 if `unbiased` is False.

    A boolean in the place of `dim` is `unbiased`.
    """
    x = floating("var", x, None)
    dim, correction = _corrected("var", dim, unbiased, correction)
    return _var(x, reduced_dims("var", dim, x.ndim), keepdim, correction)


def _corrected(name: str, dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Any, float]:
    """`dim` and `correction`, of which `unbiased` is another name for 0 and 1, also in the place of `dim`."""
    dim, unbiased = (None, dim) if isinstance(dim, bool) else (dim, unbiased)
    if unbiased is not None and correction is not None:
        raise TypeError(
            f"{name}: got both unbiased={unbiased} and correction={correction}, of which one says the other"
        )
    return dim, correction if correction is not None else 1 if unbiased is None else int(unbiased)


@in_float32
def _var(x: Any, dims: Dims, keepdim: bool, correction: float) -> Any:
    centered = x - _mean_of_equals(x, dims)
    count = 1
    for d in dims:
        count *= x.shape[d]
    return div(reduce_sum(centered * centered, dims=dims, keepdim=keepdim), float(max(count - correction, 0)))


def _mean_of_equals(x: Any, dims: Dims) -> Any:
    """The mean, kept, which of equal elements is that very number: their variance is 0, and not what rounding left."""
    average = _mean(x, dims, True)
    given, rounded = getattr(x, "array", x), getattr(average, "array", average)
    if x.dtype.kind == "c" or not given.size:
        return average
    top = reduce_max(given, dims=dims, keepdim=True)
    return average + where(top == reduce_min(given, dims=dims, keepdim=True), top - rounded, 0.0)


@public
def std(
    x: Any,
    dim: int | Dims | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation: the square root of `var`. Where it is 0, so is its gradient."""
    x = floating("std", x, None)
    dim, correction = _corrected("std", dim, unbiased, correction)
    return _std(x, reduced_dims("std", dim, x.ndim), keepdim, correction)


@in_float32
def _std(x: Any, dims: Dims, keepdim: bool, correction: float) -> Any:
    return _sqrt_or_zero(_var(x, dims, keepdim, correction))


def _sqrt_or_zero(x: Any) -> Any:
    """√x, with derivative 0 at 0: a norm has its minimum there, and 0 is a subgradient."""
    if getattr(x, "node", None) is None and x.dtype.kind == "f":
        return sqrt(x)  # whose derivative nobody asks for, as where gradients are clipped
    flat = x <= 0  # not of a nan, which stays one
    return where(flat, zero(x), sqrt(where(flat, 1.0, x)))


@public
def norm(
    x: Any, p: float | str = 2.0, dim: int | Dims | None = None, keepdim: bool = False, dtype: DType = None
) -> Tensor:
    """(Σ |x|^p)^(1/p) over `dim`; for p=inf (-inf) the largest (smallest) |x|, for p=0 how many are not 0.

    p="fro" is 2. Where a norm with p > 0 is 0, so is its gradient; with p < 0, where one x is 0. `dtype`:
    convert x first.
    """
    p = 2 if p == "fro" else p
    if not isinstance(p, (int, float)) or p != p:
        raise TypeError(f"norm: p must be a number or 'fro', got {p!r}")
    x = x if dtype is None else cast(x, dtype=as_dtype(dtype))
    return _norm(x, p, reduced_dims("norm", dim, x.ndim), keepdim)


@in_float32
def _norm(x: Any, p: float, dims: Dims, keepdim: bool) -> Any:
    if p == 2:
        return _sqrt_or_zero(reduce_sum(x * x, dims=dims, keepdim=keepdim))
    if p == float("inf"):
        return amax(abs(x), dims, keepdim)
    if p == 1:
        return reduce_sum(abs(x), dims=dims, keepdim=keepdim)
    if p == -float("inf"):
        return amin(abs(x), dims, keepdim)
    if p == 0:
        return reduce_sum(cast(x != 0, dtype=x.dtype), dims=dims, keepdim=keepdim)
    magnitude = abs(x)
    flat = magnitude <= 0
    if p < 0:
        total = reduce_sum(where(flat, 1.0, magnitude) ** p, dims=dims, keepdim=keepdim)
        return where(reduce_any(flat, dims=dims, keepdim=keepdim), 0.0, total ** (1.0 / p))
    total = reduce_sum(where(flat, 0.0, where(flat, 1.0, magnitude) ** p), dims=dims, keepdim=keepdim)
    flat = total <= 0
    return where(flat, zero(total), where(flat, 1.0, total) ** (1.0 / p))


@public
def prod(x: Any, dim: int | None = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The product over `dim` (of all elements for None).

    Halves are multiplied with each other until one is left: no division, so zeros have the right gradient. Of integers
    and booleans an int64. `dtype`: convert x first.
    """
    x = _wide(x, dtype)
    if dim is None:
        product = _prod(reshape(x, shape=(-1,)), 0, False)
        return copied(reshape(product, shape=(1,) * x.ndim)) if keepdim else product
    return along("prod", lambda x, dim: _prod(x, dim, keepdim), x, dim)


@in_float32
def _prod(x: Any, dim: int, keepdim: bool) -> Any:
    lead = (slice(None),) * dim
    while (length := x.shape[dim]) > 2:
        half = length // 2
        product = getitem(x, index=(*lead, slice(half))) * getitem(x, index=(*lead, slice(half, 2 * half)))
        x = cat_dim(product, getitem(x, index=(*lead, slice(2 * half, length))), dim=dim) if length % 2 else product
    if length == 0:
        return cast(reduce_sum(x, dims=(dim,), keepdim=keepdim) + 1, dtype=x.dtype)
    last = [getitem(x, index=(*lead, slice(i, i + 1) if keepdim else i)) for i in range(length)]
    return last[0] * last[1] if length == 2 else copied(last[0])


@primitive(name="cumsum")
def cumsum_dim(x: Array, *, dim: int) -> Array:
    """Sums up to and including each entry of `dim`."""
    return backend_of(x).cumsum(x, dim)


cumsum_dim.vjp(lambda g, _y, _x, dim: flip_dims(cumsum_dim(flip_dims(g, dims=(dim,)), dim=dim), dims=(dim,)))


@public
def cumsum(x: Any, dim: int, *, dtype: DType = None) -> Tensor:
    """Sums up to and including each entry of `dim`. `dtype`: convert x first."""
    x = _wide(x, dtype)
    if x.dtype == bool_:
        raise TypeError("cumsum: booleans have no sums that are booleans; take dtype=tg.int64, or leave it out")
    return along("cumsum", lambda x, dim: cumsum_dim(x, dim=dim), x, dim)


@public
def cumprod(x: Any, dim: int, *, dtype: DType = None) -> Tensor:
    """Products up to and including each entry of `dim`. `dtype`: convert x first.

    Each round multiplies every entry by that 1, 2, 4, ... places before it: no division, so zeros have the right
    gradient.
    """
    x = _wide(x, dtype)
    return along("cumprod", _cumprod, x, dim)


@in_float32
def _cumprod(x: Any, dim: int) -> Any:
    lead, places = (slice(None),) * dim, 1
    if x.shape[dim] < 2:
        return copied(x)
    while places < x.shape[dim]:
        product = getitem(x, index=(*lead, slice(places, None))) * getitem(x, index=(*lead, slice(-places)))
        x = cat_dim(getitem(x, index=(*lead, slice(places))), product, dim=dim)
        places *= 2
    return x


@public
def count_nonzero(x: Any, dim: int | Dims | None = None) -> Tensor:
    """How many elements over `dim` (one, several, or None: all) are not 0. Integers: no gradient."""
    return reduce_sum(cast(x != 0, dtype=int64), dims=reduced_dims("count_nonzero", dim, x.ndim), keepdim=False)


@primitive(name="any")
def reduce_any(x: Array, *, dims: Dims, keepdim: bool) -> Array:
    """Whether one element over `dims` is true. Booleans: no gradient."""
    return x.any(axis=dims, keepdims=keepdim)


@primitive(name="all")
def reduce_all(x: Array, *, dims: Dims, keepdim: bool) -> Array:
    """Whether all elements over `dims` are true. Booleans: no gradient."""
    return x.all(axis=dims, keepdims=keepdim)


@public
def any(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Tensor:
    """Whether one element over `dim` is true (not zero)."""
    return reduce_any(x, dims=reduced_dims("any", dim, x.ndim), keepdim=keepdim)


@public
def all(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over `dim` are true (not zero)."""
    return reduce_all(x, dims=reduced_dims("all", dim, x.ndim), keepdim=keepdim)


@public
def amax(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Tensor:
    """The largest element over `dim` (one, several, or None: all). Ties share the gradient."""
    return reduce_max(x, dims=_with_elements("amax", dim, x), keepdim=keepdim)


@public
def amin(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Tensor:
    """The smallest element over `dim` (one, several, or None: all). Ties share the gradient."""
    return reduce_min(x, dims=_with_elements("amin", dim, x), keepdim=keepdim)


def floating(name: str, x: Any, dtype: DType) -> Any:
    """x in this dtype (None: its own), which must not be one of integers."""
    x = x if dtype is None else cast(x, dtype=as_dtype(dtype))
    if x.dtype.kind not in "fc":
        raise TypeError(f"{name}: takes a floating-point tensor, got {x.dtype}; convert it with .float()")
    return x


def _with_elements(name: str, dim: int | Dims | None, x: Any) -> Dims:
    dims = reduced_dims(name, dim, x.ndim)
    if 0 in [x.shape[d] for d in dims]:
        raise ValueError(f"{name}: the tensor of shape {x.shape} has no elements along dim={dim} to choose from")
    return dims
