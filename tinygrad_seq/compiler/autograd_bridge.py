"""A replay as one application of a primitive, so that its results are tensors like others in front of `backward`.

Its rule replays the backward half of the program. What that half needs from the call lies in the memory of the forward
half until another call wants to write there; only then is it copied out, for a call whose backward pass is still to
come. Recorded, as for a second derivative, the rule runs the function itself again, as `checkpoint` does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ref

from ..autodiff import recorded_sweep
from ..backend import Array, array_module, is_array
from ..backend.pytree import leaves
from ..graph import Primitive, Value
from ..graph.grad_mode import enable_grad
from ..graph.saved_tensors import next_number, owner_of, version_counter
from ..graph.tracing_hook import CompileError, current_tracer
from ..tensor import Tensor
from .partition import Partition
from .program import Program, Source, Var
from .tracing.joint_graph import Sweep, without_hooks


class Function(NamedTuple):
    """What a second derivative needs to know of the function.

    Attributes:
        name: what messages call it.
        call: from the values of its argument tree to its result, in Python.
        leaves_more: whether it changes something outside, so that it cannot be called again.
    """

    name: str
    call: Callable[[list[Any]], Any]
    leaves_more: bool


class _Call:
    """What one call leaves for its backward pass. The node holds it, and lets go of it when it is freed.

    Attributes:
        saved_buffers: what the forward half computed, once it had to make room for another call.
        outside: the arrays that came from outside.
    """

    __slots__ = ("__weakref__", "given", "inputs", "numbers", "outside", "results", "saved_buffers", "streams", "time")

    def __init__(self, given: list[Any], numbers: list[Any], outside: list[Array], streams: list[Any]) -> None:
        self.given = [_frozen(x) for x in given]
        self.numbers, self.outside, self.streams = numbers, outside, streams
        self.saved_buffers: list[Array] | None = None
        self.inputs: list[Tensor] = []  # of the primitive, until it is applied
        self.results: tuple[Array, ...] = ()
        self.time = next_number()


def _frozen(x: Any) -> Any:
    """An argument that stays as it is when the user's tensor becomes another one, or an array of theirs changes."""
    if isinstance(x, Value):
        return type(x).wrap(x.array.copy() if id(owner_of(x.array)) in version_counter.lent else x.array, x.node)
    return x.copy() if is_array(x) else x


class _Replayed(Primitive[...]):
    """The primitive: tensors, and what the call leaves, to results."""

    def __init__(self, name: str, rule: Callable[..., Any], unread: tuple[int, ...]) -> None:
        super().__init__(_handed_over, name)
        self.vjp_joint(rule)
        self._unread = unread

    def _plan(self, wanted: tuple[bool, ...]) -> tuple[tuple[int, ...] | None, bool | None]:
        """Only what the backward half reads is kept."""
        return (self._unread, False) if any(wanted) else (None, None)


def _handed_over(*inputs: Any) -> tuple[Array, ...]:
    call = inputs[-1]
    results: tuple[Array, ...] = call.results
    call.results = ()
    return results


