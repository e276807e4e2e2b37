"""Recompute instead of store: `checkpoint`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .autodiff import recorded_sweep, sweep
from .backend import array_module
from .grad_mode import enable_grad, is_grad_enabled
from .graph import Leaf, Node, Primitive, Value
from .memory import memory, next_number, owner_of
from .ops.elementwise import cast
from .recording import active as recording
from .streams import default_generator
from .tensor import Tensor
from .tree import leaves, rebuild, tree_map


def checkpoint(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args), keeping only the arguments: what lies between is computed again when the backward pass gets there.

    Memory for time (Chen et al., "Training deep nets with sublinear memory cost", 2016): cut a sequence of T steps into
    √T pieces and the memory falls from T to about 2 √T, for one more forward pass. Random numbers are drawn again as
    they were. Derivatives of any order pass through, also to tensors that f uses without being given them.

    Args:
        f: takes tensors or containers of them, and returns a tensor or a container of tensors.

    Raises:
        RuntimeError: in the backward pass, if a parameter or an argument of f was changed in place in between.
        TypeError: if f is no function.
    """
    if not callable(f):
        raise TypeError(f"checkpoint: takes a function first, got a {type(f).__name__}")
    if not is_grad_enabled():
        return f(*args)
    segment = _Segment(f, args)
    recorder = recording[-1] if recording and recording[-1].mine() else None
    count = len(recorder.program.instrs) if recorder is not None else 0
    result = segment.run([x.detach().requires_grad_() for x in segment.inputs])
    strange = [y for y in leaves(result) if not isinstance(y, Tensor)]
    if strange:
        raise TypeError(f"checkpoint: the function must return tensors, it returned a {type(strange[0]).__name__}")
    outputs = [y for y in leaves(result) if y.node is not None]
    if not outputs:
        return result
    segment.sums = _sums(outputs)
    segment.read = recorder.read_since(count) if recorder is not None else []
    segment.closed_over = _older_than(segment.start, [y.node for y in outputs])
    once = [tuple([y.array for y in outputs])]
    applied = Primitive(lambda *_: once.pop(), "checkpoint")  # hands them over and does not hold on to them
    applied.vjp_joint(segment.backward)
    # what f uses without being given it takes part as an input without elements, for the sake of its node
    nothing = array_module(outputs[0].array).zeros(0)
    applied_outputs = iter(applied(*segment.inputs, *[Tensor.wrap(nothing, node) for node in segment.closed_over]))
    return tree_map(lambda y: next(applied_outputs) if y.node is not None else y, result)


class _Segment:
    """A function that can be run again as it was run first."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.f, self.args = f, args
        self.inputs = [x for x in leaves(list(args)) if isinstance(x, Tensor) and x.node is not None]
        self.stream = default_generator.get_state()
        self.start = next_number()
        self.closed_over: list[Node] = []
        self.read: list[tuple[Value, Any]] = []  # tensors from outside as they were, in a recording
        self.sums: list[float] = []  # of the outputs, to see whether they come out again

    def run(self, variables: list[Tensor], later: Callable[[Tensor], Tensor] | None = None) -> Any:
        """f of its arguments, with variables in the place of those that are recorded."""
        rest = iter(variables)
        given = [next(rest) if isinstance(x, Tensor) and x.node is not None else x for x in leaves(list(self.args))]
        if later is not None:
            given = [later(x) if isinstance(x, Tensor) else x for x in given]
        with enable_grad():
            return self.f(*rebuild(list(self.args), iter(given)))

    def backward(self, gs: tuple[Any, ...], _y: Any, *inputs: Any) -> list[Any]:
        """Run again, and carry the gradients of the results back to the inputs and to what f closed over."""
        owners = [node.memory for node in self.closed_over if isinstance(node, Leaf)]
        owners += [id(owner_of(x.array)) for x in leaves(list(self.args)) if isinstance(x, Tensor)]
        written = any(getattr(tensor.array, "var", None) is not var for tensor, var in self.read)
        if written or any(memory.time(owner) > self.start for owner in owners):
            raise RuntimeError(
                "checkpoint: a parameter or an argument was changed in place between the forward and the backward "
                "pass, so computing again gives something else; call backward() before optimizer.step()"
            )
        here = default_generator.get_state()
        recorded = isinstance(gs[0], Value)
        given = inputs[: len(self.inputs)]
        default_generator.set_state(self.stream)
        try:
            with enable_grad():
                # variables of its own; when recorded, ones that lead back to the inputs
                variables = [cast(x, dtype=x.dtype) if recorded else Tensor.wrap(x).requires_grad_() for x in given]
                # a program computes a thing once: the arguments must be others now for it to be computed again
                later = recording[-1].later(gs) if recording and recording[-1].mine() and not recorded else None
                result = self.run(variables, later)
        finally:
            default_generator.set_state(here)
        again = _sums([y for y in leaves(result) if y.node is not None])
        if any(abs(a - b) > 1e-5 * abs(b) for a, b in zip(again, self.sums, strict=False)):  # none while recording
            raise RuntimeError(
                "checkpoint: computing again gave something else than the forward pass. Something that the function "
                "uses was changed in between, or it draws from a generator of its own: make that one inside of it"
            )
        roots = [(y.node, g) for y, g in zip([y for y in leaves(result) if y.node is not None], gs, strict=True)]
        targets = [v.node for v in variables if v.node is not None] + self.closed_over
        if recorded:
            found = recorded_sweep(roots, targets, retain_graph=True, value_class=Tensor)
        else:
            found = sweep(roots, targets)
        return [found.get(node) for node in targets]


def _sums(outputs: list[Tensor]) -> list[float]:
    return [] if recording and recording[-1].mine() else [float(abs(y.array).sum()) for y in outputs]


def _older_than(start: int, roots: Iterable[Node]) -> list[Node]:
    """The first nodes met on the way back from the roots that existed before the count stood at `start`."""
    seen: set[Node] = set(roots)
    todo, older = list(seen), []
    while todo:
        node = todo.pop()
        if node.number < start:
            older.append(node)
            continue
        for parent in node.parents or ():
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return older
