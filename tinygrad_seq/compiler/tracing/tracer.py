"""Watching one call of a function: what it computes, what it takes from outside, and what it leaves there.

While it watches, the function finds a `ProxyArray` where a tensor has its array, and what it changes lies beside, in
the `Overlay`: nothing outside is written, and what the function meant to change is known as a list of stores.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any
from weakref import ref

from ...backend import SCALAR, Array, backend_of, is_array
from ...backend.pytree import leaves
from ...graph import Leaf, Value
from ...graph.saved_tensors import is_shared, shares_memory
from ...graph.tracing_hook import CompileError, require_unpadded, tracers
from ..operations import EFFECTS, VIEWS, evaluate
from ..program import GIVEN, Instr, Number, Program, Source, Var
from .accessors import argument_grad_array, grad_array
from .assigned import Assigned
from .attribute_reads import AttributeReads
from .loops import record
from .optimizers import Optimizers
from .overlay import Overlay
from .placement import Placement
from .proxies import ProxyArray, Viewed, written_back
from .proxy_backend import enroll
from .released import require_released
from .symbolic_scalar import SymbolicScalar, pinned

_OURS = (__file__.rpartition("tinygrad_seq")[0] + "tinygrad_seq", __file__.rpartition("tinygrad_seq")[0] + "nn")


class Tracer(Placement):
    """Records one call.

    Args:
        name: of the function.
        varying: the identities of places where numbers may be others at the next call.
        varying_arguments: which arguments are such numbers.
        classes: of whose objects it is noted which attributes are looked up.
        states: attributes that hold a state: the identities of modules, and names.

    Attributes:
        program: what was recorded.
        guards: what must be as it was for the program to be right: functions that say whether it is.
        commits: for SymbolicScalars that go somewhere: where to, and which.
        captures: the tensors, by identity, that were used or asked whether they carry a gradient, and are no
            arguments, and whether they were constants.
        known_leaves: those whose gradient the function looks at or changes without being given them.
        padded: the layer that computes on rows that hold nothing, too; see `tracing_hook.padded`.
        aliased_sources: pairs of sources with one array, as an argument that is a captured tensor too.
        made_here: the arrays that were watched.
        keeps: whether somebody has kept what is the same at each call, as an `lru_cache` does: the next call finds it.
    """

    varying: frozenset[Any]
    classes: Iterable[type[Any]]
    scan = record

    def __init__(
        self,
        name: str,
        varying: frozenset[Any] = frozenset(),
        varying_arguments: Collection[int] = (),
        classes: Iterable[type[Any]] = (),
        states: Collection[tuple[int, str]] = (),
    ) -> None:
        super().__init__(name)
        self.states: frozenset[tuple[int, str]] = frozenset(states)
        self.varying, self._varying_arguments, self.classes = varying, varying_arguments, classes
        self.program: Program = Program()
        self.guards: list[Callable[[], bool]] = []
        self.commits: list[tuple[Callable[[Any], None], Number]] = []
        self.aliased_sources: dict[tuple[int, int], tuple[Source, Source]] = {}
        self.backend: Any = enroll(self)
        self._thread = threading.get_ident()
        self.made_here: list[ref[ProxyArray]] = []
        self._runs = 0
        self.known_leaves: frozenset[Leaf] = frozenset()
        self.arrays: dict[int, tuple[Array, ProxyArray, Source]] = {}  # from outside, by identity
        self.initial: dict[Var, tuple[ProxyArray, Array]] = {}
        self.tensors: list[tuple[Value, Array, Any, Var]] = []
        self._stand_ins: dict[int, Value] = {}  # for the arguments, by identity
        self.captures: dict[int, tuple[Value, bool]] = {}
        self.leaves: dict[int, tuple[Leaf, Any, bool]] = {}
        self.argument_leaves: dict[int, int] = {}  # of the arguments that require a gradient, which is whose
        self.optimizers: Optimizers = Optimizers(self)
        self.attribute_reads: AttributeReads = AttributeReads(self)
        self.overlay: Overlay = Overlay(self)
        self.generators: dict[int, tuple[Any, tuple[int, int], SymbolicScalar, SymbolicScalar]] = {}
        self.assigned: Assigned = Assigned(self)
        self.seen: set[int] = set()  # the tensors that were looked at, by identity
        self.refused: CompileError | None = None
        self.keeps = False
        self.padded: str | None = None
        self._sent: ProxyArray | None = None  # what came of the last message to other processes

    # --- operations ---

    def mine(self) -> bool:
        """Whether this is the thread whose call is watched."""
        return threading.get_ident() == self._thread

    def emit(self, op: str, *args: Any, **params: Any) -> ProxyArray:
        """Compute an operation, and write it down unless it will be the same every time."""
        given, values, constant = [], [], op not in (*EFFECTS, "random_bits")
        for a in args:
            if type(a) is ProxyArray or is_array(a):
                a = self.traced(a)
                a.refresh()
                given.append(a.variable)
                values.append(a.value)
                constant = constant and a.variable in self.program.constants
            elif type(a) is SymbolicScalar:
                given.append(a.number)
                if a.number.is_int:
                    self.program.integer_numbers.add(a.number.index)
                values.append(a.value)
                constant = False
            else:
                given.append(a)
                values.append(a)
        with self.target.on(self.index):
            value = evaluate(op, values, params) if op != "collective" else params["message"].alone(*values)
        view = op in VIEWS and type(args[0]) is ProxyArray and shares_memory(value, args[0].value)
        viewed = None
        if view:
            again = partial(self._again, op, args[1:], params)
            taken = (op, params) if len(args) == 1 else None
            viewed = Viewed(args[0], args[0].variable, again, written_back(op, params), taken)
        if constant:
            return ProxyArray(self, value, self.program.constant(value), viewed)
        out = self.program.new(value.shape, value.dtype)
        self.program.instrs.append(Instr(op, tuple(given), params, out, self.line()))
        return ProxyArray(self, value, out, viewed)

    def _again(self, op: str, rest: tuple[Any, ...], params: dict[str, Any], base: ProxyArray) -> ProxyArray:
        return self.emit(op, base, *rest, **params)

    def collective(self, message: Any, x: Any, *rest: Any) -> ProxyArray:
        """A message to other processes, sent at each call, after the one before it; while recording nothing is sent."""
        before = () if self._sent is None else (self._sent,)
        self._sent = sent = self.emit("collective", x, *rest, *before, message=message, count=1 + len(rest))
        return sent

    def read_since(self, count: int) -> list[tuple[Value, Var]]:
        """For `checkpoint`: the tensors from outside that were read since so many operations, as they are."""
        read = {v for instr in self.program.instrs[count:] for v in instr.inputs()}
        found = [(tensor, getattr(tensor.array, "variable", None)) for tensor, _, _, _ in self.tensors]
        return [(tensor, var) for tensor, var in found if var in read]

    def later(self, gradients: Iterable[Any]) -> Callable[[Value], Any]:
        """For `checkpoint`: a function from tensors to the same ones as they are when these gradients have arrived."""
        waits = [self.traced(g) for g in gradients if is_array(g)]
        self._runs += 1

        def after(tensor: Value) -> Any:
            self.capture(tensor)
            return tensor.result_class.wrap(self.emit("after", tensor.array, *waits, again=self._runs), tensor.node)

        return after

    def constant(self, array: Array) -> ProxyArray:
        return ProxyArray(self, array, self.program.constant(array))

    def is_constant(self, x: Any) -> bool:
        return type(x) is not ProxyArray or x.refresh().variable in self.program.constants

    def line(self) -> str:
        """Where in the user's code we are."""
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        return sys.intern(f"{frame.f_code.co_filename}:{frame.f_lineno}") if frame is not None else ""

    # --- numbers ---

    def number(self, value: Any, function: Callable[..., Any], *args: Any) -> SymbolicScalar:
        """A symbolic number: the program evaluates it at each call."""
        self.program.numbers.append((function, tuple([a.number if type(a) is SymbolicScalar else a for a in args])))
        return SymbolicScalar(value, Number(len(self.program.numbers) - 1, type(value) is int), self)

    def guard(self, function: Callable[..., bool], outcome: bool, *args: Any) -> bool:
        """Python decided something by a number: the program is right as long as it would decide so again."""
        self.program.decisions.append((self.number(outcome, function, *args).number, outcome))
        return outcome

    def made(self, data: Any, dtype: Any = None) -> ProxyArray:
        """Numbers as an array: of a symbolic one, one that is computed at each call."""
        if type(data) is SymbolicScalar:
            made: ProxyArray = self.emit("multiply", super().made(type(data.value)(1), dtype), data)
            return made
        found: ProxyArray = super().made(pinned(data), dtype)
        return found

    def refuses(self, error: CompileError) -> None:
        """Something cannot be recorded, which stays so if the function catches the error."""
        self.refused = self.refused or error

    # --- what comes from outside ---

    def traced(self, x: Any) -> ProxyArray:
        """An array as one under observation."""
        if type(x) is ProxyArray:
            return x
        if isinstance(x, SCALAR) or not is_array(x):
            return self.made(x)
        return self._known(x, x, Source("a captured array", lambda _args: x))

    def given(self, x: Any, i: int) -> Any:
        """What the function gets as its i-th argument: a stand-in for a tensor, which may be a captured one too."""
        if type(x) in (int, float) and i in self._varying_arguments:
            return self.number(x, operator.getitem, GIVEN, i)
        if not isinstance(x, Value):
            if not is_array(x) or isinstance(x, SCALAR):
                return x
            return self._known(x, x, Source(f"argument {i}", lambda args: args[i], per_call=True))
        if id(x) not in self._stand_ins:
            self._stand_ins[id(x)] = stand_in = self.stand_in(x, f"argument {i}", lambda args: args[i].array)
            if isinstance(stand_in.node, Leaf):
                self.argument_leaves.setdefault(id(stand_in.node), i)
        return self._stand_ins[id(x)]

    def stand_in(self, x: Value, name: str, read: Callable[[list[Any]], Any]) -> Value:
        """A tensor for one from outside that is another one at each call."""
        made = type(x).wrap(*self.overlay.plain(x))
        self.overlay.made.discard(id(made))
        getattr(made, "__dict__", {}).update(getattr(x, "__dict__", {}))
        self.capture(made, name, read)
        return made

    def _known(self, array: Array, holder: Any, source: Source) -> ProxyArray:
        """The array under observation; from this source, unless it came from another one before."""
        known = self.arrays.get(id(array))
        if known is None:
            return self.source(array, source)
        self.aliased_sources[id(array), id(holder)] = (known[2], source)
        return known[1]

    def source(self, array: Array, source: Source) -> ProxyArray:
        self.settle(backend_of(array), backend_of(array).device_name(array), f"{source.name} lives")
        var = self.program.new(array.shape, array.dtype)
        traced = ProxyArray(self, array, var)
        self.program.sources[var] = source
        self.arrays[id(array)] = (array, traced, source)
        self.initial[var] = (traced, array)
        return traced

    def captured(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The operands of a primitive, arrays among them under observation, too."""
        if not self.mine():
            return inputs
        for x in inputs:
            if not isinstance(x, Value) and is_array(x) and not isinstance(x, SCALAR):
                return tuple([self.traced(y) if is_array(y) and not isinstance(y, SCALAR) else y for y in inputs])
        return inputs

    def capture(
        self, tensor: Value, name: str = "a captured tensor", read: Callable[[list[Any]], Any] | None = None
    ) -> None:
        """Put a tensor under observation."""
        if self.overlay.knows(tensor):
            return
        array, node = self.overlay.plain(tensor)
        self.seen.add(id(tensor))
        if read is None:
            self.captures[id(tensor)] = (tensor, node is None)
        per_call = name.startswith(("argument", "a gradient", "an attribute"))
        source = Source(name, read or (lambda _args: tensor.array), per_call)
        traced = self._known(array, tensor, source)
        self.tensors.append((tensor, array, node, traced.variable))
        tensor.array = traced

    def asked(self, tensor: Value, node: Any) -> None:
        """Whether a tensor carries a gradient is about to be looked at."""
        if id(tensor) not in self.overlay.made and not self.overlay.knows(tensor):
            self.captures[id(tensor)] = (tensor, node is None)

    def reads_grad(self, leaf: Leaf, writes: bool = False) -> None:
        """A leaf's gradient is about to be looked at, or replaced."""
        if self.mine() and id(leaf) not in self.leaves:
            self.leaves[id(leaf)] = (leaf, leaf.grad, writes)
            if leaf.grad is not None and not writes:
                place = self.argument_leaves.get(id(leaf))
                read = grad_array(leaf) if place is None else argument_grad_array(place)
                self.capture(leaf.grad, "a gradient", read)

    def adds_to_grad(self, leaf: Leaf) -> None:
        """A gradient is about to be added to: by a program in another tensor, which nobody else may have to notice."""
        if not self.mine():
            return
        twice = any(kept is leaf.grad for other, kept, _ in self.leaves.values() if other is not leaf)
        if twice or is_shared(leaf.grad):
            raise CompileError(
                f"compile: {self.name} adds to a gradient whose memory another tensor shows, too (a buffer of several, "
                "a view, another leaf's), which would not see the sum; call zero_grad() inside, or backward() outside"
            )
        self.guards.append(lambda: not is_shared(leaf.grad))

    def makes(self, module: Any) -> None:
        """A module has been made, of whose attributes nobody knows."""
        if self.mine():
            self.assigned.made[id(module)] = module

    def assigns(self, module: Any, name: str) -> None:
        """An attribute of a module is about to be another one."""
        if self.mine():
            self.assigned.note(module, name)

    def optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to take a step."""
        if self.mine():
            self.optimizers.steps(optimizer)

    def seeded(self) -> None:
        """A generator is made or seeded, which would have to be done again at each call."""
        if self.mine():
            raise CompileError(f"compile: a generator is made or seeded; do that outside ({self.line()})")

    def seen_elsewhere(self, tensor: Any) -> None:
        """Another thread looks at a tensor: at one that stands for an argument only if it works for the function."""
        if not self.mine() and any(tensor is x for x in [*self._stand_ins.values()]):
            self.refuses(self._hands_over())

    def hands_over(self) -> None:
        """The function is about to let another thread or process work for it, of which nothing would be recorded."""
        raise self._hands_over()

    def _hands_over(self) -> CompileError:
        return CompileError(
            f"compile: {self.name} starts a thread, or gives one of a pool something to do, which a replay would not "
            f"do again; do that outside, or call it here ({self.line()})"
        )

    def stands(self, generator: Any) -> tuple[SymbolicScalar, SymbolicScalar]:
        """The seed of a generator, and its position after what was drawn so far."""
        known = self.generators.get(id(generator))
        if known is None:
            seed = self.number(generator.seed, lambda: generator.seed)
            start = self.number(generator.offset, lambda: generator.offset)
            known = self.generators[id(generator)] = (generator, generator.get_state(), seed, start)
        _, (_, first), seed, start = known
        moved = generator.offset - first
        return seed, self.number(generator.offset, lambda offset: offset + moved, start)

    def random_bits(self, generator: Any, count: int, target: Any) -> ProxyArray:
        """The next random bits of a generator."""
        require_unpadded("its cell would draw random numbers")
        seed, position = self.stands(generator)
        self.settle(target.backend_module, str(target), "random numbers are drawn")
        drawn = self.target.random_bits(generator.seed, generator.offset, count, self.index)
        out = self.program.new(drawn.shape, drawn.dtype)
        params = {"count": count, "backend": target.backend_module, "index": target.index}
        self.program.instrs.append(Instr("random_bits", (seed.number, position.number), params, out, self.line()))
        generator.offset += (count + 7) // 8
        return ProxyArray(self, drawn, out)

    # --- the end ---

    def end(self) -> None:
        """Watch no longer. A second time it does nothing."""
        while self in tracers:
            tracers.remove(self)
        self.overlay.remove()
        self._thread = 0

    def release(self) -> None:
        """Forget all arrays. A tensor under observation that somebody still has gets the numbers of this call.

        Raises:
            CompileError: if there is one, for a replay would not put another one there, or if anything was refused.
        """
        self.assigned.put_back()
        lines = {instr.out: instr.line for instr in self.program.instrs}
        states = self.attribute_reads.states
        stand_ins = [ref(x) for x in [*self._stand_ins.values(), *leaves([*states.values()])]]
        self.overlay.clear()
        self._sent = None
        for held in (self.arrays, self.initial, self.tensors, self._stand_ins, self.leaves, states):
            held.clear()
        try:
            self.keeps = require_released(self.name, self.made_here, stand_ins, lines)
        finally:
            if self.refused is not None:
                raise self.refused