class CompiledBackward:
    """The backward half of a replay.

    Args:
        gradients: for each tensor that wants one, its gradient in the backward half.
        results: the results that carry a gradient, in the forward half.
        lock: of the compiled function, whose memory this uses.
        guards: what must be as it was at the call, to call the function again.
    """

    def __init__(
        self,
        sweep: Sweep,
        cut: Partition,
        gradients: list[Var | None],
        results: list[Var],
        function: Function,
        guards: list[Callable[[], bool]],
        executor_for: Callable[[Program], Any],
        lock: Any,
    ) -> None:
        self._sweep, self._cut, self._gradients, self._results = sweep, cut, gradients, results
        self._function, self._lock, self._guards = function, lock, guards
        self._executor_for = executor_for
        self._executor: Any = None  # made when the first gradient arrives
        self._blocks: list[Array] = []
        self._owner: Callable[[], _Call | None] = lambda: None
        positions = {w.var: k for k, w in reversed([*enumerate(sweep.wanted)])}
        read: set[int] = set()
        self._more: list[tuple[Source, bool]] = []  # inputs that want no gradient, and whether to copy them
        self._find: list[tuple[str, int]] = []  # for each source of the backward half, where its array is
        for var, source in cut.backward.sources.items():
            if var in cut.saved_buffers:
                self._find.append(("block", cut.saved_buffers.index(var)))
            elif var in sweep.cotangents:
                self._find.append(("cotangents", sweep.cotangents.index(var)))
            else:
                if var not in positions:
                    positions[var] = len(sweep.wanted) + len(self._more)
                    self._more.append((source, var not in sweep.tensors))
                read.add(positions[var])
                self._find.append(("input", positions[var]))
        pairs = zip(cut.backward.sources.items(), self._find, strict=True)
        outside = [entry for entry, (kind, _) in pairs if kind == "input"]
        self._shapes = [(var.shape, var.dtype) for var, _ in outside]
        self._from_outside = [source for _, source in outside]
        unread = tuple([k for k in range(len(sweep.wanted)) if k not in read])
        self._primitive = _Replayed(function.name, self._rule, unread)

    def fits(self, given: list[Any]) -> bool:
        """Whether what comes from outside is of the shapes and dtypes that were recorded."""
        arrays = [source.read(given) for source in self._from_outside]
        return all((a.shape, a.dtype) == s for a, s in zip(arrays, self._shapes, strict=True))

    def called(self, given: list[Any], numbers: list[Any], arrays: list[Array]) -> _Call:
        """Note a call that is about to run the forward half, on these arrays, and let it write where it does."""
        streams = [(generator, generator.get_state()) for generator in self._sweep.generators]
        call = _Call(given, numbers, [*arrays, *[s.read(given) for s in self._from_outside]], streams)
        more = [(source.read(given), copied) for source, copied in self._more]
        call.inputs = [w.read(given) for w in self._sweep.wanted]
        call.inputs += [Tensor.wrap(a.copy() if copied else a) for a, copied in more]
        self._make_room()
        return call

    def applied(self, call: _Call, values: dict[Var, Array]) -> tuple[Tensor, ...]:
        """The results that carry a gradient, as results of the primitive."""
        self._blocks = [values[block] for block in self._cut.saved_buffers]
        self._owner = ref(call)
        call.results = tuple([values[y].copy() for y in self._results])
        inputs, call.inputs = call.inputs, []
        with enable_grad():
            made: Any = self._primitive(*inputs, call)
        return made

    def _make_room(self) -> None:
        """Copy out what an earlier call needs, which is about to be written over."""
        owner = self._owner()
        self._owner = lambda: None
        if owner is not None and owner.saved_buffers is None:
            owner.saved_buffers = [block.copy() for block in self._blocks]

    # --- the rule ---

    def _rule(self, g: tuple[Any, ...], _y: Any, *inputs: Any) -> list[Any]:
        call: _Call = inputs[-1]
        if current_tracer() is not None:
            raise CompileError(
                f"compile: a backward pass inside a compiled function reaches the result of {self._function.name}, "
                "which was called outside of it; detach() that, or call both inside"
            )
        rest = [None] * (len(self._more) + 1)
        if any(isinstance(part, Value) for part in g):
            return [*self._rerun_eagerly(g, call, inputs), *rest]
        with self._lock:
            self._bring_back(call)
            if self._executor is None:
                self._executor = self._executor_for(self._with_copied_inputs(call, inputs))
            found = {"block": self._blocks, "cotangents": g, "input": inputs}
            values = self._executor.run([found[kind][k] for kind, k in self._find], call.numbers)
            made = [None if v is None else values[v].copy() for v in self._gradients]
        return [*made, *rest]

    def _with_copied_inputs(self, call: _Call, inputs: tuple[Any, ...]) -> Program:
        """The backward half; what the node keeps a copy of, because others can write to it, is another at each call."""
        program = self._cut.backward
        for (var, source), (kind, k) in zip([*program.sources.items()], self._find, strict=True):
            if kind == "input" and inputs[k] is not source.read(call.given):
                program.sources[var] = Source(source.name, source.read, per_call=True)
        return program

    def _bring_back(self, call: _Call) -> None:
        """Let the numbers of this call be where the backward half looks for them."""
        if self._owner() is not call:
            self._make_room()
            for block, kept in zip(self._blocks, call.saved_buffers or (), strict=True):
                array_module(block).copyto(block, kept)
            self._owner = ref(call)

    def _rerun_eagerly(self, g: tuple[Any, ...], call: _Call, inputs: tuple[Any, ...]) -> list[Any]:
        """The gradients as tensors, which can be differentiated: the function is run in Python, as it was run first."""
        nodes: list[Any] = [x.node if isinstance(x, Value) else x for x in inputs[: len(self._sweep.wanted)]]
        self._require_as_it_was(call, nodes)
        here = [(generator, generator.get_state()) for generator, _ in call.streams]
        for generator, state in call.streams:
            generator.set_state(state)
        try:
            with enable_grad():
                results = leaves(self._function.call(call.given))
        finally:
            for generator, state in here:
                generator.set_state(state)
        roots = [(results[position].node, part) for position, part in zip(self._sweep.positions, g, strict=True)]
        with without_hooks(nodes):
            found = recorded_sweep(roots, nodes, retain_graph=True, value_class=Tensor)
        return [found.get(node) for node in nodes]

    def _require_as_it_was(self, call: _Call, nodes: list[Any]) -> None:
        name = self._function.name
        cure = f"differentiate {name} as it is, without compile"
        if self._function.leaves_more:
            raise RuntimeError(
                f"backward: a second derivative through the compiled {name} would call it again, and it changes "
                f"something outside (gradients, parameters, buffers); {cure}"
            )
        same = all(guard() for guard in self._guards)
        with suppress(AttributeError, LookupError):
            sources = [*self._cut.forward.sources.values(), *self._from_outside]
            now = [a if s.per_call else s.read(call.given) for s, a in zip(sources, call.outside, strict=True)]
            same = same and all(a is b for a, b in zip(now, call.outside, strict=True))
        same = same and all(version_counter.write_time(id(owner_of(a))) <= call.time for a in call.outside)
        if not same or any(w.read(call.given).node is not n for w, n in zip(self._sweep.wanted, nodes, strict=True)):
            raise RuntimeError(
                f"backward: a second derivative through the compiled {name} calls it again, and something that it uses "
                f"was changed since; change it after backward(), or {cure}"
            )
