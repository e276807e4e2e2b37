"""Softmax, its logarithm, and the logarithm of its denominator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import Array, DType, array_module, backend_of, float32
from ..graph import primitive
from ..graph.errors import public
from .dims import Dims, reduced_dims
from .elementwise import cast, exp, in_float32, log, where
from .reduce import floating, reduce_max, reduce_sum
from .shape import along, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor


@primitive(name="log_softmax")
def log_softmax_dim(x: Array, *, dim: int) -> Array:
    """log(softmax(x)). A primitive because log(0) would give -inf, and because it is one pass where five are slow."""
    xp = array_module(x)
    y = x - x.max(axis=dim, keepdims=True)
    y -= xp.log(backend_of(x).sum_over(xp.exp(y), dim, True))
    return y


log_softmax_dim.vjp(lambda g, y, _x, dim: g - exp(y) * reduce_sum(g, dims=(dim,), keepdim=True))


@public
def log_softmax(x: Any, dim: int, *, dtype: DType = None) -> Tensor:
    """x - logsumexp(x): the logarithm of softmax, finite wherever x is. `dtype`: convert x first."""
    x = floating("log_softmax", x, dtype)
    return along("log_softmax", _log_softmax, x, dim)


@in_float32
def _log_softmax(x: Any, dim: int) -> Any:
    return x * 1.0 if x.shape[dim] == 0 else log_softmax_dim(x, dim=dim)


@public
def softmax(x: Any, dim: int, *, dtype: DType = None) -> Tensor:
    """exp(x) / sum(exp(x)) over `dim`: positive, adds up to 1. `dtype`: convert x first."""
    x = floating("softmax", x, dtype)
    return along("softmax", _softmax, x, dim)


@in_float32
def _softmax(x: Any, dim: int) -> Any:
    return exp(_log_softmax(x, dim))


@public
def logsumexp(x: Any, dim: int | Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`, without overflow. -inf where every x is -inf, nan where one is nan."""
    x = cast(x, dtype=float32) if x.dtype.kind in "biu" else x
    return _logsumexp(x, reduced_dims("logsumexp", dim, x.ndim), keepdim)


@in_float32
def _logsumexp(x: Any, dims: Dims, keepdim: bool) -> Any:
    if 0 in [x.shape[d] for d in dims]:
        return reduce_sum(x, dims=dims, keepdim=keepdim) - float("inf")
    top = reduce_max(getattr(x, "array", x), dims=dims, keepdim=True)
    top = where(array_module(top).isfinite(top), top, 0.0)  # inf - inf is nan
    total = reduce_sum(exp(x - top), dims=dims, keepdim=True)
    empty = total <= 0
    total = where(empty, float("-inf"), log(where(empty, 1.0, total)) + top)
    return total if keepdim else reshape(total, shape=tuple([n for d, n in enumerate(x.shape) if d not in dims]))
