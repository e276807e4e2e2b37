"""What can be computed with a tensor: operators and methods, each one the operation of that name from `ops`.

Spelled out one by one, so that editors, type checkers and readers see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from .graph import Value
from .ops import elementwise, linalg, logic, reduce, shape
from .ops import index as _index
from .ops.dims import numpy_names

if TYPE_CHECKING:
    from .tensor import Tensor

Dim: TypeAlias = int | tuple[int, ...] | None
Number: TypeAlias = float  # inside the class, `float` is the method
Operand: TypeAlias = Any  # a Tensor, an array, or a number


class Operators(Value):
    """The operators and methods of `Tensor`. Where one takes `dim` and `keepdim`, `axis` and `keepdims` do as well."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Tensor:
        return elementwise.add(self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return elementwise.add(other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return elementwise.sub(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return elementwise.sub(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return elementwise.mul(self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return elementwise.mul(other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return elementwise.div(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return elementwise.div(other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return elementwise.pow(self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return elementwise.pow(other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return linalg.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return linalg.matmul(other, self)

    def __neg__(self) -> Tensor:
        return elementwise.neg(self)

    def __abs__(self) -> Tensor:
        return elementwise.abs(self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return logic.eq(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return logic.ne(self, other)

    def __lt__(self, other: Operand) -> Tensor:
        return logic.lt(self, other)

    def __le__(self, other: Operand) -> Tensor:
        return logic.le(self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return logic.gt(self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return logic.ge(self, other)

    __hash__ = object.__hash__  # by identity: == compares elements

    def __getitem__(self, key: Any) -> Tensor:
        return _index.index(self, key)

    # --- elementwise ---

    def add(self, other: Operand) -> Tensor:
        return elementwise.add(self, other)

    def sub(self, other: Operand) -> Tensor:
        return elementwise.sub(self, other)

    def mul(self, other: Operand) -> Tensor:
        return elementwise.mul(self, other)

    def div(self, other: Operand) -> Tensor:
        return elementwise.div(self, other)

    def pow(self, other: Operand) -> Tensor:
        return elementwise.pow(self, other)

    def maximum(self, other: Operand) -> Tensor:
        return elementwise.maximum(self, other)

    def minimum(self, other: Operand) -> Tensor:
        return elementwise.minimum(self, other)

    def neg(self) -> Tensor:
        return elementwise.neg(self)

    def exp(self) -> Tensor:
        return elementwise.exp(self)

    def log(self) -> Tensor:
        return elementwise.log(self)

    def sqrt(self) -> Tensor:
        return elementwise.sqrt(self)

    def sin(self) -> Tensor:
        return elementwise.sin(self)

    def cos(self) -> Tensor:
        return elementwise.cos(self)

    def tanh(self) -> Tensor:
        return elementwise.tanh(self)

    def sigmoid(self) -> Tensor:
        return elementwise.sigmoid(self)

    def relu(self) -> Tensor:
        return elementwise.relu(self)

    def abs(self) -> Tensor:
        return elementwise.abs(self)

    def sign(self) -> Tensor:
        return elementwise.sign(self)

    def square(self) -> Tensor:
        return elementwise.mul(self, self)

    def where(self, condition: Operand, other: Operand) -> Tensor:
        """self where the condition holds, other elsewhere."""
        return elementwise.where(condition, self, other)

    # --- reductions ---

    @numpy_names
    def sum(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return reduce.sum(self, dim, keepdim)

    @numpy_names
    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return reduce.mean(self, dim, keepdim)

    @numpy_names
    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return reduce.amax(self, dim, keepdim)

    @numpy_names
    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return reduce.amin(self, dim, keepdim)

    @numpy_names
    def var(self, dim: Dim = None, keepdim: bool = False, correction: int = 1) -> Tensor:
        return reduce.var(self, dim, keepdim, correction)

    @numpy_names
    def logsumexp(self, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
        return reduce.logsumexp(self, dim, keepdim)

    @numpy_names
    def softmax(self, dim: int) -> Tensor:
        return reduce.softmax(self, dim)

    @numpy_names
    def log_softmax(self, dim: int) -> Tensor:
        return reduce.log_softmax(self, dim)

    # --- shape ---

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return shape.permute(self, dims=tuple(range(self.array.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped."""
        return shape.mT(self)

    def reshape(self, *lengths: Any) -> Tensor:
        return shape.reshape(self, shape=_sequence(lengths))

    def view(self, *lengths: Any) -> Tensor:
        """As `reshape`."""
        return shape.reshape(self, shape=_sequence(lengths))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The dimensions from `start_dim` to `end_dim` as one."""
        return shape.flatten(self, start_dim, end_dim)

    def permute(self, *dims: Any) -> Tensor:
        return shape.permute(self, dims=_sequence(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return shape.transpose(self, dim0, dim1)

    def t(self) -> Tensor:
        """The transpose of a matrix."""
        return self.T

    @numpy_names
    def unsqueeze(self, dim: int) -> Tensor:
        return shape.unsqueeze(self, dim)

    @numpy_names
    def squeeze(self, dim: Dim = None) -> Tensor:
        return shape.squeeze(self, dim)

    def broadcast_to(self, lengths: tuple[int, ...]) -> Tensor:
        return shape.broadcast_to(self, shape=tuple(lengths))

    def expand(self, *lengths: Any) -> Tensor:
        """As `broadcast_to`; -1 leaves a length as it is."""
        return shape.expand(self, _sequence(lengths))

    @numpy_names
    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        return shape.chunk(self, chunks, dim)

    @numpy_names
    def split(self, split_size_or_sections: int | list[int], dim: int = 0) -> tuple[Tensor, ...]:
        return shape.split(self, split_size_or_sections, dim)

    @numpy_names
    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        return shape.unbind(self, dim)

    def flip(self, *dims: Any) -> Tensor:
        return shape.flip(self, _sequence(dims))

    # --- linear algebra and indexing ---

    def matmul(self, other: Operand) -> Tensor:
        return linalg.matmul(self, other)

    def gather(self, dim: int, index: Operand) -> Tensor:
        """Entry by entry along `dim`: y[i, j] = self[index[i, j], j] for dim=0. `index` may be smaller elsewhere."""
        return _index.gather(self, dim, index)

    @numpy_names
    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return reduce.argmax(self, dim, keepdim)


def _sequence(given: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) from either f(2, 3) or f((2, 3))."""
    return tuple(given[0]) if len(given) == 1 and not isinstance(given[0], int) else given
