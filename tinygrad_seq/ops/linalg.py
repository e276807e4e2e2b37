"""Matrix products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backend import Array, on_gpu, several_gpus
from ..graph import observers, primitive
from ..graph.errors import public
from .shape import cat_dim, mT, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor


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
    if _b.ndim == 2:
        a, g = _rows(a), _rows(g)
    return _transposed_product(a, g)


def _rows(x: Any) -> Any:
    """x as a matrix, its leading dimensions one below the other."""
    return x if x.ndim == 2 else reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _transposed_product(a: Any, b: Any) -> Any:
    """aᵀ b. BLAS is up to 2.5 times faster on the product with more rows than columns."""
    return batched_matmul(mT(a), b) if a.shape[-1] >= b.shape[-1] else mT(batched_matmul(mT(b), a))


batched_matmul.vjp(lambda g, _y, _a, b: batched_matmul(g, mT(b)), _matmul_vjp_b)


class Product:
    """A gradient aᵀ b that is not computed yet: those of a weight used at every step are one product of many rows.

    Attributes:
        count: its rows, and those of the ones before it.
    """

    __slots__ = ("a", "b", "count")
    a: Array
    b: Array
    count: Array

    def __init__(self, a: Array, b: Array) -> None:
        self.a, self.b, self.count = a, b, a.shape[0]


MANY = 2048  # rows, of which a product is computed at once: to wait for more would only take memory


def gather_products(parts: list[Product]) -> Array:
    """The sum of products, as one."""
    if len(parts) == 1:
        return _transposed_product(parts[0].a, parts[0].b)
    return _transposed_product(cat_dim(*[p.a for p in parts], dim=0), cat_dim(*[p.b for p in parts], dim=0))


def _affine_vjp_weight(g: Any, _y: Any, x: Any, _weight: Any, *_bias: Any) -> Any:
    g, x = _rows(g), _rows(x)
    if on_gpu and type(g) is on_gpu[0].ndarray and g.shape[0] < MANY and not several_gpus and not observers:
        return Product(g, x)  # where launches are what takes time
    return _transposed_product(g, x)


@primitive(name="linear")
def affine(x: Array, weight: Array, *bias: Array) -> Array:
    """x Wᵀ, plus a bias if there is one. x (..., N, F), weight (O, F), bias (O,) -> (..., N, O).

    A primitive because adding in place saves an array as large as the result, which for a whole sequence does not fit
    the cache, and because a recurrent network would record a transpose of W at every step.
    """
    y = batched_matmul(x, weight.T)
    for b in bias:
        if y.dtype != b.dtype or b.ndim > y.ndim:
            return y + b
        y += b
    return y


affine.vjp(
    lambda g, _y, _x, weight, *_bias: batched_matmul(g, weight),
    _affine_vjp_weight,
    lambda g, *_: g,
)


@public
def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x Wᵀ + b. x (..., F), weight (O, F), bias (O,) or one that broadcasts with the result -> (..., O)."""
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x of shape {x.shape} does not fit the weight of shape {weight.shape}: the last dimension of x "
            "must be as long as that of the weight"
        )
    if x.ndim == 1:
        y = reshape(affine(reshape(x, shape=(1, x.shape[0])), weight), shape=(weight.shape[0],))
        return y if bias is None else y + bias
    return affine(x, weight) if bias is None else affine(x, weight, bias)


@public
def addmm(bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · bias + alpha · a @ b. bias (M,), a (N, K), b (K, M) -> (N, M). With beta=0 the bias is not looked at."""
    return _scaled_sum("addmm", bias, matmul(a, b), beta, alpha)


@public
def baddbmm(bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The same of batches of matrices. bias (B, N, M), a (B, N, K), b (B, K, M) -> (B, N, M)."""
    return _scaled_sum("baddbmm", bias, bmm(a, b), beta, alpha)


@public
def addmv(bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The same of a matrix and a vector. bias (N,), a (N, K), b (K,) -> (N,)."""
    return _scaled_sum("addmv", bias, mv(a, b), beta, alpha)


def _scaled_sum(name: str, bias: Any, product: Any, beta: float, alpha: float) -> Any:
    if product.dtype.kind in "biu" and (beta % 1 or alpha % 1):
        raise TypeError(f"{name}: beta={beta} and alpha={alpha} are no factors of integers; convert them with .float()")
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else (bias if beta == 1 else bias * beta) + product


@public
def matmul(a: Any, b: Any) -> Tensor:
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
def mm(a: Any, b: Any) -> Tensor:
    """The product of two matrices. a (N, K), b (K, M) -> (N, M)."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"mm: takes two matrices, got shapes {a.shape} and {b.shape}; use matmul")
    return batched_matmul(a, b)


@public
def mv(a: Any, b: Any) -> Tensor:
    """The product of a matrix and a vector. a (N, K), b (K,) -> (N,)."""
    if a.ndim != 2 or b.ndim != 1:
        raise ValueError(f"mv: takes a matrix and a vector, got shapes {a.shape} and {b.shape}; use matmul")
    return matmul(a, b)


@public
def bmm(a: Any, b: Any) -> Tensor:
    """The products of matrices in two batches of one length. a (B, N, K), b (B, K, M) -> (B, N, M)."""
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0]:
        raise ValueError(f"bmm: takes (B, N, K) and (B, K, M), got shapes {a.shape} and {b.shape}; use matmul")
    return batched_matmul(a, b)


@public
def dot(a: Any, b: Any) -> Tensor:
    """The sum of products of two vectors. a (N,), b (N,) -> ()."""
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"dot: takes two 1-d tensors, got shapes {a.shape} and {b.shape}; use matmul")
    return matmul(a, b)


@public
def outer(a: Any, b: Any) -> Tensor:
    """All products of two vectors. a (N,), b (M,) -> (N, M)."""
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: takes two 1-d tensors, got shapes {a.shape} and {b.shape}")
    return reshape(a, shape=(a.shape[0], 1)) * reshape(b, shape=(1, b.shape[0]))
