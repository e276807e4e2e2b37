"""Reductions, and the softmax family, which is made of them."""

from __future__ import annotations

from typing import Any

from ..backend import Array, DType, array_module, float16, float32, int64
from ..conversion import as_dtype
from ..graph import Primitive, primitive
from ..public import public
from .dims import Dims, normalize_dim, reduced_dims
from .elementwise import abs, cast, div, exp, log, mul, sqrt, where
from .index import getitem
from .shape import broadcast_to, cat_dim, flip_dims, reshape


def _kept(shape: tuple[int, ...], dims: Dims) -> tuple[int, ...]:
    return tuple([1 if d in dims else n for d, n in enumerate(shape)])


@primitive(name="sum")
def reduce_sum(x: Array, *, dims: Dims, keepdim: bool) -> Array:
    """The sum over `dims`."""
    return x.sum(axis=dims, keepdims=keepdim)


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
    share = cast(reduce_sum(ties, dims=dims, keepdim=True), dtype=g.dtype)
    return where(ties, reshape(g, shape=kept) / share, 0.0)


reduce_max.vjp(_extreme_vjp)
reduce_min.vjp(_extreme_vjp)


@primitive(name="log_softmax")
def log_softmax_dim(x: Array, *, dim: int) -> Array:
    """log(softmax(x)). A primitive because log(0) would give -inf, and because it is one pass where five are slow."""
    xp = array_module(x)
    y = x - x.max(axis=dim, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=dim, keepdims=True))
    return y


log_softmax_dim.vjp(lambda g, y, _x, dim: g - exp(y) * reduce_sum(g, dims=(dim,), keepdim=True))


