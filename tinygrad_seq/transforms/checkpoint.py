"""Recompute instead of store: `checkpoint`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..autodiff import recorded_sweep, sweep
from ..backend import array_module, is_array
from ..backend.pytree import leaves, rebuild, structure, tree_map
from ..graph import FunctionNode, Leaf, Node, Primitive, Value
from ..graph.grad_mode import enable_grad, is_grad_enabled
from ..graph.recomputation import Run
from ..graph.saved_tensors import next_number, owner_of, version_counter
from ..graph.tracing_hook import current_tracer
from ..ops.elementwise import cast
from ..tensor import Tensor
from . import fingerprint


def checkpoint(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args), keeping only the arguments: what lies between is computed again when the backward pass gets there.

    Memory for time (Chen et al., "Training deep nets with sublinear memory cost", 2016): cut a sequence of T steps into
    √T pieces and the memory falls from T to about 2 √T, for one more forward pass. Derivatives of any order pass
    through, also to tensors that f uses without being given them.

    f finds everything the second time as it did the first: the states of the generators it draws from, memory it
    writes to, attributes of modules it assigns to, parameters that `functional_call` replaced; and afterwards that is
    as it was before. Hooks of modules that return None are called the first time alone.

    Args:
        f: takes tensors or containers of them, and returns a tensor or a container of tensors.

    Raises:
        RuntimeError: in the backward pass, if f does not compute the same again: something that it uses was changed in
            between, or is random without drawing from a `tg.Generator`.
        RuntimeError: if f changes a list or a dictionary among its arguments.
        TypeError: if f is no function.
    """
    if not callable(f):
        raise TypeError(f"checkpoint: takes a function first, got a {type(f).__name__}")
    if not is_grad_enabled():
        return f(*args)
    segment = _Segment(f, args)
    tracer = current_tracer()
    count = len(tracer.program.instrs) if tracer is not None else 0
    with segment.first.first():
        result = segment.run([x.detach().requires_grad_() for x in segment.inputs])
    segment.end = next_number()
    strange = [y for y in leaves(result) if not isinstance(y, Tensor)]
    if strange:
        raise TypeError(f"checkpoint: the function must return tensors, it returned a {type(strange[0]).__name__}")
    outputs = [y for y in leaves(result) if y.node is not None]
    if not outputs:
        return result
    segment.fingerprints = _fingerprints(outputs)
    segment.read = tracer.read_since(count) if tracer is not None else []
    segment.closed_over, _ = _upstream(outputs, segment.start)
    once = [tuple([y.array for y in outputs])]
    applied = Primitive(lambda *_: once.pop(), "checkpoint")  # hands them over and does not hold on to them
    applied.vjp_joint(segment.backward)
    # what f uses without being given it takes part as an input without elements, for the sake of its node
    nothing = array_module(outputs[0].array).zeros(0)
    applied_outputs = iter(applied(*segment.inputs, *[Tensor.wrap(nothing, node) for node in segment.closed_over]))
    return tree_map(lambda y: next(applied_outputs) if y.node is not None else y, result)


