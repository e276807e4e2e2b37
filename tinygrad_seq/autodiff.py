"""The backward sweep: from the gradient of the outputs to that of everything they were computed from.

Reverse-mode differentiation (Griewank & Walther, "Evaluating Derivatives", ch. 3.2). The sweep visits the nodes by
falling creation number, so without recursion, and lets go of each one's saved arrays as it passes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .backend import array_module
from .grad_mode import enable_grad
from .graph import Application, Leaf, Node, Output, Value, observers
from .memory import memory
from .ops.elementwise import cast
from .ops.index import Scattered, gather_scattered
from .ops.reduce import reduce_sum
from .ops.shape import reshape_to

_by_number = operator.attrgetter("number")


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: add `g` up over the dimensions along which `shape` was stretched to g's shape."""
    lead = g.ndim - len(shape)
    dims = tuple([d for d, n in enumerate(g.shape) if d < lead or (shape[d - lead] == 1 and n != 1)])
    g = reduce_sum(g, dims=dims, keepdim=True) if dims else g
    return reshape_to(g, shape=shape)


def ancestors(roots: Iterable[Node], stops: frozenset[Node] | set[Node] = frozenset()) -> list[Node]:
    """All nodes that the roots were computed from, themselves included, oldest first; nothing behind the `stops`.

    Raises:
        RuntimeError: if part of that graph was freed by an earlier backward pass.
    """
    seen = set(roots)
    todo = list(seen)
    while todo:
        node = todo.pop()
        if node in stops:
            continue
        parents = node.parents
        if parents is None:
            raise _freed(node, is_root=node in set(roots))
        for parent in parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return sorted(seen, key=_by_number)


def _freed(node: Node, is_root: bool) -> RuntimeError:
    name = node.primitive.name if isinstance(node, Application) else "an output"
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
    """The gradients that have arrived so far, by node; added up in one buffer each."""

    def __init__(self, in_place: bool) -> None:
        self._dense: dict[Node, Any] = {}
        self._scattered: dict[Node, list[Scattered]] = {}
        self._buffers: set[Node] | None = set() if in_place else None  # whose gradient is ours to write into

    def add(self, node: Node, g: Any) -> None:
        if type(g) is Scattered:
            self._scattered.setdefault(node, []).append(g)
            return
        if g.shape != node.shape:
            g = sum_to(g, node.shape)
        if g.dtype is not node.dtype and g.dtype != node.dtype:
            g = cast(g, dtype=node.dtype)
        old = self._dense.get(node)
        if old is None:
            self._dense[node] = g
        elif self._buffers is None or node not in self._buffers:
            self._dense[node] = old + g
            if self._buffers is not None:
                self._buffers.add(node)
        else:
            old += g  # in place; a NumPy scalar makes a new one
            self._dense[node] = old

    def pop(self, node: Node) -> Any:
        """The whole gradient of a node whose users have all been visited; None if none arrived."""
        if node in self._scattered:
            self.add(node, gather_scattered(self._scattered.pop(node), node.shape))
        return self._dense.pop(node, None)


