"""Recording the backward sweep of a function whose results carry a gradient, right after the function itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ...autodiff import sweep
from ...backend import array_module
from ...backend import numpy_module as numpy
from ...graph import FunctionNode, Leaf, Node, Output, Value
from ...graph.tracing_hook import CompileError
from ..program import Source, Var
from .tracer import Tracer


class Wanted(NamedTuple):
    """A tensor from outside that a gradient goes to.

    Attributes:
        read: from the call's arguments, the tensor.
        var: its array in the program.
        gradient: its gradient there; None if nothing comes back to it.
    """

    read: Callable[[list[Any]], Any]
    var: Var
    gradient: Var | None


class Sweep(NamedTuple):
    """The backward sweep in the program.

    Attributes:
        positions: which values of the result carry a gradient, one for each node.
        cotangents: the gradients that arrive at them.
        wanted: where gradients go.
        tensors: the arrays from outside that belong to tensors, whose changes in place are noted.
        generators: those that the function draws from.
    """

    positions: list[int]
    cotangents: list[Var]
    wanted: list[Wanted]
    tensors: set[Var]
    generators: list[Any]


def trace_backward(
    tracer: Tracer, given: list[Any], results: list[Any], start: int
) -> tuple[Sweep | None, list[int | None]]:
    """Record the sweep from those results that carry a gradient.

    Args:
        given: what the function got as its arguments.
        results: the values of the result.
        start: where the count of nodes stood before the call.

    Returns:
        The sweep, None if no result carries one; and for each result which of its `positions` it is, or None.

    Raises:
        CompileError: if a gradient would go to something that is made anew at each call, or cannot be.
    """
    _require_kept(tracer, start)
    differentiable: dict[Node, int] = {}
    for position, y in enumerate(results):
        if isinstance(y, Value) and carries_gradient(y.node, start):
            differentiable.setdefault(y.node, position)  # type: ignore[arg-type]
    older, freed = reached(differentiable, start)
    if freed:  # by a backward pass inside: what comes from a freed node carries no gradient
        differentiable = {node: position for node, position in differentiable.items() if not reached([node], start)[1]}
        older, _ = reached(differentiable, start)
    if not differentiable:
        return None, [None] * len(results)
    if any(getattr(node, "hooks", None) for node in differentiable):
        raise CompileError(
            f"compile: {tracer.name} registers a hook on what it returns, or calls retain_grad(); do that outside, "
            "on the result"
        )
    if not older:
        raise CompileError(
            f"compile: {tracer.name} returns a tensor that a gradient could pass through, but only to tensors that "
            "it makes itself, anew at each call; make parameters outside, or return y.detach()"
        )
    cotangents = []
    for node, position in differentiable.items():
        value = tracer.traced(results[position].array).value
        source = Source(f"the gradient of result {position}", _not_there, per_call=True)
        cotangents.append((node, tracer.source(array_module(value).ones_like(value), source)))
    tracer.program.cotangents = {g.variable for _, g in cotangents}
    try:
        with without_hooks(older), numpy.errstate(all="ignore"):  # of gradients that are made up
            found = sweep(cotangents, [*older], retain_graph=True)
    except CompileError:
        raise
    except RuntimeError as error:  # a rule is missing, or something was changed in place
        raise CompileError(
            f"compile: {tracer.name} returns a tensor that a gradient could pass through, but it could not: {error} "
            "(or return y.detach(), or call it under no_grad)"
        ) from error
    tensors = {id(x): i for i, x in enumerate(given)}
    wanted: dict[Node, Wanted] = {}
    for tensor, _, node, var in tracer.tensors:
        if node in older and node not in wanted:
            i = tensors.get(id(tensor))
            gradient = tracer.traced(found[node]).variable if node in found else None
            wanted[node] = Wanted(_captured(tensor) if i is None else _given(i), var, gradient)
    if len(wanted) < len(older):
        raise CompileError(
            f"compile: {tracer.name} returns a tensor with a gradient for something that it does not use by itself; "
            "pass it as an argument, or return y.detach()"
        )
    order = {node: k for k, node in enumerate(differentiable)}
    owned = {var for _, _, _, var in tracer.tensors}
    generators = [generator for generator, _, _, _ in tracer.generators.values()]
    recorded = Sweep(
        [*differentiable.values()], [g.variable for _, g in cotangents], [*wanted.values()], owned, generators
    )
    return recorded, [order.get(y.node) if isinstance(y, Value) else None for y in results]  # type: ignore[arg-type]


def watch_captured(tracer: Tracer) -> None:
    """A program is right as long as tensors from outside ask for a gradient, or not, as they did, with those hooks."""
    captured = [*tracer.captures.values()]
    if captured:
        tracer.guards.append(lambda: all((tensor.node is None) == constant for tensor, constant in captured))
    hooked = [(tensor, _hooks(tracer.overlay.plain(tensor)[1])) for tensor, constant in captured if not constant]
    if hooked:
        tracer.guards.append(lambda: not Node.any_hooks or all(_hooks(x.node) == hooks for x, hooks in hooked))


def _hooks(node: Node | None) -> list[Any]:
    return [*getattr(node, "hooks", ())]


def reached(roots: Iterable[Node], start: int) -> tuple[set[Node], bool]:
    """The nodes from before the count stood at `start` that lead to the roots, and whether some were freed."""
    seen, older, freed = set(roots), set(), False
    todo = list(seen)
    while todo:
        node = todo.pop()
        if node.number < start:
            older.add(node)
            continue
        freed = freed or node.parents is None
        for parent in node.parents or ():
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return older, freed


@contextmanager
def without_hooks(nodes: Iterable[Node]) -> Iterator[None]:
    """Inside, nobody is told of a gradient that arrives at these nodes: that comes when it arrives for good."""
    held = [(node, node.hooks) for node in nodes if Node.any_hooks and hasattr(node, "hooks")]
    for node, _ in held:
        del node.hooks
    try:
        yield
    finally:
        for node, hooks in held:
            node.hooks = hooks


def carries_gradient(node: Node | None, start: int) -> bool:
    """Whether this is the node of a result that a gradient passes through, made since the count stood at `start`."""
    return isinstance(node, (FunctionNode, Output)) and node.parents is not None and node.number >= start


def _require_kept(tracer: Tracer, start: int) -> None:
    """Raise a CompileError if a tensor from outside became the result of something that a gradient passes through."""
    for tensor, _, node, var in tracer.tensors:
        if tensor.node is not node and carries_gradient(tensor.node, start) and not reached([tensor.node], start)[1]:  # type: ignore[list-item]
            raise CompileError(
                f"compile: {tracer.name} changes {tracer.program.sources[var].name} in place, by something that a "
                "gradient passes through; return the new one, or change it under no_grad"
            )


def _not_there(_args: list[Any]) -> Any:
    raise LookupError("a gradient that has not arrived yet")


def _given(position: int) -> Callable[[list[Any]], Any]:
    return lambda args: args[position]


def _captured(tensor: Value) -> Callable[[list[Any]], Any]:
    return lambda _args: tensor


def is_own_leaf(node: Node | None, start: int) -> bool:
    """Whether this is the node of a variable that the call made itself."""
    return isinstance(node, Leaf) and node.number >= start
