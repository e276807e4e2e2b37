"""What can be computed with a tensor along dimensions: sums and their kin, the largest and the smallest, the order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from ..backend import DType
from ..graph import Value
from ..graph.errors import public
from ..ops import order, reduce
from ..ops import softmax as _softmax
from .operators import Number

if TYPE_CHECKING:
    from .tensor import Tensor

Dim: TypeAlias = int | tuple[int, ...] | None


class Reductions(Value):
    """The methods of `Tensor` that work along dimensions. With `dim` and `keepdim`, NumPy's names do as well."""

    __slots__ = ()

    @public
    def sum(self, dim: Dim = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
        """The sum over `dim` (one, several, or None: all). Of integers an int64. `dtype`: convert self first."""
        return reduce.sum(self, dim, keepdim, dtype=dtype)

    @public
    def mean(self, dim: Dim = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
        """The mean over `dim` (one, several, or None: all). Of no elements at all nan. `dtype`: convert self first."""
        return reduce.mean(self, dim, keepdim, dtype=dtype)

    @public
    def var(
        self, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Number | None = None
    ) -> Tensor:
        """The variance over `dim`, divided by the number of elements less `correction`."""
        return reduce.var(self, dim, unbiased, keepdim, correction=correction)

    @public
    def std(
        self, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Number | None = None
    ) -> Tensor:
        """The standard deviation: the square root of `var`. Where it is 0, so is its gradient."""
        return reduce.std(self, dim, unbiased, keepdim, correction=correction)

    @public
    def norm(self, p: Number | str = 2.0, dim: Dim = None, keepdim: bool = False, dtype: DType = None) -> Tensor:
        """(Σ |self|^p)^(1/p) over `dim`; for p=inf (-inf) the largest (smallest) |element|."""
        return reduce.norm(self, p, dim, keepdim, dtype)

    @public
    def prod(self, dim: int | None = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
        """The product over `dim` (of all elements for None)."""
        return reduce.prod(self, dim, keepdim, dtype=dtype)

    @public
    def logsumexp(self, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
        """log(sum(exp(self))) over `dim`, without overflow. -inf where all are -inf, nan where one is nan."""
        return _softmax.logsumexp(self, dim, keepdim)

    @public
    def softmax(self, dim: int, *, dtype: DType = None) -> Tensor:
        """exp(self) / sum(exp(self)) over `dim`: positive, adds up to 1. `dtype`: convert self first."""
        return _softmax.softmax(self, dim, dtype=dtype)

    @public
    def log_softmax(self, dim: int, *, dtype: DType = None) -> Tensor:
        """self - logsumexp(self): the logarithm of softmax, finite wherever self is. `dtype`: convert self first."""
        return _softmax.log_softmax(self, dim, dtype=dtype)

    @public
    def cumsum(self, dim: int, *, dtype: DType = None) -> Tensor:
        """Sums up to and including each entry of `dim`. `dtype`: convert self first."""
        return reduce.cumsum(self, dim, dtype=dtype)

    @public
    def cumprod(self, dim: int, *, dtype: DType = None) -> Tensor:
        """Products up to and including each entry of `dim`. `dtype`: convert self first."""
        return reduce.cumprod(self, dim, dtype=dtype)

    @public
    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The largest element over `dim` (one, several, or None: all). Ties share the gradient."""
        return reduce.amax(self, dim, keepdim)

    @public
    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The smallest element over `dim` (one, several, or None: all). Ties share the gradient."""
        return reduce.amin(self, dim, keepdim)

    @overload
    def max(self, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def max(self, dim: int, keepdim: bool = False) -> order.ValuesIndices: ...
    @public
    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element, with `dim` the pair (values, indices), with a tensor the larger of two elements."""
        return order.max(self, dim, keepdim)

    @overload
    def min(self, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def min(self, dim: int, keepdim: bool = False) -> order.ValuesIndices: ...
    @public
    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element, with `dim` the pair (values, indices), with a tensor the smaller of two elements."""
        return order.min(self, dim, keepdim)

    @overload
    def median(self, dim: None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def median(self, dim: int, keepdim: bool = False) -> order.ValuesIndices: ...
    @public
    def median(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The element in the middle; with `dim` the pair (values, indices)."""
        return order.median(self, dim, keepdim)

    @public
    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where along `dim` (in the flattened tensor for None) the largest element stands, the first at a tie."""
        return reduce.argmax(self, dim, keepdim)

    @public
    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where along `dim` (in the flattened tensor for None) the smallest element stands, the first at a tie."""
        return reduce.argmin(self, dim, keepdim)

    @public
    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether one element over `dim` is true (not zero)."""
        return reduce.any(self, dim, keepdim)

    @public
    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether all elements over `dim` are true (not zero)."""
        return reduce.all(self, dim, keepdim)

    @public
    def count_nonzero(self, dim: Dim = None) -> Tensor:
        """How many elements over `dim` (one, several, or None: all) are not 0. Integers: no gradient."""
        return reduce.count_nonzero(self, dim)

    @public
    def argsort(self, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Tensor:
        """The order that sorts self along `dim`; equal elements stay in theirs, whatever `stable` says."""
        return order.argsort(self, dim, descending, stable=stable)

    @public
    def sort(self, dim: int = -1, descending: bool = False, *, stable: bool = True) -> order.ValuesIndices:
        """self sorted along `dim`, and the order that sorts it."""
        return order.sort(self, dim, descending, stable=stable)

    @public
    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> order.ValuesIndices:
        """The k largest (or smallest) elements along `dim`, the first first, and where they stood."""
        return order.topk(self, k, dim, largest, sorted)

    @overload
    def unique(
        self,
        sorted: bool = True,
        return_inverse: Literal[False] = False,
        return_counts: Literal[False] = False,
        dim: int | None = None,
    ) -> Tensor: ...
    @overload
    def unique(
        self, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
    ) -> tuple[Tensor, ...]: ...
    def unique(
        self, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
    ) -> Any:
        """The different elements, from the smallest on: (N,). With `dim` the different entries of it. No gradient."""
        return order.unique(self, sorted, return_inverse, return_counts, dim)

    def bincount(self, weights: Any = None, minlength: int = 0) -> Tensor:
        """How often each integer from 0 on occurs in a vector, or the sums of their weights."""
        return order.bincount(self, weights, minlength)
