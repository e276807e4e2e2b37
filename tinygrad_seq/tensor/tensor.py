"""`Tensor`: an array that knows where it came from. What can be computed with one is in `methods`."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any, overload

from ..backend import Array, DType, backend_of, bool_, float16, float32, float64, int16, int32, int64, is_array, uint8
from ..graph import FunctionNode, Leaf, Node, Output, Value
from ..graph.conversion import as_dtype, names_dtype, require_numbers_in, to_array
from ..graph.device import device as Device
from ..graph.device import device_of, home_of, resolve
from ..graph.grad_mode import is_grad_enabled
from ..graph.saved_tensors import is_writable, lend_view, share_storage, unshare_storage, version_counter
from ..graph.tracing_hook import tracers
from ..ops import elementwise, shape
from ..ops.dims import normalize_dim
from . import numpy_protocols
from .autograd_methods import AutogradMethods
from .inplace import InPlaceMethods
from .legacy_types import Format, Size, dtype_of, old_name, sized
from .methods import Methods
from .operators import Elementwise

bool_type = bool  # a method has its name


class Tensor(AutogradMethods, InPlaceMethods, Methods, Elementwise, Value):
    """An array of numbers on some device, with a reverse-mode derivative.

    `Tensor(data)` copies what it is given: numbers, nested lists, an array or a tensor. Numbers become float32, also
    those of an array (`tg.tensor` keeps dtypes); a tensor keeps its dtype. `Tensor(2, 3)`, of lengths, is for numbers
    to come, as `tg.empty`.

    Args:
        data: the numbers, or lengths.
        dtype: of the tensor, if it is to differ from that of the data.
        device: where to put it; by default, what is on a GPU stays there, and all else goes to the default device.
        requires_grad: whether `backward` is to leave the gradient in `.grad`. Floating-point tensors only.
    """

    __slots__ = ()
    array: Array
    node: Node | None

    def __init__(
        self, *data: Any, dtype: DType = None, device: str | Device | None = None, requires_grad: bool = False
    ) -> None:
        given = sized(data)
        made = tensor(given, dtype, device)
        keeps = dtype is not None or isinstance(given, Value) or made.dtype.kind == "c"
        self.array = made.array if keeps or made.dtype == float32 else made.array.astype(float32)
        self.node = None
        if requires_grad:
            self.requires_grad_()

    # --- what it is ---

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the dimensions."""
        return self.array.shape

    @property
    def dtype(self) -> DType:
        """What the numbers are, as `tg.float32`."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    @property
    def device(self) -> Device:
        """Where the numbers are."""
        return device_of(self.array)

    @overload
    def size(self, dim: None = None) -> Size: ...
    @overload
    def size(self, dim: builtins.int) -> builtins.int: ...
    def size(self, dim: builtins.int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return Size(self.shape) if dim is None else self.shape[normalize_dim("size", dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return int(self.array.size)

    nelement = numel

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor; it holds one number, which .item() returns")
        return self.shape[0]

    def __contains__(self, element: Any) -> bool_type:
        """Whether some element is equal to this number, or to an element of this tensor."""
        if not isinstance(element, (builtins.int, builtins.float, complex, Value)) and not is_array(element):
            raise TypeError(f"in: a tensor contains numbers, got a {type(element).__name__}")
        return bool_type((self == element).any())

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor; it holds one number, which .item() returns")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, this one is {self.dtype}")
        return int(self.item())

    def __repr__(self) -> str:
        text = backend_of(self.array).to_host(self.array)
        tail = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype}"
        tail += "" if self.device.type == "cpu" else f", device='{self.device}'"
        if isinstance(self.node, Leaf):
            tail += ", requires_grad=True"
        elif self.node is not None:
            made_by = self.node.parents[0] if isinstance(self.node, Output) and self.node.parents else self.node
            tail += (
                f", grad_fn=<{made_by.primitive.name}>" if isinstance(made_by, FunctionNode) else ", grad_fn=<freed>"
            )
        return backend_of(text).format_array(text, prefix="tensor(", suffix=f"{tail})")

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    # --- the numbers ---

    def item(self) -> builtins.int | Any:  # a float alone could be no index, an index alone no loss
        """The one number of a tensor with one element, as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"item: takes a tensor with one element, got shape {self.shape}; use .tolist()")
        return self.array.item()

    def tolist(self) -> Any:
        """The numbers as nested lists of Python numbers."""
        return self.array.tolist()

    def numpy(self) -> Array:
        """A read-only NumPy view of the numbers. Copy it to write to it.

        Raises:
            TypeError: on a GPU: move the tensor with `.cpu()` first.
            RuntimeError: if a gradient would be lost: `.detach()` the tensor first.
        """
        if self.device.type != "cpu":
            raise TypeError(f"numpy: the tensor is on {self.device}; move it first: .cpu().numpy()")
        if self.requires_grad and is_grad_enabled():
            raise RuntimeError("numpy: the tensor requires a gradient, which NumPy would lose; use .detach().numpy()")
        view = self.array.view()
        view.flags.writeable = False
        lend_view(self, view)
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        view = self.numpy()
        return view.astype(dtype) if copy or (dtype is not None and dtype != view.dtype) else view

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """NumPy's functions of elements, as ours: np.exp(tensor) and array * tensor are tensors, with gradients."""
        return numpy_protocols.call_ufunc(ufunc, method, inputs, settings)

    def __array_function__(self, function: Any, _types: Any, args: Any, settings: Any) -> Any:
        """NumPy's other functions, as ours: np.sum(tensor) is a tensor, with a gradient."""
        return numpy_protocols.call_function(function, args, settings)

    def __dlpack__(self, **settings: Any) -> Any:
        """The memory for another library, without a copy: `torch.from_dlpack(tensor.detach())`."""
        if self.requires_grad:
            raise RuntimeError("__dlpack__: the tensor requires a gradient, which would be lost; use .detach()")
        version_counter.export(self.array)
        return self.array.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def detach(self) -> Tensor:
        """The same numbers (the same memory) without the graph."""
        if tracers:
            tracers[-1].captured((self,))
        detached: Tensor = Tensor.wrap(self.array)
        share_storage(self, detached)
        return detached

    @property
    def data(self) -> Tensor:
        """As `detach()`. Assigning puts another array of the same shape into this tensor."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data: takes a tensor, got a {type(value).__name__}; use copy_() for numbers and arrays")
        if isinstance(self.node, Leaf) and value.dtype.kind not in "fc":
            raise TypeError(f"data: a tensor of {value.dtype} cannot require a gradient, as this one does")
        if value.shape != self.shape:
            raise ValueError(f"data: cannot put shape {value.shape} into a tensor of shape {self.shape}")
        self.array = value.array
        unshare_storage(self)
        share_storage(value, self)
        leaf = self._keeper()
        if isinstance(leaf, Leaf):
            leaf.adopt(self.array)
            leaf.grad = None if leaf.grad is None else leaf.grad.to(value)

    def __reduce__(self) -> Any:
        """What `copy` and `pickle` ask for. The result of an operation has a graph behind it, which is not copied."""
        if not self.is_leaf:
            raise RuntimeError("copy: this tensor is the result of an operation; copy its detach() or clone() it")
        return _restored, (type(self), self.array, self.requires_grad, self.grad)

    def clone(self, *, memory_format: Format = None) -> Tensor:
        """A copy; gradients pass through it."""
        return elementwise.cast(self, dtype=self.dtype)

    def contiguous(self, memory_format: Format = None) -> Tensor:
        """This tensor in row-major memory: itself if it is already."""
        return self if self.array.flags.c_contiguous else shape.contiguous(self)

    def to(
        self,
        *targets: Any,
        dtype: DType = None,
        device: str | Device | None = None,
        non_blocking: bool_type = False,
        copy: bool_type = False,
        memory_format: Format = None,
    ) -> Tensor:
        """This tensor with another dtype, on another device, or as another tensor has it. Itself if nothing changes.

        Args:
            non_blocking: let a GPU fetch the numbers of a tensor in pinned memory by itself, while Python goes on; see
                `pin_memory`. Write to that tensor only after `tg.cuda.synchronize()`.
            copy: give a copy also where nothing changes. As in PyTorch, this and the one above may come behind what
                `targets` name.
        """
        if len(targets) > 1:
            switches = [target for target in targets if isinstance(target, bool_type)]
            non_blocking, copy = [*switches, *[non_blocking, copy][len(switches) :]]
            targets = targets[: len(targets) - len(switches)]
        for target in targets:
            if isinstance(target, Tensor):
                dtype, device = target.dtype, target.device
            elif isinstance(target, Device) or (isinstance(target, str) and not names_dtype(target)):
                device = target
            else:
                dtype = target
        moved = self
        if device is not None and Device(device) != self.device:
            moved = elementwise.to_device(self, device=Device(device), source=self.device, non_blocking=non_blocking)
        if dtype is not None and as_dtype(dtype) != self.dtype:
            moved = elementwise.cast(moved, dtype=as_dtype(dtype))
        return moved.clone() if copy and moved is self else moved

    def cpu(self) -> Tensor:
        """This tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool_type = False) -> Tensor:
        """This tensor on a GPU: the first one, or the one of that number or name."""
        name = f"cuda:{device or 0}" if isinstance(device, (int, type(None))) else device
        return self.to(device=name, non_blocking=non_blocking)

    def pin_memory(self) -> Tensor:
        """A copy in memory that the system does not move, from which a GPU fetches numbers by itself.

        >>> batch = batch.pin_memory().to("cuda", non_blocking=True)

        Raises:
            RuntimeError: without a GPU; or if the tensor is on one, or requires a gradient.
        """
        if self.device.type != "cpu" or self.requires_grad:
            where = f"is on {self.device}" if self.device.type != "cpu" else "requires a gradient"
            raise RuntimeError(f"pin_memory: takes a tensor of numbers on the CPU, this one {where}")
        if self.is_pinned():
            return self
        return self.wrap(Device("cuda").backend_module.pinned(self.array))

    def is_pinned(self) -> bool_type:
        """Whether `pin_memory` made it."""
        try:
            return self.device.type == "cpu" and bool_type(Device("cuda").backend_module.is_pinned(self.array))
        except RuntimeError:  # no GPU
            return False

    def half(self, memory_format: Format = None) -> Tensor:
        """This tensor as float16."""
        return self.to(float16)

    def float(self, memory_format: Format = None) -> Tensor:
        """This tensor as float32."""
        return self.to(float32)

    def double(self, memory_format: Format = None) -> Tensor:
        """This tensor as float64."""
        return self.to(float64)

    def long(self, memory_format: Format = None) -> Tensor:
        """This tensor as int64."""
        return self.to(int64)

    def int(self, memory_format: Format = None) -> Tensor:
        """This tensor as int32."""
        return self.to(int32)

    def short(self, memory_format: Format = None) -> Tensor:
        """This tensor as int16."""
        return self.to(int16)

    def byte(self, memory_format: Format = None) -> Tensor:
        """This tensor as uint8."""
        return self.to(uint8)

    def bool(self, memory_format: Format = None) -> Tensor:
        """This tensor as booleans."""
        return self.to(bool_)

    def type(self, dtype: DType = None) -> Any:
        """As `to(dtype)`, also by PyTorch's old names, as "torch.LongTensor"; without a dtype, the old name."""
        return old_name(self.dtype, self.device.type) if dtype is None else self.to(dtype=as_dtype(dtype_of(dtype)))

    def is_writable(self) -> bool_type:
        """Whether in-place operations can write here: not to read-only memory, nor to what `expand` made."""
        return is_writable(self.array)

    def is_contiguous(self) -> bool_type:
        """Whether the memory is row-major without gaps."""
        return bool_type(self.array.flags.c_contiguous)

    @property
    def is_cuda(self) -> bool_type:
        """Whether it is on a GPU."""
        return self.device.type == "cuda"

    def is_floating_point(self) -> bool_type:
        """Whether the numbers are floating-point."""
        return self.dtype.kind == "f"

    def type_as(self, other: Tensor) -> Tensor:
        """This tensor with the dtype of `other`."""
        return self.to(other.dtype)


Value.result_class = Tensor


def _restored(cls: type[Tensor], array: Array, requires_grad: bool, grad: Tensor | None) -> Tensor:
    require_numbers_in("copy", array)
    restored: Tensor = cls.wrap(array)
    if requires_grad or grad is not None:
        restored.requires_grad_()
        restored.grad = grad
        restored.requires_grad_(requires_grad)
    return restored


def tensor(data: Any, dtype: DType = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor from numbers, nested lists, an array or a tensor, which it copies.

    Floats become float32 unless they come in an array, which keeps its dtype. Arguments as of `Tensor`.
    """
    made: Tensor = Tensor.wrap(to_array(data, dtype, resolve(device) if device is not None else home_of(data)))
    return made.requires_grad_() if requires_grad else made
