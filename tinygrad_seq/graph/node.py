"""Nodes: what the graph is made of, and the values that come from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from ..backend import Array, DType
from .saved_tensors import SharedStorage, next_number, owner_of

if TYPE_CHECKING:
    from .primitive import Primitive


class Value:
    """An array and the node that it came from (None: a constant). `Tensor` adds operators and methods to it.

    Attributes:
        shared_storage: one object for all tensors that alias this one; missing where none does.
        view_of: of a view, what it was a view of when it was taken (a weak reference), the primitive that took it with
            its settings, and the `view_of` of that; missing elsewhere.
    """

    __slots__ = ("__weakref__", "array", "node", "shared_storage", "view_of")
    result_class: ClassVar[type[Value]]
    is_parameter: ClassVar[bool] = False  # whether it is a module's, and so the same in all processes of a group
    array: Array
    node: Node | None
    shared_storage: SharedStorage
    view_of: tuple[ref[Value], Primitive[...], dict[str, Any], Any]

    @classmethod
    def wrap(cls, array: Array, node: Node | None = None) -> Any:
        """A value around an array that is ours already: no copy, no conversion."""
        value = object.__new__(cls)
        value.array = array
        value.node = node
        return value


Value.result_class = Value


class Node:
    """A point of the graph that a gradient can reach; it knows the shape and dtype that this gradient must have.

    Attributes:
        number: grows with each node, so sorting by it sorts the graph topologically.
        parents: for each input the node it came from, or None where no gradient is wanted. None once freed.
        hooks: what to call with the gradient that arrives here; missing where there is nothing.
    """

    __slots__ = ("dtype", "hooks", "number", "parents", "shape")
    any_hooks: ClassVar[bool] = False  # whether a node ever got one: until then no sweep looks for them
    hooks: list[Callable[[Any], Any]]
    parents: Sequence[Node | None] | None
    shape: tuple[int, ...]
    dtype: DType
    number: int

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size


class LazyGrad:
    """A gradient that is there as soon as somebody looks."""

    def take(self) -> Any:
        """The tensor."""
        raise NotImplementedError


class Leaf(Node):
    """The node of a tensor that requires a gradient by its user's word; `backward` leaves the gradient here.

    Attributes:
        closed: whether it was a variable of `grad` or its kin, which are done, so that nobody can ask for it any more.
        frozen: while its tensor requires no gradient, so that none is left here: a weak reference to that; else None.
        is_parameter: whether its tensor is a module's parameter.
    """

    __slots__ = ("_grad", "closed", "frozen", "is_parameter", "memory")
    parents: Sequence[Node | None] | None
    shape: tuple[int, ...]
    dtype: DType
    number: int
    closed: bool
    is_parameter: bool
    memory: int

    def __init__(self, array: Array, is_parameter: bool = False) -> None:
        self.parents = ()
        self.number = next_number()
        self._grad: Any = None
        self.closed = False
        self.is_parameter = is_parameter
        self.frozen: ref[Value] | None = None
        self.adopt(array)

    @property
    def grad(self) -> Any:
        """The gradient: a tensor, or None."""
        grad = self._grad
        if isinstance(grad, LazyGrad):
            later, grad = grad, grad.take()
            if self._grad is later:
                self._grad = grad
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        self._grad = value

    @property
    def has_grad(self) -> bool:
        """Whether there is a gradient, without looking at it."""
        return self._grad is not None

    def holds(self, grad: Any) -> bool:
        """Whether this is the gradient."""
        return self._grad is grad

    def adopt(self, array: Array) -> None:
        """Be the node of this array from now on, with the graph that is there."""
        self.shape = array.shape
        self.dtype = array.dtype
        self.memory = id(owner_of(array))


class FunctionNode(Node):
    """One application of a primitive.

    Attributes:
        inputs: for each input its array, if a rule will ask for it; else a node, which has at least shape and dtype.
        output: the output array (for several outputs a tuple of them), if a rule will ask for it; else None.
        params: the static settings.
    """

    __slots__ = ("inputs", "output", "params", "primitive")
    parents: Sequence[Node | None] | None
    primitive: Primitive[...]
    inputs: Sequence[Any]
    output: Any
    params: dict[str, Any]

    def __repr__(self) -> str:
        return f"<{self.primitive.name}>"

    def name(self) -> str:
        """The name of the primitive."""
        return self.primitive.name

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each input the node it came from, or None, and which of its outputs it is."""
        ends = [(p.parents[0], p.index) if isinstance(p, Output) and p.parents else (p, 0) for p in self.parents or ()]
        return tuple(ends)

    def release(self) -> None:
        """Release saved arrays and the edges to its parents."""
        self.parents = self.output = None
        self.inputs = ()


class Output(Node):
    """One of the outputs of a primitive that has several; its parent is the application."""

    __slots__ = ("index",)
    parents: tuple[FunctionNode] | None
    shape: tuple[int, ...]
    dtype: DType
    number: int
    index: int

    def __init__(self, array: Array, application: FunctionNode, index: int) -> None:
        self.parents = (application,)
        self.shape = array.shape
        self.dtype = array.dtype
        self.number = next_number()
        self.index = index

    def release(self) -> None:
        self.parents = None
