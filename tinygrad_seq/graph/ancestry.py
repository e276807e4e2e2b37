"""What a tensor was computed of: parameters alone, which all processes share, or a batch, which they divide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .node import FunctionNode, Leaf, Node, Value

Shape = tuple[int, ...]


def is_of_parameters(x: Value) -> bool:
    """Whether it is a parameter, or the graph shows that it was computed of parameters and numbers alone."""
    if x.node is None:
        return x.is_parameter
    for node, shape in _ancestors(x.node):
        if isinstance(node, Leaf):
            if not node.is_parameter:
                return False
        elif (node is None and shape) or (node is not None and node.parents is None):  # a constant; a graph let go
            return False
    return True


def is_of_batch(x: Value, rows: int, dim: int) -> bool:
    """Whether the graph shows that it was computed of a batch; of what has no graph, whether it has the rows itself.

    For that it takes something that is no parameter, and something that has as many rows where a batch has them: along
    `dim` of (T, B, ...), or first in (B, F). A leaf that is no parameter may be a weight, unless it has a time as well.
    """

    def has_rows(shape: Shape) -> bool:
        return bool(shape) and shape[dim if len(shape) > 2 else 0] == rows

    if x.node is None:
        return has_rows(x.array.shape)
    is_data = is_there = False
    for node, shape in _ancestors(x.node):
        has = has_rows(shape)
        if isinstance(node, Leaf):
            is_data |= has and len(shape) > 2 and not node.is_parameter
        else:
            is_data |= node is None and bool(shape)
        is_there |= has
        if is_data and is_there:
            return True
    return False


def _ancestors(node: Node) -> Iterator[tuple[Node | None, Shape]]:
    """A node and all those that it came from, with their shapes; of operands without a node, None and the shape."""
    seen, waiting = {node}, deque([node])  # the nearest first: a batch comes in at every step
    while waiting:
        node = waiting.popleft()
        yield node, node.shape
        parents = node.parents or ()
        if isinstance(node, FunctionNode):
            for parent, operand in zip(parents, node.inputs, strict=False):
                if parent is None:
                    yield None, getattr(operand, "shape", ())
        for parent in parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
