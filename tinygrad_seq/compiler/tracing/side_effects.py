"""What a watched call meant to leave outside, which each replay has to leave there too."""

from __future__ import annotations

from typing import Any

from ...graph import FunctionNode, Leaf, Node, Output, Value
from ...graph.saved_tensors import owner_of
from ...graph.tracing_hook import CompileError
from ..program import Source, Var
from .accessors import offset_setter, state_setter
from .proxies import ProxyArray
from .symbolic_scalar import SymbolicScalar
from .tracer import Tracer


class NotRepeatable(Exception):
    """An optimizer's first step creates state, and the next one does not: recording this call would be useless."""


def finish(tracer: Tracer) -> tuple[list[tuple[Source, Var]], list[tuple[Leaf | int, Var | None]]]:
    """What the call meant to leave outside: new numbers for sources, and gradients.

    Raises:
        NotRepeatable: if an optimizer created state, so that the next call will differ.
        CompileError: if the call changes what cannot be changed at a replay.
    """
    stores = _stores(tracer)
    known = [leaf for leaf, _, _ in tracer.leaves.values() if id(leaf) not in tracer.argument_leaves]
    groups = [group for optimizer, _ in tracer.optimizers.states for group in optimizer.param_groups]
    known += [p.node for group in groups for p in group["params"] if p.node is not None]
    tracer.known_leaves = frozenset(known)
    grads: list[tuple[Leaf | int, Var | None]] = []
    for leaf, before, written in tracer.leaves.values():
        after = leaf.grad
        owner = tracer.argument_leaves.get(id(leaf), leaf)  # an argument is another one at each call
        if not written and owner is leaf:
            there = before is not None
            tracer.guards.append(lambda leaf=leaf, there=there: leaf.has_grad == there)  # type: ignore[misc]
        if after is before and (not written if after is None else type(after.array) is not ProxyArray):
            continue
        if after is None:
            grads.append((owner, None))
        elif isinstance(after.node, (FunctionNode, Output)):
            raise CompileError("compile: a gradient that has a graph of its own (create_graph=True) stays in .grad")
        else:
            grads.append((owner, tracer.traced(after.array).variable))
    for generator, (_, first), _, start in tracer.generators.values():
        moved = generator.offset - first
        number = tracer.number(0, lambda offset, moved=moved: offset + moved, start).number
        tracer.commits.append((offset_setter(generator), number))
    return stores, grads


def _stores(tracer: Tracer) -> list[tuple[Source, Var]]:
    stores: dict[Var, tuple[Source, Var]] = {}
    last: dict[Var, Var] = {}
    for tensor, _, node, var in tracer.tensors:
        if id(tensor) not in tracer.overlay.made:
            _require_alike(tracer, tensor, node, var)
        if type(tensor.array) is ProxyArray and var in tracer.program.sources:
            after = tensor.array.variable
            if last.setdefault(var, after) is not after:
                raise CompileError(
                    f"compile: {tracer.name} gives {tracer.program.sources[var].name} another array, as by "
                    ".data =, while another tensor shows the old one, which a replay could not tell apart; use copy_()"
                )
            if after is not var:
                stores[var] = (tracer.program.sources[var], after)
    for var, (traced, _) in tracer.initial.items():
        if traced.variable is not var and var not in last:  # of a tensor's array it is known what is there at last
            stores[var] = (tracer.program.sources[var], traced.variable)
    for optimizer, groups in tracer.optimizers.groups:
        pairs = zip(optimizer.param_groups, groups, strict=False)
        changed = any(group.get(key) is not old for group, before in pairs for key, old in before.items())
        if changed or len(optimizer.param_groups) != len(groups):
            raise CompileError(
                f"compile: {tracer.name} changes the groups of its optimizer, or a setting of one, which a replay "
                "would not; call scheduler.step() and add_param_group() outside"
            )
    for optimizer, before in tracer.optimizers.states:
        _require_repeatable(optimizer, before)
        for number, state in optimizer.state.items():
            for key, after in state.items():
                old = before[number][key]
                if type(after) is SymbolicScalar:
                    tracer.commits.append((state_setter(optimizer, number, key), after.number))
                elif isinstance(old, Value) and isinstance(after, Value):
                    var = next(v for t, _, _, v in tracer.tensors if t is old)
                    new = tracer.traced(after.array)
                    if new.variable is not var:
                        stores[var] = (tracer.program.sources[var], new.variable)
    owners: dict[int, int] = {}
    for array, _, _ in tracer.arrays.values():
        owners[id(owner_of(array))] = owners.get(id(owner_of(array)), 0) + 1
    for var in stores:
        if owners[id(owner_of(tracer.initial[var][1]))] > 1:
            raise CompileError(
                f"compile: {tracer.name} changes {tracer.program.sources[var].name} in place, and uses another "
                "tensor that shares its memory, whose numbers would change too; use one of them alone, or a clone()"
            )
    return list(stores.values())


def _require_alike(tracer: Tracer, tensor: Value, node: Node | None, var: Var) -> None:
    """Raise a CompileError if a tensor from outside became a constant, or a variable, or has another shape."""
    name = tracer.program.sources[var].name if var in tracer.program.sources else "a tensor"
    if (tensor.node is None) != (node is None) and not isinstance(tensor.node, (FunctionNode, Output)):
        raise CompileError(
            f"compile: {tracer.name} changes whether {name} requires a gradient, which a replay would not; do that "
            "outside, or use detach()"
        )
    if tensor.array.shape != var.shape:
        raise CompileError(
            f"compile: {tracer.name} gives {name} another shape, {tensor.array.shape} for {var.shape}, which a "
            "replay cannot; do that outside, or use the method without the underscore"
        )


def _require_repeatable(optimizer: Any, before: dict[Any, Any]) -> None:
    for number, state in optimizer.state.items():
        old = before.get(number)
        if old is None or old.keys() != state.keys():
            raise NotRepeatable
        for key, value in state.items():
            both = isinstance(value, Value) and isinstance(old[key], Value)
            if both and (value.shape, value.dtype) == (old[key].shape, old[key].dtype):
                continue
            if type(value) is SymbolicScalar or value is old[key]:
                continue
            raise NotRepeatable
