"""What can be computed with a tensor as a whole: shapes, products, indexing; reductions are in `reductions`.

Spelled out one by one, so that editors, type checkers and readers see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

from ..backend import DType
from ..graph.conversion import as_dtype, to_array
from ..graph.device import device as Device
from ..graph.device import device_of
from ..graph.errors import public
from ..graph.saved_tensors import shares_memory
from ..ops import gather as _gather
from ..ops import index as _index
from ..ops import layout, linalg, logic
from ..ops import shape as _shape
from ..ops.dims import lengths
from . import random
from .operators import Number, Operand
from .reductions import Dim, Reductions
from .rng import Generator

if TYPE_CHECKING:
    from .tensor import Tensor


class Methods(Reductions):
    """The methods of `Tensor`. Where one takes `dim` and `keepdim`, `axis` and `keepdims` do as well."""

    __slots__ = ()

    # --- shape ---

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return _shape.permute(self, dims=tuple(range(self.array.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped."""
        return _shape.mT(self)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one length may be -1. A view where the memory layout allows it."""
        return _shape.reshape(self, lengths("reshape", shape, -1))

    def view(self, *shape: Any) -> Tensor:
        """The same memory in another shape; one length may be -1.

        Raises:
            RuntimeError: if the elements do not lie so that they can be read in that order; `reshape` copies them.
        """
        return self._viewed("view", lengths("view", shape, -1))

    def _viewed(self, name: str, shape: tuple[int, ...]) -> Tensor:
        view: Tensor = _shape.reshape(self, shape)
        if not shares_memory(view.array, self.array) and view.array.size:
            raise RuntimeError(
                f"{name}: the memory of this tensor of shape {self.array.shape} is not row by row, so it cannot be "
                f"shown in shape {view.array.shape}; use reshape(), which copies it, or contiguous() first"
            )
        return view

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The dimensions from `start_dim` to `end_dim` as one."""
        return _shape.flatten(self, start_dim, end_dim)

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order: `dims` names for each which one it was. A view."""
        return _shape.permute(self, dims[0] if len(dims) == 1 else dims)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """self with two dimensions swapped. A view."""
        return _shape.transpose(self, dim0, dim1)

    swapaxes = transpose

    def t(self) -> Tensor:
        """The transpose of a matrix."""
        return _shape.t(self)

    def ravel(self) -> Tensor:
        """The elements one after another: (N,). A view where the memory layout allows it."""
        return _shape.ravel(self)

    @public
    def unflatten(self, dim: int, sizes: tuple[int, ...]) -> Tensor:
        """Dimension `dim` as several of these lengths, one of which may be -1."""
        return _shape.unflatten(self, dim, sizes)

    def unfold(self, dimension: int, size: int, step: int) -> Tensor:
        """Windows of `size` entries along a dimension, each `step` after the one before, as a new last dimension."""
        return layout.unfold(self, dimension, size, step)

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """The entries self[i, i + offset] of two dimensions, as the last dimension instead of them. A view."""
        return layout.diagonal(self, offset, dim1, dim2)

    def diag(self, diagonal: int = 0) -> Tensor:
        """The diagonal of a matrix, or a matrix with this diagonal: (N, N) -> (N,), (N,) -> (N, N)."""
        return layout.diag(self, diagonal)

    def trace(self) -> Tensor:
        """The sum of the diagonal of a matrix."""
        return layout.trace(self)

    @public
    def unsqueeze(self, dim: int) -> Tensor:
        """self with a dimension of length 1 put in at `dim`."""
        return _shape.unsqueeze(self, dim)

    @public
    def squeeze(self, dim: Dim = None) -> Tensor:
        """self without its dimensions of length 1; with `dim`, without that one (or those), if its length is 1."""
        return _shape.squeeze(self, dim)

    def broadcast_to(self, *shape: Any) -> Tensor:
        """self repeated to `shape` as broadcasting does; -1 leaves a length as it is. A view."""
        return _shape.broadcast_to(self, shape=lengths("broadcast_to", shape))

    def expand(self, *sizes: Any) -> Tensor:
        """As `broadcast_to`; -1 leaves a length as it is."""
        return _shape.expand(self, lengths("expand", sizes, -1))

    @public
    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """self cut along `dim` into `chunks` pieces of one size; the last may be smaller. Views."""
        return _shape.chunk(self, chunks, dim)

    @public
    def split(self, split_size: int | list[int], dim: int = 0) -> tuple[Tensor, ...]:
        """self cut along `dim` into pieces of one size (the last may be smaller), or of the sizes listed. Views."""
        return _shape.split(self, split_size, dim)

    @public
    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The entries of dimension `dim`, each without it. Views."""
        return _shape.unbind(self, dim)

    def flip(self, *dim: Any, dims: Any = None) -> Tensor:
        """self with the order of the elements reversed along `dim` (one or several)."""
        return _shape.flip(self, dims if dims is not None else dim[0] if len(dim) == 1 else dim)

    # --- linear algebra and indexing ---

    def matmul(self, other: Operand) -> Tensor:
        """Matrix product, as `@`: a 1-D operand is a row (left) or a column (right)."""
        return linalg.matmul(self, other)

    def gather(self, dim: int, index: Operand) -> Tensor:
        """Entry by entry along `dim`: y[i, j] = self[index[i, j], j] for dim=0. `index` may be smaller elsewhere."""
        return _gather.gather(self, dim, index)

    def movedim(self, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Tensor:
        """The dimensions `source` moved to the places `destination`, the others in their order. A view."""
        return _shape.movedim(self, source, destination)

    def repeat(self, *repeats: Any) -> Tensor:
        """self laid out `repeats[d]` times along each dimension d; new dimensions come first."""
        return _shape.repeat(self, lengths("repeat", repeats))

    def tile(self, *dims: Any) -> Tensor:
        """As `repeat`, but fewer numbers than dimensions are for the last of them."""
        return _shape.tile(self, lengths("tile", dims))

    @public
    def repeat_interleave(self, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
        """Each entry of `dim` several times in a row: one number for all, or a list with one for each."""
        return layout.repeat_interleave(self, repeats, dim, output_size=output_size)

    @public
    def roll(self, shifts: int | tuple[int, ...], dim: Dim = None) -> Tensor:
        """The elements moved on by `shifts` along `dim`, those pushed out coming in again; in flat order for None."""
        return _shape.roll(self, shifts, dim)

    def dot(self, other: Operand) -> Tensor:
        """The sum of products of two vectors. self (N,), other (N,) -> ()."""
        return linalg.dot(self, other)

    def outer(self, other: Operand) -> Tensor:
        """All products of two vectors. self (N,), other (M,) -> (N, M)."""
        return linalg.outer(self, other)

    def index_select(self, dim: int, index: Operand) -> Tensor:
        """The entries of dimension `dim` that a list of integers names, in that order."""
        return _gather.index_select(self, dim, index)

    def scatter_add(self, dim: int, index: Operand, src: Operand) -> Tensor:
        """self with src added entry by entry along `dim`: self[index[i, j], j] += src[i, j] for dim=0."""
        return _gather.scatter_add(self, dim, index, src)

    def scatter(
        self, dim: int, index: Operand, src: Operand = None, *, value: Number | None = None, reduce: str | None = None
    ) -> Tensor:
        """This tensor with `src`, a tensor or a number, put in at `index` along `dim`. `value` is a number, too."""
        return _gather.scatter(self, dim, index, src, value=value, reduce=reduce)

    def index_add(self, dim: int, index: Operand, source: Operand, *, alpha: Number = 1) -> Tensor:
        """self with the entries of `source` added to those of dimension `dim` that `index` names."""
        return layout.index_add(self, dim, index, source, alpha=alpha)

    def index_fill(self, dim: int, index: Operand, value: Operand) -> Tensor:
        """self with `value` in the entries of dimension `dim` that `index` names."""
        return layout.index_fill(self, dim, index, value)

    def masked_select(self, mask: Operand) -> Tensor:
        """The elements of self where the mask is true, one after another: (N,)."""
        return _index.masked_select(self, mask)

    @overload
    def nonzero(self, *, as_tuple: Literal[False] = False) -> Tensor: ...
    @overload
    def nonzero(self, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """The indices of the elements that are not 0: (N, D), or D tensors (N,) to index with."""
        return _index.nonzero(self, as_tuple=as_tuple)  # type: ignore[call-overload]

    argwhere = nonzero

    def narrow(self, dim: int, start: SupportsIndex, length: int) -> Tensor:
        """`length` entries of dimension `dim` from `start` on, which counts from the end if negative. A view."""
        return _index.narrow(self, dim, start, length)

    def select(self, dim: int, index: int) -> Tensor:
        """The entry of dimension `dim` at `index`, without that dimension. A view."""
        return _index.select(self, dim, index)

    def addmm(self, mat1: Operand, mat2: Operand, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
        """beta · self + alpha · mat1 @ mat2. self (M,), mat1 (N, K), mat2 (K, M) -> (N, M)."""
        return linalg.addmm(self, mat1, mat2, beta=beta, alpha=alpha)

    def mv(self, vec: Operand) -> Tensor:
        """The product of a matrix and a vector. self (N, K), vec (K,) -> (N,)."""
        return linalg.mv(self, vec)

    def mm(self, other: Operand) -> Tensor:
        """The product of two matrices. self (N, K), other (K, M) -> (N, M)."""
        return linalg.mm(self, other)

    def bmm(self, other: Operand) -> Tensor:
        """The products of matrices in two batches of one length. self (B, N, K), other (B, K, M) -> (B, N, M)."""
        return linalg.bmm(self, other)

    def view_as(self, other: Tensor) -> Tensor:
        """As `view`, in the shape of `other`."""
        return self._viewed("view_as", other.shape)

    def expand_as(self, other: Tensor) -> Tensor:
        """As `expand`, to the shape of `other`."""
        return _shape.broadcast_to(self, other.shape)

    def isclose(self, other: Tensor, rtol: Number = 1e-5, atol: Number = 1e-8, equal_nan: bool = False) -> Tensor:
        """Whether |self - other| <= atol + rtol · |other|, element by element."""
        return logic.isclose(self, other, rtol, atol, equal_nan)

    def allclose(self, other: Tensor, rtol: Number = 1e-5, atol: Number = 1e-8, equal_nan: bool = False) -> bool:
        """Whether all elements are close to each other: a Python boolean. See `isclose`."""
        return logic.allclose(self, other, rtol, atol, equal_nan)

    def equal(self, other: Tensor) -> bool:
        """Whether `other` has the same shape and the same elements."""
        return logic.equal(self, other)

    def masked_fill(self, mask: Operand, value: Operand) -> Tensor:
        """self with `value`, in the dtype of self, where the mask is true."""
        return _index.masked_fill(self, mask, value)

    @public
    def take_along_dim(self, indices: Operand, dim: int | None = None) -> Tensor:
        """As `gather`, with the lengths of `indices` and this tensor broadcast elsewhere than along `dim`."""
        return _gather.take_along_dim(self, indices, dim)

    def tril(self, diagonal: int = 0) -> Tensor:
        """The elements on and below a diagonal of the last two dimensions, zeros elsewhere."""
        return layout.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The elements on and above a diagonal of the last two dimensions, zeros elsewhere."""
        return layout.triu(self, diagonal)

    # --- random numbers ---

    def multinomial(
        self,
        num_samples: int,
        replacement: bool = False,
        *,
        generator: Generator | None = None,
        batch_dim: int | None = None,
    ) -> Tensor:
        """Numbers of classes, drawn with these probabilities; see `tg.multinomial`."""
        return random.multinomial(self, num_samples, replacement, generator=generator, batch_dim=batch_dim)

    def bernoulli(self, *, generator: Generator | None = None, batch_dim: int | None = None) -> Tensor:
        """1 with these probabilities and else 0; see `tg.bernoulli`."""
        return random.bernoulli(self, generator=generator, batch_dim=batch_dim)  # type: ignore[arg-type]

    # --- new tensors of the same kind ---

    def new_full(
        self, size: tuple[int, ...], fill_value: Number, *, dtype: DType = None, device: str | Device | None = None
    ) -> Tensor:
        """All of one value, with the dtype and on the device of this tensor unless others are given."""
        target = device_of(self.array) if device is None else Device(device)
        kind = self.array.dtype if dtype is None else as_dtype(dtype)
        made = target.backend.full(lengths("new_full", (size,)), fill_value, kind, target.index)
        return self.result_class.wrap(made)

    def new_tensor(self, data: Any, *, dtype: DType = None, device: str | Device | None = None) -> Tensor:
        """`data` as a tensor, with the dtype and on the device of this one unless others are given."""
        target = device_of(self.array) if device is None else Device(device)
        new: Tensor = self.result_class.wrap(to_array(data, self.array.dtype if dtype is None else dtype, target))
        return new

    def new(self, *size: Any) -> Tensor:
        """PyTorch's old name: of lengths as `new_zeros`, of a list, an array or a tensor as `new_tensor`."""
        if len(size) == 1 and (isinstance(size[0], list) or hasattr(size[0], "dtype")):
            return self.new_tensor(size[0])
        return self.new_full(lengths("new", size or (0,)), 0)

    def new_zeros(self, *size: Any, dtype: DType = None, device: str | Device | None = None) -> Tensor:
        """All zeros, with the dtype and on the device of this tensor unless others are given."""
        return self.new_full(lengths("new_zeros", size), 0, dtype=dtype, device=device)

    def new_empty(self, *size: Any, dtype: DType = None, device: str | Device | None = None) -> Tensor:
        """As `new_zeros`: for numbers to come."""
        return self.new_full(lengths("new_empty", size), 0, dtype=dtype, device=device)

    def new_ones(self, *size: Any, dtype: DType = None, device: str | Device | None = None) -> Tensor:
        """All ones, with the dtype and on the device of this tensor unless others are given."""
        return self.new_full(lengths("new_ones", size), 1, dtype=dtype, device=device)
