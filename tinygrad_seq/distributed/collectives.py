"""Collective operations: what all ranks of a group do together, each with its own array."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ..backend import Array, array_module
from ..graph import Primitive
from ..graph.errors import public
from ..graph.grad_mode import is_grad_enabled
from ..tensor import Tensor
from .group import Group, current
from .message import Message, described, outside, send


class ReduceOp(Enum):
    """How `all_reduce` puts the arrays of all ranks together."""

    SUM = "sum"
    AVG = "mean"
    PRODUCT = "product"
    MIN = "min"
    MAX = "max"


class _Reduce(Message):
    def __init__(self, group: Group, op: str) -> None:
        self.group, self.op = group, op

    def transfer(self, x: Array, out: Array, *_: Any) -> None:
        self.group.meet("all_reduce", lambda: f"{described(x, self.group)}, {self.op}")
        self.group.link.all_reduce(x, out, self.op)


class _Gather(Message):
    def __init__(self, group: Group) -> None:
        self.group = group

    def shape(self, x: Array) -> tuple[int, ...]:
        return (self.group.size, *x.shape)

    def alone(self, x: Array, *_: Any) -> Array:
        return array_module(x).stack([x] * self.group.size)

    def transfer(self, x: Array, out: Array, *_: Any) -> None:
        self.group.meet("all_gather", lambda: described(x, self.group))
        self.group.link.all_gather(x, out)


class _Broadcast(Message):
    def __init__(self, group: Group, source: int) -> None:
        self.group, self.source = group, source

    def transfer(self, x: Array, out: Array, *_: Any) -> None:
        self.group.meet("broadcast", lambda: f"{described(x, self.group)}, from rank {self.source}")
        out[...] = x
        self.group.link.broadcast(out, self.source)


def _all_reduce(x: Array, *, op: str) -> Array:
    """The sum over all ranks, or what `op` says, on each rank."""
    return send(_Reduce(current("all_reduce"), op), x)


def _gradient_of_extreme(g: Any, y: Any, x: Any, *, op: str) -> Any:
    """Shared between the ranks whose number it is."""
    mine = (x == y) * 1.0
    return reduced(g, op="sum") * mine / reduced(mine, op="sum")


def _gradient(g: Any, y: Any, x: Any, *, op: str) -> Any:
    if op == "product":
        raise NotImplementedError("backward: no gradient rule for all_reduce with ReduceOp.PRODUCT; detach() its input")
    return reduced(g, op="sum") if op == "sum" else _gradient_of_extreme(g, y, x, op=op)


reduced = Primitive(_all_reduce, name="all_reduce")
reduced.vjp(_gradient)


def _tensor(name: str, tensor: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: takes a tensor, got a {type(tensor).__name__}; tg.tensor makes one of numbers")
    return tensor


@public
def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM) -> Tensor:
    """Let the tensor be the sum over all ranks, or what `op` says, on each of them; the tensor itself is returned.

    It changes in place, as in PyTorch, and gradients pass through: of the sum of what all ranks go on to compute.

    >>> total = dist.all_reduce(x.sum(0))

    Raises:
        TypeError: if it is no tensor of numbers, of integers for a mean, or complex for an extreme.
        RuntimeError: if it is a leaf that requires a gradient.
        DistributedError: on all ranks, if they call something else, or shapes or dtypes differ.
    """
    x = _tensor("all_reduce", tensor)
    op = ReduceOp(op)
    group = current("all_reduce")
    if op is ReduceOp.AVG and x.dtype.kind not in "fc":
        raise TypeError(f"all_reduce: a mean of {x.dtype} is no whole number; convert it first: .float()")
    if x.dtype.kind == "b":
        raise TypeError("all_reduce: takes numbers, got booleans; convert them first: .int()")
    if op in (ReduceOp.MIN, ReduceOp.MAX) and x.dtype.kind == "c":
        raise TypeError(f"all_reduce: numbers of {x.dtype} have no order, so there is no {op.value}")
    if x.is_leaf and x.requires_grad and is_grad_enabled():
        raise RuntimeError(
            "all_reduce: a leaf that requires a gradient is not changed in place; use no_grad(), or give it x * 1"
        )
    if group.size == 1:
        return x
    made = reduced(x, op="sum" if op is ReduceOp.AVG else op.value)
    return x._assign(made * (1.0 / group.size) if op is ReduceOp.AVG else made, "all_reduce")


@public
def all_gather(tensor: Tensor, *of_pytorch: Any) -> list[Tensor]:
    """The tensors of all ranks, which have one shape, in the order of ranks; without gradients.

    Raises:
        TypeError: if it is no tensor, or called as PyTorch's, with a list to be filled.
    """
    if of_pytorch:
        raise TypeError(
            "all_gather: takes one tensor, and returns those of all ranks: tensors = dist.all_gather(tensor); it fills "
            "no list, as PyTorch's does"
        )
    x = _tensor("all_gather", tensor)
    group = current("all_gather")
    if group.size == 1:
        return [x.detach().clone()]
    return [*Tensor.wrap(send(_Gather(group), x.array)).unbind(0)]


@public
def broadcast(tensor: Tensor, src: int = 0) -> Tensor:
    """Let the tensor be rank `src`'s, on all ranks, in place; the tensor itself is returned. Without gradients."""
    x = _tensor("broadcast", tensor)
    group = current("broadcast")
    if not 0 <= src < group.size:
        raise ValueError(f"broadcast: src={src} is no rank; there are 0 to {group.size - 1}")
    if x.requires_grad and is_grad_enabled():
        raise RuntimeError("broadcast: a tensor that requires a gradient is not changed in place; use no_grad()")
    return x if group.size == 1 else x._assign(Tensor.wrap(send(_Broadcast(group, src), x.array)), "broadcast")


@public
def barrier() -> None:
    """Wait until all ranks are here."""
    group = current("barrier")
    outside("barrier")
    group.require_whole("barrier")
    if group.size > 1:
        group.meet("barrier", lambda: "")
