"""The gradient of a tensor: asking for it, computing it, keeping it, looking at it as it passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from sys import getrefcount
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..autodiff import recorded_sweep, sweep
from ..backend import SCALAR, Array, array_module, backend_of
from ..backend.dispatch import at, copied
from ..graph import Leaf, Node, Output, Value
from ..graph.conversion import require_fit, to_array
from ..graph.device import device_of
from ..graph.grad_mode import enable_grad
from ..graph.hooks import RemovableHandle, Retained, after_backward
from ..graph.saved_tensors import is_shared, is_writable, owner_of
from ..graph.tracing_hook import tracers

if TYPE_CHECKING:
    from .tensor import Tensor


def wrapped(result: Array) -> Tensor:
    """A tensor around a result of ours, which may be a NumPy scalar."""
    tensor: Tensor = Value.result_class.wrap(
        backend_of(result).asarray(result) if isinstance(result, SCALAR) else result
    )
    return tensor


def owned(found: dict[Node, Any], node: Node, taken: set[int], copied: bool = False) -> Tensor:
    """The gradient of a node in memory of its own: rules hand on what they are given, and what somebody keeps.

    Args:
        found: what the sweep found, which nobody else holds.
        taken: owners of memory, by identity, that somebody has; this one's is added.
        copied: whether it is to be a copy in any case.
    """
    copied = copied or _is_held(found, node)
    g = found[node]
    gradient: Tensor = g if isinstance(g, Value) else wrapped(g)  # type: ignore[assignment]
    owner = owner_of(gradient.array)
    copied = copied or id(owner) in taken or not is_writable(gradient.array)
    taken.add(id(owner))
    if not copied:
        return gradient
    with enable_grad():
        return gradient.clone()


def _is_held(found: dict[Node, Any], node: Node) -> bool:
    """Whether somebody has a gradient, or what it is a view of, besides this dictionary: a rule's constant, a list."""
    if tracers:
        return False  # a program computes with values, and its results are copies
    if getrefcount(found[node]) > 2:  # the dictionary's, and that of getrefcount's argument
        return True
    if isinstance(found[node], Value):
        return is_shared(found[node])
    return getattr(found[node], "base", None) is not None and getrefcount(found[node].base) > 2


def let_go(held: list[Any]) -> Array:
    """The array of the last tensor of a list, which gives it up; a copy if a user still has that tensor or a view."""
    tensor = held.pop()
    array, shared, alive = tensor.array, is_shared(tensor), ref(tensor)
    del tensor
    if not shared and alive() is None:
        return array
    return copied(array)


def _added(gradient: Tensor, new: Tensor, create_graph: bool) -> Tensor:
    """A gradient with another one added, in its memory: who gave or holds it sees the sum there, as in PyTorch."""
    if create_graph or gradient.node is not None or new.node is not None or not gradient.is_writable():
        return gradient + new
    return gradient.add_(new)


def accumulate(
    roots: Sequence[tuple[Node, Tensor]],
    retain_graph: bool | None,
    create_graph: bool,
    leaves: Sequence[Leaf] | None = None,
) -> None:
    """Carry what arrives at the roots back to all leaves, or to some, and add it to their `.grad`."""
    keep = create_graph if retain_graph is None else retain_graph
    if create_graph:
        found = recorded_sweep(roots, leaves, retain_graph=keep, value_class=Value.result_class)
    else:
        found = sweep([(node, seed.array) for node, seed in roots], leaves, retain_graph=keep)
    taken = {id(owner_of(seed.array)) for _, seed in roots}
    with enable_grad() if create_graph else nullcontext():  # the sum is part of what is differentiated in turn
        for leaf in [*found]:
            if isinstance(leaf, Leaf) and not leaf.frozen:
                if tracers:
                    tracers[-1].reads_grad(leaf)
                if leaf.grad is not None and tracers:
                    tracers[-1].adds_to_grad(leaf)
                if leaf.grad is None:
                    leaf.grad = owned(found, leaf, taken, copied=create_graph)
                else:
                    leaf.grad = _added(leaf.grad, found[leaf] if create_graph else wrapped(found[leaf]), create_graph)
    for told in [*after_backward]:
        told(found)


