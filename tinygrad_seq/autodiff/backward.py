"""The backward sweep: from the gradient of the outputs to that of everything they were computed from.

Reverse-mode differentiation (Griewank & Walther, "Evaluating Derivatives", ch. 3.2). The sweep visits the nodes by
falling creation number, so without recursion, and lets go of each one's saved arrays as it passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from ..backend.dispatch import on_gpu, on_operand_device, several_gpus
from ..graph import FunctionNode, Leaf, Node, Output, Value, observers
from ..graph.grad_mode import enable_grad
from ..graph.saved_tensors import version_counter
from .accumulation import GradientAccumulator, GradientAccumulatorOnGPUs, GradientShapeError


def topological_order(roots: Iterable[Node], stops: frozenset[Node] | set[Node] = frozenset()) -> list[Node]:
    """All nodes that the roots were computed from, themselves included, oldest first; nothing upstream of the `stops`.

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
    found.sort(key=attrgetter("number"))
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
        targets: the nodes whose gradients are wanted (None: all leaves). Nothing upstream of a target is visited, and
            no rule runs that does not lead to one.
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
    gradients = (GradientAccumulatorOnGPUs if several_gpus else GradientAccumulator)(wrap)
    for root, g in roots:
        gradients.add(root, g)
    results: dict[Node, Any] = {}
    while order:
        node = order.pop()
        g = gradients.pop(node)
        if g is not None and Node.any_hooks and node not in outside:
            g = _through_hooks(node, g)
        kind = type(node)
        if kind is Leaf or (stops and node in stops):
            if g is not None:
                results[node] = g
            continue
        if kind is Output:
            if g is not None:
                gradients.add_part(node.parents[0], node.index, g)
        elif g is not None:
            if version_counter.last_write > node.number:
                version_counter.check(node)
            applied = node if wrap is None else _recorded(node, wrap)
            try:
                if observers or on_gpu:
                    _apply_rules_watched(applied, g, gradients, useful, fused=wrap is None and not observers)
                else:
                    _apply_rules(applied, g, gradients, useful)
            except GradientShapeError as error:
                raise ValueError(f"backward: a gradient rule of '{node.primitive.name}' returned {error}") from error
        if not retain_graph:
            node.release()
    return results


def _apply_rules(node: FunctionNode, g: Any, gradients: GradientAccumulator, useful: set[Node] | None) -> None:
    """The chain rule: from the gradient of a result to those of its operands, by one rule for each, or one for all."""
    parents: Any = node.parents
    primitive, inputs, y, params = node.primitive, node.inputs, node.output, node.params
    if primitive.joint_rule is None:
        rules = primitive.rules
        for i, parent in enumerate(parents):
            if parent is not None and (useful is None or parent in useful):
                gx = rules[i](g, y, *inputs, **params) if params else rules[i](g, y, *inputs)
                if gx is not None:
                    gradients.add(parent, gx)
    else:
        found = primitive.joint_rule(g, y, *inputs, **params)
        for parent, gx in zip(parents, found, strict=True):
            if parent is not None and gx is not None and (useful is None or parent in useful):
                gradients.add(parent, gx)


def _apply_rules_watched(
    node: FunctionNode, g: Any, gradients: GradientAccumulator, useful: set[Node] | None, fused: bool
) -> None:
    """`_apply_rules` where there are observers, told of each gradient, or a GPU, on which it computes.

    Args:
        fused: whether all rules may be run at once, in as few launches as it takes.
    """
    primitive, inputs, y, params = node.primitive, node.inputs, node.output, node.params

    def run(*rules: Any) -> Any:
        return (on_operand_device(*rules) if on_gpu else rules[0])(g, y, *inputs, **params)

    def add(parent: Node, gx: Any) -> None:
        if gx is not None:
            gradients.add(parent, gx)

    parents: list[Any] = [p if useful is None or p in useful else None for p in node.parents or ()]
    wanted = [(i, parent) for i, parent in enumerate(parents) if parent is not None]
    if primitive.joint_rule is not None:
        found = run(primitive.joint_rule)
        for parent, gx in zip(parents, found, strict=True):
            if parent is not None:
                add(parent, gx)
        _tell_observers(node, g, found)
    elif fused and len(wanted) > 1:
        for (_, parent), gx in zip(wanted, run(*[primitive.rules[i] for i, _ in wanted]), strict=True):
            add(parent, gx)
    else:
        for i, parent in wanted:
            gx = run(primitive.rules[i])
            add(parent, gx)
            _tell_observers(node, g, gx)


def _leading_to(targets: frozenset[Node], order: Sequence[Node]) -> set[Node]:
    """The targets, and those nodes, given oldest first, that were computed from one."""
    useful = set(targets)
    for node in order:
        if node not in useful and any(p in useful for p in node.parents or () if p is not None):
            useful.add(node)
    return useful


def _recorded(node: FunctionNode, wrap: Callable[..., Any]) -> FunctionNode:
    """An application with what it saved as values, with the graph that they came from."""
    values = FunctionNode()
    values.primitive, values.params = node.primitive, node.params
    values.parents, values.number = node.parents, node.number
    values.inputs = [
        wrap(x, p) if hasattr(x, "dtype") and not isinstance(x, Node) else x
        for x, p in zip(node.inputs, node.parents or (), strict=True)
    ]
    y = node.output
    if type(y) is tuple:
        values.output = tuple([wrap(part, Output(part, node, i)) for i, part in enumerate(y)])
    else:
        values.output = None if y is None else wrap(y, node)
    return values


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
