"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array
from ..graph import primitive
from ..public import public
from .shape import mT, reshape


@primitive(name="matmul")
def batched_matmul(a: Array, b: Array) -> Array:
    """Matrix product. a (..., N, K), b (..., K, M) -> (..., N, M)."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"the last dimension of the first has length {a.shape[-1]}, the last but one of the second {b.shape[-2]}"
        )
    if b.ndim == 2 and a.ndim > 2:  # one product instead of one for each leading index
        return (a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) @ b).reshape(*a.shape[:-1], b.shape[-1])
    return a @ b


def _matmul_vjp_b(g: Any, _y: Any, a: Any, _b: Any) -> Any:
    if _b.ndim == 2 and a.ndim > 2:
        rows = math.prod(a.shape[:-1])
        a = reshape(a, shape=(rows, a.shape[-1]))
        g = reshape(g, shape=(rows, g.shape[-1]))
    if g.shape[-1] > a.shape[-1]:  # BLAS is up to 2.5 times faster on the product with more rows than columns
        return mT(batched_matmul(mT(g), a))
    return batched_matmul(mT(a), g)


batched_matmul.vjp(lambda g, _y, _a, b: batched_matmul(g, mT(b)), _matmul_vjp_b)


@primitive
def affine(bias: Array, a: Array, b: Array) -> Array:
    """bias + a @ b. bias (M,), a (..., N, K), b (..., K, M) -> (..., N, M).

    A primitive because adding in place saves an array as large as the result, which for a whole sequence does not fit
    the cache: it makes a training step of the LSTM a tenth faster.
    """
    y = batched_matmul(a, b)
    if y.dtype != bias.dtype:
        return y + bias
    y += bias
    return y


affine.vjp(
    lambda g, *_: g,
    lambda g, _y, _bias, _a, b: batched_matmul(g, mT(b)),
    lambda g, _y, _bias, a, _b: _matmul_vjp_b(g, None, a, _b),
)


@public
def addmm(bias: Any, a: Any, b: Any) -> Any:
    """bias + a @ b. bias (M,), a (..., K), b (K, M) -> (..., M)."""
    if a.ndim < 2 or b.ndim < 2:
        return matmul(a, b) + bias
    return affine(bias, a, b)


@public
def matmul(a: Any, b: Any) -> Any:
    """Matrix product, as `@`: a 1-D operand is a row (left) or a column (right), and its dimension of 1 is dropped."""
    if a.ndim >= 2 and b.ndim >= 2:
        return batched_matmul(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: operands must have at least 1 dimension, got shapes {a.shape} and {b.shape}; use *")
    rows = a if a.ndim >= 2 else reshape(a, shape=(1, a.shape[0]))
    columns = b if b.ndim >= 2 else reshape(b, shape=(b.shape[0], 1))
    y = batched_matmul(rows, columns)
    shape = (*y.shape[:-2], *(y.shape[-2:-1] if a.ndim >= 2 else ()), *(y.shape[-1:] if b.ndim >= 2 else ()))
    return reshape(y, shape=shape)


@public
def dot(a: Any, b: Any) -> Any:
    """The sum of products of two vectors. a (N,), b (N,) -> ()."""
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"dot: takes two 1-d tensors, got shapes {a.shape} and {b.shape}; use matmul")
    return matmul(a, b)


@public
def outer(a: Any, b: Any) -> Any:
    """All products of two vectors. a (N,), b (M,) -> (N, M)."""
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: takes two 1-d tensors, got shapes {a.shape} and {b.shape}")
    return reshape(a, shape=(a.shape[0], 1)) * reshape(b, shape=(1, b.shape[0]))