@primitive(name="argmax")
def argmax_dim(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Where along `dim` the largest element stands, the first of them at a tie. Integers: no gradient."""
    return x.argmax(axis=dim, keepdims=keepdim)


@primitive(name="argmin")
def argmin_dim(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Where along `dim` the smallest element stands, the first of them at a tie. Integers: no gradient."""
    return x.argmin(axis=dim, keepdims=keepdim)


def _arg(name: str, which: Primitive, x: Any, dim: int | None, keepdim: bool) -> Any:
    dim = None if dim is None else normalize_dim(name, dim, x.ndim)
    if 0 in (x.shape if dim is None else x.shape[dim : dim + 1]):
        raise ValueError(f"{name}: the tensor of shape {x.shape} has no elements along dim={dim} to choose from")
    return which(x, dim=dim, keepdim=keepdim)


@public
def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where along `dim` (in the flattened tensor for None) the largest element stands, the first of them at a tie."""
    return _arg("argmax", argmax_dim, x, dim, keepdim)


@public
def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where along `dim` (in the flattened tensor for None) the smallest element stands, the first of them at a tie."""
    return _arg("argmin", argmin_dim, x, dim, keepdim)


def _wide(x: Any, dtype: DType = None) -> Any:
    """x in this dtype; without one, integers as int64, which their sums and products fit sooner."""
    if dtype is not None:
        return cast(x, dtype=as_dtype(dtype))
    return x if x.dtype.kind in "fc" or x.dtype == int64 else cast(x, dtype=int64)


@public
def sum(x: Any, dim: int | Dims | None = None, keepdim: bool = False, *, dtype: DType = None) -> Any:
    """The sum over `dim` (one, several, or None: all). Of integers and booleans an int64. `dtype`: convert x first."""
    x = _wide(x, dtype)
    return reduce_sum(x, dims=reduced_dims("sum", dim, x.ndim), keepdim=keepdim)


@public
def mean(x: Any, dim: int | Dims | None = None, keepdim: bool = False, *, dtype: DType = None) -> Any:
    """The mean over `dim` (one, several, or None: all). Of no elements at all nan. `dtype`: convert x first."""
    x = _floating("mean", x, dtype)
    dims = reduced_dims("mean", dim, x.ndim)
    if x.dtype == float16:  # whose sum overflows sooner than its mean
        return cast(mean(cast(x, dtype=float32), dim, keepdim), dtype=float16)
    total = reduce_sum(x, dims=dims, keepdim=keepdim)
    count = 1
    for d in dims:
        count *= x.shape[d]
    return div(total, float(count)) if count else mul(total, float("nan"))


@public
def var(
    x: Any,
    dim: int | Dims | None = None,
    *,
    keepdim: bool = False,
    correction: int = 1,
    unbiased: bool | None = None,
) -> Any:
    """The variance over `dim`, divided by the number of elements less `correction`: 1, or 0 if `unbiased` is False."""
    correction = correction if unbiased is None else int(unbiased)
    dims = reduced_dims("var", dim, x.ndim)
    centered = x - mean(x, dims, keepdim=True)
    count = 1
    for d in dims:
        count *= x.shape[d]
    return div(reduce_sum(centered * centered, dims=dims, keepdim=keepdim), float(max(count - correction, 0)))


@public
def std(
    x: Any,
    dim: int | Dims | None = None,
    *,
    keepdim: bool = False,
    correction: int = 1,
    unbiased: bool | None = None,
) -> Any:
    """The standard deviation: the square root of `var`. Where it is 0, so is its gradient."""
    dims = reduced_dims("std", dim, x.ndim)
    return _sqrt_or_zero(var(x, dims, keepdim=keepdim, correction=correction, unbiased=unbiased))


def _sqrt_or_zero(x: Any) -> Any:
    """√x, with derivative 0 at 0: a norm has its minimum there, and 0 is a subgradient."""
    if getattr(x, "node", None) is None and x.dtype.kind == "f":
        return sqrt(x)  # whose derivative nobody asks for, as where gradients are clipped
    zero = x <= 0  # not of a nan, which stays one
    return where(zero, x * 0.0, sqrt(where(zero, 1.0, x)))


@public
def norm(x: Any, p: float | str = 2.0, dim: int | Dims | None = None, keepdim: bool = False) -> Any:
    """(Σ |x|^p)^(1/p) over `dim`; for p=inf (-inf) the largest (smallest) |x|, for p=0 how many are not 0.

    p="fro" is 2. Where a norm with p > 0 is 0, so is its gradient.
    """
    p = 2 if p == "fro" else p
    if not isinstance(p, (int, float)):
        raise TypeError(f"norm: p must be a number or 'fro', got {p!r}")
    dims = reduced_dims("norm", dim, x.ndim)
    if x.dtype == float16:  # whose squares overflow sooner than its norm
        return cast(norm(cast(x, dtype=float32), p, dims, keepdim), dtype=float16)
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
    if not p > 0:
        raise ValueError(f"norm: p must be positive, 0 or -inf, got {p}")
    magnitude = abs(x)
    zero = magnitude <= 0
    total = reduce_sum(where(zero, 0.0, where(zero, 1.0, magnitude) ** p), dims=dims, keepdim=keepdim)
    zero = total <= 0
    return where(zero, total * 0.0, where(zero, 1.0, total) ** (1.0 / p))


@public
def prod(x: Any, dim: int | None = None, keepdim: bool = False, *, dtype: DType = None) -> Any:
    """The product over `dim` (of all elements for None).

    Halves are multiplied with each other until one is left: no division, so zeros have the right gradient. Of integers
    and booleans an int64. `dtype`: convert x first.
    """
    x = _wide(x, dtype)
    if dim is None:
        product = prod(reshape(x, shape=(-1,)), 0)
        return reshape(product, shape=(1,) * x.ndim) if keepdim else product
    dim = normalize_dim("prod", dim, x.ndim)
    lead = (slice(None),) * dim
    if x.shape[dim] == 0:
        x = reduce_sum(x, dims=(dim,), keepdim=True) + 1
    while (length := x.shape[dim]) > 1:
        half = length // 2
        product = getitem(x, index=(*lead, slice(half))) * getitem(x, index=(*lead, slice(half, 2 * half)))
        x = cat_dim(product, getitem(x, index=(*lead, slice(2 * half, length))), dim=dim) if length % 2 else product
    return x if keepdim else reshape(x, shape=(*x.shape[:dim], *x.shape[dim + 1 :]))


@primitive(name="cumsum")
def cumsum_dim(x: Array, *, dim: int) -> Array:
    """Sums up to and including each entry of `dim`."""
    return x.cumsum(axis=dim)


cumsum_dim.vjp(lambda g, _y, _x, dim: flip_dims(cumsum_dim(flip_dims(g, dims=(dim,)), dim=dim), dims=(dim,)))


@public
def cumsum(x: Any, dim: int, *, dtype: DType = None) -> Any:
    """Sums up to and including each entry of `dim`. `dtype`: convert x first."""
    x = _wide(x, dtype)
    return cumsum_dim(x, dim=normalize_dim("cumsum", dim, x.ndim))


@public
def cumprod(x: Any, dim: int, *, dtype: DType = None) -> Any:
    """Products up to and including each entry of `dim`. `dtype`: convert x first.

    Each round multiplies every entry by that 1, 2, 4, ... places before it: no division, so zeros have the right
    gradient.
    """
    x = _wide(x, dtype)
    dim = normalize_dim("cumprod", dim, x.ndim)
    lead, places = (slice(None),) * dim, 1
    while places < x.shape[dim]:
        product = getitem(x, index=(*lead, slice(places, None))) * getitem(x, index=(*lead, slice(-places)))
        x = cat_dim(getitem(x, index=(*lead, slice(places))), product, dim=dim)
        places *= 2
    return x


@public
def count_nonzero(x: Any, dim: int | Dims | None = None) -> Any:
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
def any(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Any:
    """Whether one element over `dim` is true (not zero)."""
    return reduce_any(x, dims=reduced_dims("any", dim, x.ndim), keepdim=keepdim)


@public
def all(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Any:
    """Whether all elements over `dim` are true (not zero)."""
    return reduce_all(x, dims=reduced_dims("all", dim, x.ndim), keepdim=keepdim)


@public
def amax(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Any:
    """The largest element over `dim` (one, several, or None: all). Ties share the gradient."""
    return reduce_max(x, dims=_with_elements("amax", dim, x), keepdim=keepdim)


@public
def amin(x: Any, dim: int | Dims | None = None, keepdim: bool = False) -> Any:
    """The smallest element over `dim` (one, several, or None: all). Ties share the gradient."""
    return reduce_min(x, dims=_with_elements("amin", dim, x), keepdim=keepdim)


def _floating(name: str, x: Any, dtype: DType) -> Any:
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


@public
def log_softmax(x: Any, dim: int, *, dtype: DType = None) -> Any:
    """x - logsumexp(x): the logarithm of softmax, finite wherever x is. `dtype`: convert x first."""
    x = _floating("log_softmax", x, dtype)
    dim = normalize_dim("log_softmax", dim, x.ndim)
    return x * 1.0 if x.shape[dim] == 0 else log_softmax_dim(x, dim=dim)


@public
def softmax(x: Any, dim: int, *, dtype: DType = None) -> Any:
    """exp(x) / sum(exp(x)) over `dim`: positive, adds up to 1. `dtype`: convert x first."""
    return exp(log_softmax(x, normalize_dim("softmax", dim, x.ndim), dtype=dtype))


@public
def logsumexp(x: Any, dim: int | Dims, keepdim: bool = False) -> Any:
    """log(sum(exp(x))) over `dim`, without overflow. -inf where every x is -inf, nan where one is nan."""
    dims = reduced_dims("logsumexp", dim, x.ndim)
    x = cast(x, dtype=float32) if x.dtype.kind in "biu" else x
    if 0 in [x.shape[d] for d in dims]:
        return reduce_sum(x, dims=dims, keepdim=keepdim) - float("inf")
    top = reduce_max(getattr(x, "array", x), dims=dims, keepdim=True)
    top = where(array_module(top).isfinite(top), top, 0.0)  # inf - inf is nan
    total = reduce_sum(exp(x - top), dims=dims, keepdim=True)
    empty = total <= 0
    total = where(empty, float("-inf"), log(where(empty, 1.0, total)) + top)
    return total if keepdim else reshape(total, shape=tuple([n for d, n in enumerate(x.shape) if d not in dims]))