def sweep(
    roots: Sequence[tuple[Node, Any]],
    targets: Sequence[Node] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
    value_class: type[Value] | None = None,
) -> dict[Node, Any]:
    """Carry gradients back through the graph.

    Args:
        roots: nodes with the gradient that arrives at each: arrays, or Values when `create_graph` is set.
        targets: the nodes whose gradients are wanted (None: all leaves). Nothing behind a target is visited, and no
            rule runs that does not lead to one.
        create_graph: record the sweep, so that its results can be differentiated in turn.
        retain_graph: keep the graph for another sweep.
        value_class: with `create_graph`, the class of the Values handed to the rules.

    Returns:
        The gradient of each target (or leaf) that one reached, of the shape and dtype of its node.

    Raises:
        RuntimeError: if part of the graph was freed before, or a rule that is needed does not exist.
    """
    stops = set(targets) if targets is not None else set()
    order = ancestors([node for node, _ in roots], stops)
    useful = None
    if targets is not None:
        useful = stops.copy()
        for node in order:
            if node not in useful and any(p in useful for p in node.parents or () if p is not None):
                useful.add(node)
    gradients = _Gradients(in_place=not create_graph)
    for node, g in roots:
        gradients.add(node, g)
    partials: dict[Node, list[Any]] = {}
    results: dict[Node, Any] = {}
    wrap = value_class.wrap if create_graph and value_class is not None else None
    while order:
        node = order.pop()
        if node in stops or type(node) is Leaf:
            g = gradients.pop(node)
            if g is not None and (useful is None or node in useful):
                results[node] = _through_hooks(node, g) if Node.any_hooks else g
        elif useful is not None and node not in useful:
            continue
        elif type(node) is Output:
            g = gradients.pop(node)
            if g is not None:
                g = _through_hooks(node, g) if Node.any_hooks else g
                application: Any = node.parents[0]  # type: ignore[index]
                partials.setdefault(application, [None] * len(application.shape))[node.index] = g
            if not retain_graph:
                node.release()
        elif isinstance(node, Application):
            g = _complete(partials.pop(node), node, wrap) if node in partials else gradients.pop(node)
            if g is not None:
                if memory.last > node.number:
                    memory.check(node)
                if Node.any_hooks:
                    g = _through_hooks(node, g)
                _apply_rules(node, g, gradients, useful, wrap)
            if not retain_graph:
                node.release()
    return results


def _complete(parts: list[Any], node: Application, wrap: Callable[..., Any] | None) -> tuple[Any, ...]:
    """The gradients of all outputs, zeros for those that nothing came back to."""
    some = next(g for g in parts if g is not None)
    xp = array_module(getattr(some, "array", some))
    zeros = [xp.zeros(shape, node.dtype) if g is None else None for g, shape in zip(parts, node.shape, strict=True)]
    return tuple([g if z is None else wrap(z) if wrap else z for g, z in zip(parts, zeros, strict=True)])


def _apply_rules(
    node: Application, g: Any, gradients: _Gradients, useful: set[Node] | None, wrap: Callable[..., Any] | None
) -> None:
    primitive, inputs, y = node.primitive, node.inputs, node.output
    parents = node.parents or ()
    if wrap is not None:
        inputs = [
            wrap(x, p) if hasattr(x, "dtype") and not isinstance(x, Node) else x
            for x, p in zip(inputs, parents, strict=True)
        ]
        if type(y) is tuple:
            y = tuple([wrap(part, Output(part, node, i)) for i, part in enumerate(y)])
        elif y is not None:
            y = wrap(y, node)
    if primitive.joint_rule is not None:
        gradients_of_all = primitive.joint_rule(g, y, *inputs, **node.params)
        _tell_observers(node, g, gradients_of_all)
        for parent, gx in zip(parents, gradients_of_all, strict=True):
            if parent is not None and gx is not None and (useful is None or parent in useful):
                gradients.add(parent, gx)
        return
    for i, parent in enumerate(parents):
        if parent is None or (useful is not None and parent not in useful):
            continue
        rule = primitive.rules[i] if i < len(primitive.rules) else None
        if rule is None:
            raise NotImplementedError(
                f"backward: no gradient rule for '{primitive.name}' with respect to argument {i}; detach() that "
                "argument if it is meant to be a constant"
            )
        gx = rule(g, y, *inputs, **node.params)
        if observers:
            _tell_observers(node, g, gx)
        if gx is not None:
            gradients.add(parent, gx)


def _through_hooks(node: Node, g: Any) -> Any:
    """The gradient, or what the hooks of its tensor make of it."""
    for hook in list(getattr(node, "hooks", ())):
        g = hook(g)
    return g


def _tell_observers(node: Application, g: Any, results: Any) -> None:
    for observe in observers:
        observe(node.primitive, g if isinstance(g, tuple) else (g,), results, node, True)


def recorded_sweep(
    roots: Sequence[tuple[Node, Any]], targets: Sequence[Node] | None, **options: Any
) -> dict[Node, Any]:
    """`sweep` with recording on, whatever the grad mode of the caller."""
    with enable_grad():
        return sweep(roots, targets, create_graph=True, **options)
