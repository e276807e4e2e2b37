"""Where the backward sweep adds gradients up: one buffer for each node, and what is cheaper to add up together."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ..backend import array_module
from ..backend.dispatch import at, on_gpu, on_operand_device
from ..graph import FunctionNode, Node, observers
from ..ops.assign import Cleared, setitem
from ..ops.elementwise import add, cast, real_part
from ..ops.index import SparseGrad, add_at, gather_scattered
from ..ops.linalg import MANY, Product, gather_products
from ..ops.reduce import reduce_sum
from ..ops.shape import reshape_to

_LATER = (SparseGrad, Product, Cleared)


class GradientShapeError(ValueError):
    """What came is no gradient of this node: of which shape it is, and of which the node, without who returned it."""


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: add `g` up over the dimensions along which `shape` was stretched to g's shape.

    Raises:
        ValueError: if `shape` does not broadcast to g's.
    """
    lead = g.ndim - len(shape)
    if lead < 0 or any(n not in (m, 1) for n, m in zip(shape, g.shape[lead:], strict=True)):
        raise ValueError(f"backward: shape {shape} does not broadcast to {g.shape}")
    dims = tuple([d for d, n in enumerate(g.shape) if d < lead or (shape[d - lead] == 1 and n != 1)])
    g = reduce_sum(g, dims=dims, keepdim=True) if dims else g
    return reshape_to(g, shape=shape)


class GradientAccumulator:
    """The gradients that have arrived so far, by node; added up in one buffer each.

    Of a primitive with several outputs the gradient is a list, which fills as those of the outputs come.
    """

    def __init__(self, wrap: Callable[..., Any] | None) -> None:
        self._wrap = wrap  # of a recorded sweep, which must not change a buffer
        self._sum = on_operand_device(add.forward) if on_gpu and wrap is None else operator.add
        self._dense: dict[Node, Any] = {}
        self._scattered: dict[Node, list[SparseGrad]] = {}
        self._products: dict[Node, list[Product]] = {}
        self._cleared: dict[Node, Any] = {}  # what a chain of assignments carries back, in an array of ours
        self._own: Any = None  # such an array, on its way through a rule
        self._buffers: set[Node] = set()  # whose gradient is ours to write into

    def add(self, node: Node, g: Any) -> None:
        """Add one more gradient of this node.

        Raises:
            GradientShapeError: if it has neither the node's shape nor one that the node's broadcasts to.
        """
        if type(g) in _LATER:
            self._defer(node, g)
            return
        try:
            if g.shape != node.shape:
                g = sum_to(g, node.shape)
        except (AttributeError, ValueError) as error:
            raise _shape_error(node, g) from error
        if g.dtype is not node.dtype and g.dtype != node.dtype:
            g = cast(real_part(g) if g.dtype.kind == "c" != node.dtype.kind else g, dtype=node.dtype)
        dense = self._dense
        if node not in dense:
            dense[node] = g
        elif node in self._buffers:
            dense[node] += g  # in place; a NumPy scalar makes a new one
        else:
            dense[node] = self._sum(dense[node], g)
            if self._wrap is None:
                self._buffers.add(node)

    def _defer(self, node: Node, g: Any) -> None:
        """Keep what is cheaper to add up together."""
        if type(g) is SparseGrad:
            self._scattered.setdefault(node, []).append(g)
            return
        if type(g) is Cleared:
            rest = g.dense(own=g.g is self._own)
            if node in self._cleared:
                self.add(node, rest)
            else:
                self._cleared[node] = rest
            return
        parts = self._products.setdefault(node, [])
        if parts:
            g.count += parts[-1].count
        parts.append(g)
        if g.count >= MANY:
            self.add(node, gather_products(self._products.pop(node)))

    def add_part(self, application: Any, index: int, g: Any) -> None:
        """The gradient of one of several outputs."""
        if application not in self._dense:
            self._dense[application] = [None] * len(application.shape)
        self._dense[application][index] = g

    def pop(self, node: Node) -> Any:
        """The whole gradient of a node whose users have all been visited; None if none arrived."""
        if self._products and node in self._products:
            self.add(node, gather_products(self._products.pop(node)))
        if self._cleared and node in self._cleared:
            return self._collected(node)
        if self._scattered and node in self._scattered:
            self.add(node, gather_scattered(self._scattered.pop(node), node.shape))
        g = self._dense.pop(node, None)
        return self._complete(g, node) if type(g) is list else g

    def _collected(self, node: Node) -> Any:
        """What came back through an assignment, and all else added to it, in place."""
        g = self._cleared.pop(node)
        if node in self._dense:
            g += self._dense.pop(node)
        for part in self._scattered.pop(node, ()):
            add_at(g, part.values, part.arrays, part.index)
        chained = isinstance(node, FunctionNode) and node.primitive is setitem
        if chained and not observers and not getattr(node, "hooks", None):  # else somebody may keep it
            self._own = g
        return g

    def _complete(self, parts: list[Any], node: Node) -> tuple[Any, ...]:
        """The gradients of all outputs, zeros for those that nothing came back to."""
        some = next(g for g in parts if g is not None)
        xp = array_module(getattr(some, "array", some))
        zeros = [xp.zeros(shape, node.dtype) if g is None else None for g, shape in zip(parts, node.shape, strict=True)]
        wrap = self._wrap or (lambda zero: zero)
        return tuple([g if z is None else wrap(z) for g, z in zip(parts, zeros, strict=True)])


class GradientAccumulatorOnGPUs(GradientAccumulator):
    """The same where there are several GPUs, which the gradients may be on."""

    def add(self, node: Node, g: Any) -> None:
        with at(g):
            super().add(node, g)

    def _complete(self, parts: list[Any], node: Node) -> tuple[Any, ...]:
        with at(parts):
            return super()._complete(parts, node)


def _shape_error(node: Node, g: Any) -> GradientShapeError:
    shape = getattr(g, "shape", None)
    what = f"a {type(g).__name__}" if shape is None else f"shape {tuple(shape)}"
    return GradientShapeError(
        f"{what} for an argument of shape {node.shape}; takes that shape, or one that it broadcasts to"
    )