def as_operand(source: Any, beside: Array) -> Tensor:
    """`source` as a tensor; numbers and arrays with the dtype and on the device of the array `beside`."""
    if isinstance(source, Value):
        return source  # type: ignore[return-value]
    array = to_array(source, None, device_of(beside))
    if array.ndim == 0 and beside.dtype.kind in "biu":
        array = to_array(require_fit("copy_", array.item(), beside.dtype), None, device_of(beside))
    fits = array.dtype.kind not in "fc" or beside.dtype.kind in "fc"
    return wrapped(array.astype(beside.dtype) if fits else array)


def _leaf(tensor: Any) -> Leaf:
    """The node of a leaf that requires a gradient; a RuntimeError for anything else."""
    node = getattr(tensor, "node", None)
    if not isinstance(node, Leaf):
        what = "one without" if node is None else "a result; tg.autograd.grad gives its gradient"
        raise RuntimeError(f"backward: inputs are leaves that require a gradient, got {what}")
    return node


class AutogradMethods(Value):
    """The methods of `Tensor` that have to do with gradients."""

    __slots__ = ("_former_keeper",)  # set when a tensor is frozen or detached
    node: Node | None

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can reach this tensor. Assignable on leaves."""
        if tracers and tracers[-1].first_step is not None:
            return bool(tracers[-1].first_step.is_reached(self.node))
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient (or no longer), in place.

        Raises:
            TypeError: for integers and booleans, which have no derivative.
            RuntimeError: for switching it off on the result of an operation; `detach()` gives one without.
        """
        if not requires_grad:
            if not self.is_leaf:
                raise RuntimeError("requires_grad_(False): this tensor is the result of an operation; use .detach()")
            self.detach_()
        elif self.node is None:
            if self.array.dtype.kind not in "fc":
                raise TypeError(
                    f"requires_grad: a tensor of {self.array.dtype} carries no gradient, only floating-point ones do; "
                    "convert it first: .float()"
                )
            keeper = self._keeper()
            self.node = keeper if isinstance(keeper, Leaf) else Leaf(self.array, self.is_parameter)
            self.node.frozen = None
            if keeper is not None and keeper is not self.node:
                self.node.grad = keeper.grad
        return self  # type: ignore[return-value]

    def _keeper(self) -> Leaf | Retained | None:
        """What keeps the gradient of this tensor: its leaf, or the hook that `retain_grad` left; None if nothing does.

        Of a tensor that was frozen or detached in place it is the one of before, also once it is a result.
        """
        if isinstance(self.node, Leaf):
            return self.node
        retained = None if self.node is None else Retained.of(self.node)
        return getattr(self, "_former_keeper", None) if retained is None else retained

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by its user rather than by a recorded operation."""
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def grad_fn(self) -> Node | None:
        """The application of a primitive that this tensor is the result of; None for a leaf."""
        if isinstance(self.node, Output) and self.node.parents:
            return self.node.parents[0]
        return None if isinstance(self.node, Leaf) else self.node

    def detach_(self) -> Tensor:
        """Leave the graph, in place: this tensor is a constant from here on. Its `.grad` stays."""
        if self.node is not None:
            self._former_keeper = keeper = self._keeper()
            if isinstance(keeper, Leaf):
                keeper.frozen = ref(self)
            self.node = None
        return self  # type: ignore[return-value]

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has left here so far, if this is a leaf that requires a gradient, or after `retain_grad`."""
        keeper = self._keeper()
        if tracers and isinstance(keeper, Leaf):
            tracers[-1].reads_grad(keeper)
        return None if keeper is None else keeper.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        keeper = self._keeper()
        if not isinstance(keeper, Leaf):
            if value is not None:
                raise RuntimeError("grad: only a leaf tensor that requires a gradient has one to assign")
            if keeper is not None:
                keeper.grad = None
            return
        if value is not None and not isinstance(value, Value):
            raise TypeError(f"grad: takes a tensor or None, got a {type(value).__name__}")
        if value is self:
            raise RuntimeError("grad: a tensor cannot be its own gradient, which is written to; assign a clone()")
        if value is not None and (value.shape != self.array.shape or value.dtype != self.array.dtype):
            raise ValueError(
                f"grad: a tensor of shape {self.array.shape} and {self.array.dtype} cannot have a gradient of shape "
                f"{value.shape} and {value.dtype}"
            )
        if tracers:
            tracers[-1].reads_grad(keeper, writes=True)
        keeper.grad = value

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add the gradient of this tensor with respect to every leaf that it was computed from to the leaf's `.grad`.

        Args:
            gradient: what arrives at this tensor, of its shape; not needed for a scalar, where it is 1.
            retain_graph: keep the graph, to go through it again. By default what `create_graph` says.
            create_graph: record the backward pass, so that the gradients can be differentiated in turn.
            inputs: the leaves to leave gradients at; all by default.

        Raises:
            RuntimeError: if nothing here requires a gradient, the tensor is not a scalar and no `gradient` was given,
                or the graph was freed by an earlier backward pass.
        """
        if self.node is None:
            raise RuntimeError(
                "backward: this tensor requires no gradient, nor does anything that it was computed from; set "
                "requires_grad=True on the inputs, and compute outside no_grad"
            )
        if inputs is not None and not isinstance(inputs, Value) and not len(inputs):
            raise ValueError("backward: inputs is empty; leave it out for all leaves")
        leaves = None if inputs is None else [_leaf(x) for x in ([inputs] if isinstance(inputs, Value) else inputs)]
        accumulate([(self.node, self._seed(gradient))], retain_graph, create_graph, leaves)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook` with the gradient whenever one arrives at this tensor; what it returns, unless None, replaces it.

        Returns:
            A handle, whose `remove()` ends it.

        Raises:
            RuntimeError: if the tensor requires no gradient, so that none arrives; in the backward pass, if the hook
                returns something of another shape.
        """
        if self.node is None:
            raise RuntimeError("register_hook: this tensor requires no gradient, so none will arrive")
        if not callable(hook):
            raise TypeError(f"register_hook: takes a function of the gradient, got a {type(hook).__name__}")

        def call(g: Any) -> Any:
            given: list[Any] = [g if isinstance(g, Value) else wrapped(g)]
            made = hook(given[0])
            if made is not None:
                if not isinstance(made, Value) or made.array.shape != g.shape:
                    what = f"shape {made.array.shape}" if isinstance(made, Value) else f"a {type(made).__name__}"
                    raise RuntimeError(f"register_hook: the hook must return shape {g.shape} or None, got {what}")
                given = [made.to(g.dtype)]
                del made
            return given[0] if isinstance(g, Value) else let_go(given)

        return RemovableHandle(self.node, call)

    def retain_grad(self) -> None:
        """Keep the gradient that arrives here in `.grad`, though this tensor is the result of an operation.

        Raises:
            RuntimeError: if the tensor requires no gradient, so that none arrives.
        """
        if self.node is None:
            raise RuntimeError("retain_grad: this tensor requires no gradient, so none will arrive")
        if not self.is_leaf and Retained.of(self.node) is None:
            retained = Retained(lambda g: (g if hasattr(g, "node") else wrapped(g)).clone())
            retained.grad = self.grad  # of a leaf that it was before
            RemovableHandle(self.node, retained)

    def _seed(self, gradient: Any) -> Tensor:
        if gradient is None:
            if self.array.size != 1:
                raise RuntimeError(
                    f"backward: takes a scalar, got shape {self.array.shape}; reduce it first, as in "
                    "loss.sum().backward(), or pass the gradient that arrives here"
                )
            with at(self.array):
                return self.result_class.wrap(array_module(self.array).ones_like(self.array))
        seed = as_operand(gradient, self.array)
        if seed.shape != self.array.shape:
            raise RuntimeError(
                f"backward: the tensor has shape {self.array.shape}, but gradient has shape {seed.shape}"
            )
        if tracers:
            tracers[-1].captured((seed,))
        return seed.to(self.array.dtype)