class _Segment:
    """A function that can be run again as it was run first.

    Attributes:
        start: when the first run began, on the nodes' count; `end`: when it was over.
        closed_over: what f used without being given it, and a gradient goes to.
        read: in a recording, the tensors from outside as they were.
        fingerprints: of the outputs, to see whether they come out again.
    """

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.f, self.args = f, args
        self.inputs = [x for x in leaves(list(args)) if isinstance(x, Tensor) and x.node is not None]
        self.first = Run()
        self.start = self.end = next_number()
        self.closed_over: list[Node] = []
        self.read: list[tuple[Value, Any]] = []
        self.fingerprints: list[fingerprint.Fingerprint] = []

    def run(self, variables: list[Tensor], later: Callable[[Tensor], Tensor] | None = None) -> Any:
        """f of its arguments, with variables in the place of those that are recorded."""
        rest = iter(variables)
        given = [next(rest) if isinstance(x, Tensor) and x.node is not None else x for x in leaves(list(self.args))]
        if later is not None:
            given = [later(x) if isinstance(x, Tensor) else x for x in given]
        args = rebuild(list(self.args), iter(given))
        before = structure(args)
        with enable_grad():
            result = self.f(*args)
        if structure(args) != before:
            self.first.undo()
            raise RuntimeError(
                "checkpoint: the function changes a list or a dictionary among its arguments, a copy of which it was "
                "given; change a copy of its own, and return that"
            )
        return result

    def backward(self, gs: tuple[Any, ...], _y: Any, *inputs: Any) -> list[Any]:
        """Run again, and carry the gradients of the results back to the inputs and to what f closed over."""
        owners = [node.memory for node in self.closed_over if isinstance(node, Leaf)]
        owners += [id(owner_of(x.array)) for x in leaves(list(self.args)) if isinstance(x, Tensor)]
        written = any(getattr(tensor.array, "variable", None) is not var for tensor, var in self.read)
        if written or any(self._changed(owner) for owner in owners):
            raise _changed_in_place("a parameter or an argument")
        recorded = isinstance(gs[0], Value)
        given = inputs[: len(self.inputs)]
        start = next_number()
        with self.first.again() as running:
            with running(), self._unfrozen(), enable_grad():
                # variables of its own; when recorded, ones that lead back to the inputs
                variables = [cast(x, dtype=x.dtype) if recorded else Tensor.wrap(x).requires_grad_() for x in given]
                # a program computes a thing once: the arguments must be others now for it to be computed again
                tracer = current_tracer()
                later = tracer.later(gs) if tracer is not None and not recorded else None
                result = self.run(variables, later)
            outputs = [y for y in leaves(result) if isinstance(y, Tensor) and y.node is not None]
            self._require_same(outputs, start)
            roots: list[tuple[Any, Any]] = [(y.node, g) for y, g in zip(outputs, gs, strict=True)]
            targets = [v.node for v in variables if v.node is not None] + self.closed_over
            outside = frozenset(self.closed_over)  # whose hooks see the whole gradient in the sweep that we are in
            if recorded:
                found = recorded_sweep(roots, targets, retain_graph=True, value_class=Tensor, outside=outside)
            else:
                found = sweep(roots, targets, outside=outside)
        return [found.get(node) for node in targets]

    @contextmanager
    def _unfrozen(self) -> Iterator[None]:
        """What was frozen since then takes part as it did: its hooks are called, though no gradient is left there."""
        frozen = [(node, node.frozen()) for node in self.closed_over if isinstance(node, Leaf) and node.frozen]
        try:
            for leaf, tensor in frozen:
                if tensor is not None:
                    tensor.node = leaf
            yield
        finally:
            for _, tensor in frozen:
                if tensor is not None:
                    tensor.node = None

    def _changed(self, owner: int) -> bool:
        return version_counter.write_time(owner) > self.end and not self.first.wrote_to(owner)

    def _require_same(self, outputs: list[Tensor], start: int) -> None:
        """Raise a RuntimeError unless the run that began at `start` computed the same as the first, of the same."""
        older, saved = _upstream(outputs, start)
        if any(start > version_counter.write_time(owner) and self._changed(owner) for owner in saved):
            raise _changed_in_place("a tensor that the function uses")
        same = len(outputs) == len(self.fingerprints) or not self.fingerprints
        if set(self.closed_over).difference(older):
            raise RuntimeError(
                "checkpoint: computing again used other tensors than the forward pass, so a gradient would be lost. "
                "Was a parameter replaced by another in between? Do that after backward()"
            )
        if not same or not all(map(fingerprint.agree, self.fingerprints, _fingerprints(outputs))):
            raise RuntimeError(
                "checkpoint: computing again gave something else than the forward pass. Something that the function "
                "uses was changed in between, or it is random without drawing from a tg.Generator"
            )


def _changed_in_place(what: str) -> RuntimeError:
    return RuntimeError(
        f"checkpoint: {what} was changed in place between the forward and the backward pass, so computing again gives "
        "something else; call backward() before optimizer.step()"
    )


def _fingerprints(outputs: list[Tensor]) -> list[fingerprint.Fingerprint]:
    """None while something is recorded."""
    return [fingerprint.of(y.array) for y in outputs] if current_tracer() is None else []


def _upstream(outputs: Sequence[Tensor], start: int) -> tuple[list[Node], set[int]]:
    """What outputs were computed from: the nodes from before the count stood at `start`, and what memory was saved."""
    seen: set[Any] = {y.node for y in outputs}
    todo, older, saved = list(seen), [], set()
    while todo:
        node = todo.pop()
        if node.number < start:
            older.append(node)
            continue
        if isinstance(node, FunctionNode):
            saved.update([id(owner_of(x)) for x in node.inputs if is_array(x)])
        for parent in node.parents or ():
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return older, saved
