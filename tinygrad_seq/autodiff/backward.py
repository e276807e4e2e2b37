"""The backward sweep: from the gradient of the outputs to that of everything they were computed from.

Reverse-mode differentiation (Griewank & Walther, "Evaluating Derivatives", ch. 3.2). The sweep visits the nodes by
falling creation number, so without recursion, and lets go of each one's saved arrays as it passes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..backend import array_module
from ..backend.dispatch import at, on_gpu, several_gpus, there
from ..graph import FunctionNode, Leaf, Node, Output, Value, observers
from ..graph.grad_mode import enable_grad
from ..graph.saved_tensors import memory
from ..ops.assign import Cleared, setitem
from ..ops.elementwise import add, cast, real_part
from ..ops.index import SparseGrad, add_at, gather_scattered
from ..ops.linalg import MANY, Product, gather_products
from ..ops.reduce import reduce_sum
from ..ops.shape import reshape_to

_LATER = (SparseGrad, Product, Cleared)
_by_number = operator.attrgetter("number")


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


def topological_order(roots: Iterable[Node], stops: frozenset[Node] | set[Node] = frozenset()) -> list[Node]:
    """All nodes that the roots were computed from, themselves included, oldest first; nothing behind the `stops`.

    Raises:
        RuntimeError: if part of that graph was freed by an earlier backward pass.
    """
    found = list(dict.fromkeys(roots))
    seen = set(found)
    for node in found:  # which grows on the way
        if stops and node in stops:
            continue
        if node.parents is None:
            raise _freed(node, is_root=node in set(roots))
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                found.append(parent)
    found.sort(key=_by_number)
    return found


def _freed(node: Node, is_root: bool) -> RuntimeError:
    name = node.primitive.name if isinstance(node, FunctionNode) else "an output"
    if is_root:
        return RuntimeError(
            f"backward: the graph of this result ('{name}') was freed by an earlier backward pass. Pass "
            "retain_graph=True to that first one if both are wanted."
        )
    return RuntimeError(
        f"backward: a part of this graph (the result of '{name}') was freed by an earlier backward pass. If it is a "
        "recurrent state carried over from an earlier step, cut it off there with state.detach(); if both passes are "
        "wanted, pass retain_graph=True to the first."
    )


class _Gradients:
    """The gradients that have arrived so far, by node; added up in one buffer each.

    Of a primitive with several outputs the gradient is a list, which fills as those of the outputs come.
    """

    def __init__(self, wrap: Callable[..., Any] | None) -> None:
        self._wrap = wrap  # of a recorded sweep, which must not change a buffer
        self._sum = there(add.forward) if on_gpu and wrap is None else operator.add
        self._dense: dict[Node, Any] = {}
        self._scattered: dict[Node, list[SparseGrad]] = {}
        self._products: dict[Node, list[Product]] = {}
        self._cleared: dict[Node, Any] = {}  # what a chain of assignments carries back, in an array of ours
        self._own: Any = None  # such an array, on its way through a rule
        self._buffers: set[Node] = set()  # whose gradient is ours to write into

    def add(self, node: Node, g: Any) -> None:
        if type(g) in _LATER:
            self._defer(node, g)
            return
        if g.shape != node.shape:
            g = sum_to(g, node.shape)
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


class _OnSeveral(_Gradients):
    """The same where there are several GPUs, which the gradients may be on."""

    def add(self, node: Node, g: Any) -> None:
        with at(g):
            super().add(node, g)

    def _complete(self, parts: list[Any], node: Node) -> tuple[Any, ...]:
        with at(parts):
            return super()._complete(parts, node)


def sweep(
    roots: Sequence[tuple[Node, Any]],
    targets: Sequence[Node] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
    value_class: type[Value] | None = None,
    outside: frozenset[Node] = frozenset(),
) -> dict[Node, Any]:
    """Carry gradients back through the graph.

    Args:
        roots: nodes with the gradient that arrives at each: arrays, or Values when `create_graph` is set.
        targets: the nodes whose gradients are wanted (None: all leaves). Nothing behind a target is visited, and no
            rule runs that does not lead to one.
        create_graph: record the sweep, so that its results can be differentiated in turn.
        retain_graph: keep the graph for another sweep.
        value_class: with `create_graph`, the class of the Values handed to the rules.
        outside: targets whose hooks are left to another sweep, of which this one is a part.

    Returns:
        The gradient of each target (or leaf) that one reached, of the shape and dtype of its node.

    Raises:
        RuntimeError: if part of the graph was freed before, or a rule that is needed does not exist.
    """
    stops = frozenset(targets or ())
    order: list[Any] = topological_order([node for node, _ in roots], stops)
    useful = None
    if targets is not None:
        useful = _leading_to(stops, order)
        order = [node for node in order if node in useful]
    wrap = value_class.wrap if create_graph and value_class is not None else None
    gradients = (_OnSeveral if several_gpus else _Gradients)(wrap)
    guard = there if on_gpu else None
    for root, g in roots:
        gradients.add(root, g)
    results: dict[Node, Any] = {}
    receive, pop = gradients.add, gradients.pop
    while order:
        node = order.pop()
        g = pop(node)
        if g is not None and Node.any_hooks and node not in outside:
            g = _through_hooks(node, g)
        kind = type(node)
        if kind is Leaf or (stops and node in stops):
            if g is not None:
                results[node] = g
            continue
        if g is not None:
            if kind is not FunctionNode:
                gradients.add_part(node.parents[0], node.index, g)
            else:
                if memory.last > node.number:
                    memory.check(node)
                primitive, inputs, y, params = node.primitive, node.inputs, node.output, node.params
                if wrap is not None:
                    inputs, y = _recorded(node, wrap)
                if primitive.joint_rule is not None:
                    joint = primitive.joint_rule if guard is None else guard(primitive.joint_rule)
                    found = joint(g, y, *inputs, **params)
                    for parent, gx in zip(node.parents, found, strict=True):
                        if parent is not None and gx is not None and (useful is None or parent in useful):
                            try:
                                receive(parent, gx)
                            except (AttributeError, ValueError) as error:
                                raise _misfit(primitive, parent, gx, error) from error
                    if observers:
                        _tell_observers(node, g, found)
                else:
                    rules, together = primitive.rules, None
                    if guard is not None and len(rules) > 1 and wrap is None and not observers:
                        pairs = zip(rules, node.parents, strict=False)
                        wanted = [r for r, p in pairs if p is not None and (useful is None or p in useful)]
                        if len(wanted) > 1:  # on a GPU in one launch, if it can be
                            together = iter(guard(*wanted)(g, y, *inputs, **params))
                    for i, parent in enumerate(node.parents):
                        if parent is not None and (useful is None or parent in useful):
                            if together is not None:
                                gx = next(together)
                            else:
                                rule = rules[i] if guard is None else guard(rules[i])
                                gx = rule(g, y, *inputs, **params) if params else rule(g, y, *inputs)
                            if gx is not None:
                                try:
                                    receive(parent, gx)
                                except (AttributeError, ValueError) as error:
                                    raise _misfit(primitive, parent, gx, error) from error
                            if observers:
                                _tell_observers(node, g, gx)
        if not retain_graph:
            node.release()
    return results


def _misfit(primitive: Any, node: Node, g: Any, error: Exception) -> Exception:
    """What is wrong with a gradient that a rule returned for `node`; the error itself if that is not to blame."""
    given = getattr(g, "shape", None)
    if given == node.shape or type(g) in _LATER:
        return error
    what = f"a {type(g).__name__}" if given is None else f"shape {tuple(given)}"
    return ValueError(
        f"backward: a gradient rule of '{primitive.name}' returned {what} for an argument of shape {node.shape}; takes "
        "that shape, or one that it broadcasts to"
    )


def _leading_to(targets: frozenset[Node], order: Sequence[Node]) -> set[Node]:
    """The targets, and those nodes, given oldest first, that were computed from one."""
    useful = set(targets)
    for node in order:
        if node not in useful and any(p in useful for p in node.parents or () if p is not None):
            useful.add(node)
    return useful


def _recorded(node: FunctionNode, wrap: Callable[..., Any]) -> tuple[list[Any], Any]:
    """What an application saved, as values with the graph that they came from."""
    inputs = [
        wrap(x, p) if hasattr(x, "dtype") and not isinstance(x, Node) else x
        for x, p in zip(node.inputs, node.parents or (), strict=True)
    ]
    y = node.output
    if type(y) is tuple:
        return inputs, tuple([wrap(part, Output(part, node, i)) for i, part in enumerate(y)])
    return inputs, y if y is None else wrap(y, node)


def _through_hooks(node: Node, g: Any) -> Any:
    """The gradient, or what the hooks of its tensor make of it."""
    for hook in list(getattr(node, "hooks", ())):
        g = hook(g)
    return g


def _tell_observers(node: FunctionNode, g: Any, results: Any) -> None:
    for observe in observers:
        observe(node.primitive, g if isinstance(g, tuple) else (g,), results, node, True)


def recorded_sweep(
    roots: Sequence[tuple[Node, Any]], targets: Sequence[Node] | None, **options: Any
) -> dict[Node, Any]:
    """`sweep` with recording on, whatever the grad mode of the caller."""
    with enable_grad():
        return sweep(roots, targets, create_graph=True, **options)
