"""One program of a compiled function with what belongs to it outside: running it, and leaving its results there."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, NamedTuple

from ..backend import Array, numpy_backend
from ..backend.pytree import rebuild
from ..graph import Leaf, Value, recomputation
from ..graph.saved_tensors import LastWrite, version_counter
from .autograd_bridge import CompiledBackward, Function
from .captures import CapturedInputs
from .executors import native_taken
from .grad_buffers import GradientOutputs
from .guards import LookupGuard
from .names import attributes, has_attributes
from .numpy.executor import NumpyExecutor
from .operations import base_of
from .partition import partition
from .passes import optimized
from .program import Instr, Number, Program, Source, Var
from .result_views import ViewOutput
from .scalar_program import evaluation
from .snapshots import alike
from .tracing.joint_graph import Sweep
from .tracing.tracer import Tracer


class PlainOutput(NamedTuple):
    """The result is an array, in a tensor unless `kind` is None."""

    var: Var
    kind: type[Value] | None


class DifferentiableOutput(NamedTuple):
    """The result is a tensor that carries a gradient: which of them."""

    var: Var
    position: int


class AliasOutput(NamedTuple):
    """The result is an argument, or the leaf that gets a gradient is one's: which."""

    position: int


class RepeatedOutput(NamedTuple):
    """The result is an earlier one once more: which."""

    position: int


class ScalarOutput(NamedTuple):
    """The result is one of the program's symbolic numbers: which."""

    position: int


class Prepared(NamedTuple):
    """What a call takes from outside.

    Attributes:
        given: the values of its argument tree.
        numbers, arrays: the program's.
        targets: where its stores go.
    """

    given: list[Any]
    numbers: list[Any]
    arrays: list[Array]
    targets: list[Array]


class Executable:
    """A program with what belongs to it outside: where its numbers come from and go to."""

    lookups: LookupGuard
    commits: list[tuple[Callable[[Any], None], Number]]
    form: Any
    outputs: list[Any]
    gradients: GradientOutputs

    def __init__(
        self,
        tracer: Tracer,
        lookups: LookupGuard,
        form: Any,
        outputs: list[Any],
        stores: list[tuple[Source, Var]],
        grads: list[tuple[Leaf | int, Var | None]],
        executor: Callable[[Program], NumpyExecutor],
        sweep: Sweep | None,
        call: Callable[[list[Any]], Any],
        lock: Any,
        given: list[Any],
    ) -> None:
        self.lookups, self.commits, self.form = lookups, tracer.commits, form
        self.guards: list[Callable[[], bool]] = [lookups, *tracer.guards]
        self._name = tracer.name
        self._aliased_sources = list(tracer.aliased_sources.values())
        self._known_leaves, self._left = tracer.known_leaves, tracer.assigned.left
        self._generators = [generator for generator, *_ in tracer.generators.values()]
        self._recorded_leaf_nodes = self._known_leaf_nodes(given)
        self._objects = [(i, x) for i, x in enumerate(given) if has_attributes(x)]
        program = tracer.program
        program.backend, program.index = tracer.target, tracer.index
        producers = {instr.out: instr for instr in program.instrs}
        stores = [(source, _copy_if_input(program, producers, var)) for source, var in stores]
        grads = [(leaf, None if var is None else _copy_if_input(program, producers, var)) for leaf, var in grads]
        outputs = [
            out._replace(var=_copy_if_input(program, producers, out.var))
            if isinstance(out, (PlainOutput, DifferentiableOutput))
            else out
            for out in outputs
        ]
        made = [out.var for out in outputs if isinstance(out, (PlainOutput, DifferentiableOutput))]
        made += [var for _, var in stores] + [var for _, var in grads if var is not None]
        back = [w.gradient for w in sweep.wanted] if sweep is not None else []
        program.outputs = list(dict.fromkeys([*made, *[v for v in back if v is not None]]))
        with program.backend.on(program.index):  # what is the same at each call, passes compute
            self.program: Program = optimized(program)
        now = self.program.renamed
        self.outputs = [
            out._replace(var=now.get(out.var, out.var)) if isinstance(out, (PlainOutput, DifferentiableOutput)) else out
            for out in outputs
        ]
        self._later = [(k, out) for k, out in enumerate(self.outputs) if isinstance(out, (RepeatedOutput, ViewOutput))]
        self.stores: list[tuple[Source, Var]] = [(source, now.get(var, var)) for source, var in stores]
        written = {source for source, _ in stores}
        self.gradients = GradientOutputs([(leaf, None if var is None else now.get(var, var)) for leaf, var in grads])
        self.backward: CompiledBackward | None = None
        if sweep is not None:
            function = Function(tracer.name, call, bool(stores or grads or self._left))
            self.backward = self._differentiable(sweep, back, function, written, executor, lock)
        self.program.renamed = {}  # it keeps all that was recorded
        if self.backward is None:  # which may need the old numbers
            of_source = {source: var for var, source in self.program.sources.items()}
            lent = {var for _, var in self.gradients.wanted}  # which others must not write to
            self.program.stores = {
                of_source[source]: var for source, var in self.stores if source in of_source and var not in lent
            }
        self._captured = CapturedInputs(self.program, written)
        positions = {source: position for position, source in enumerate(self.program.sources.values())}
        # most are read as well
        self._targets: list[int | Callable[[list[Any]], Any]] = [
            positions.get(source, source.read) for source, _ in stores
        ]
        self._last_writes: list[LastWrite] = []  # entries of the version counter for the targets of the last call
        self._evaluate = evaluation(self.program.numbers)
        self._executor = executor(self.program)

    def _differentiable(
        self, sweep: Sweep, back: list[Var | None], function: Function, written: set[Source], *rest: Any
    ) -> CompiledBackward:
        """Keep the half of the program that runs at a call; the other half is the `CompiledBackward`'s."""
        now = self.program.renamed
        gradients = [None if v is None else now.get(v, v) for v in back]
        differentiable = {out.position: out.var for out in self.outputs if isinstance(out, DifferentiableOutput)}
        seen = [out.var for out in self.outputs if isinstance(out, (PlainOutput, DifferentiableOutput))]
        seen += [var for _, var in self.stores] + [var for _, var in self.gradients.wanted if var is not None]
        changed = {var for var, source in self.program.sources.items() if source in written}
        wanted = list(dict.fromkeys([v for v in gradients if v is not None]))
        cut = partition(self.program, list(dict.fromkeys(seen)), wanted, changed)
        self.program = cut.forward
        results = [differentiable[position] for position in range(len(differentiable))]
        return CompiledBackward(sweep, cut, gradients, results, function, self.guards, *rest)

    def prepared(self, given: list[Any]) -> Prepared | None:
        """What this call takes from outside; None if the program is not right for it."""
        if not self._are_like_those(given):
            return None
        for holds in self.guards:
            if not holds():
                return None
        try:
            numbers = self._evaluate(given)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None  # where Python would have taken another branch, as one that does not divide by 0
        try:
            arrays = self._captured.arrays(given, self._executor)
            if arrays is None or (self.backward is not None and not self.backward.fits(given)):
                return None
            if self._aliased_sources and any(a.read(given) is not b.read(given) for a, b in self._aliased_sources):
                return None
            targets = [arrays[at] if isinstance(at, int) else at(given) for at in self._targets]
            if False in [getattr(target.flags, "writeable", True) for target in targets]:
                raise RuntimeError(f"compile: {self._name} changes memory that is read-only now; give it a clone()")
        except (AttributeError, LookupError):  # something is gone that was there, as an optimizer's state
            return None
        if self._known_leaf_nodes(given) != self._recorded_leaf_nodes:
            return None
        for number, outcome in self.program.decisions:
            if bool(numbers[number.index]) != outcome:
                return None
        if any(type(numbers[index]) is not int for index in self.program.integer_numbers):
            return None
        return Prepared(given, numbers, arrays, targets)

    def _are_like_those(self, given: list[Any]) -> bool:
        """Whether objects among the arguments have the attributes of those before: they may be equal without."""
        for position, before in self._objects:
            now = given[position]
            if now is not before and not alike(attributes(now), attributes(before)):
                return False
        return True

    def _known_leaf_nodes(self, given: list[Any]) -> list[Leaf | None]:
        """Which arguments are leaves that the function knows besides, as parameters of an optimizer are."""
        nodes = [getattr(x, "node", None) for x in given]
        return [node if node in self._known_leaves else None for node in nodes]

    def run(self, call: Prepared) -> Any:
        """Run the program, and then leave its results outside: all of them, or where it is interrupted before, none.

        Gradients of last time that nobody has looked at are gone then, as they are after a check that fails: what is
        computed lies over them.
        """
        with self.program.backend.on(self.program.index):
            return self._run(call)

    def _run(self, call: Prepared) -> Any:
        given, backward = call.given, self.backward
        noted: Any = backward.called(given, call.numbers, call.arrays) if backward is not None else None
        leaves = self.gradients.of(given)
        self._say_what_changes(call)
        self.gradients.release(leaves)
        values = self._executor.run(call.arrays, call.numbers)
        try:
            self._leave(values, call, leaves)
        except KeyboardInterrupt:
            self._leave(values, call, leaves)  # a whole step, and then the interrupt
            raise
        differentiable = backward.applied(noted, values) if backward is not None else ()
        results: list[Any] = []
        for out in self.outputs:
            if isinstance(out, PlainOutput):
                array = values[out.var].copy()
                results.append(array if out.kind is None else out.kind.wrap(array))
            elif isinstance(out, DifferentiableOutput):
                results.append(differentiable[out.position])
            elif type(out) is ScalarOutput:
                results.append(call.numbers[out.position])
            else:
                results.append(given[out.position] if type(out) is AliasOutput else out)
        for position, out in self._later:
            results[position] = results[out.position] if isinstance(out, RepeatedOutput) else out.of(given, results)
        rest = iter(results)
        result = rebuild(self.form, rest)
        for module, name, tree in self._left:
            vars(module)[name] = rebuild(tree, rest)
        return result

    def _say_what_changes(self, call: Prepared) -> None:
        """To a checkpoint around the call, which will run it again to the same effect."""
        for generator in self._generators:
            recomputation.draws(generator)
        recomputation.writes(*call.targets)
        for module, name, _ in self._left:
            recomputation.assigns(module, name)

    def _leave(self, values: dict[Var, Array], call: Prepared, leaves: list[Leaf]) -> None:
        self._executor.copy_all([*zip(call.targets, [values[var] for _, var in self.stores], strict=True)])
        self._bump(call.targets)
        self.gradients.leave(leaves, values)
        for write, number in self.commits:
            write(call.numbers[number.index])

    def _bump(self, targets: list[Any]) -> None:
        """Note that the targets were written, which mostly are those of the last call."""
        known = [write.owner() for write in self._last_writes]
        if len(known) != len(targets) or not all(map(is_, known, targets)):
            self._last_writes = [version_counter.of(target) for target in targets]
        version_counter.bump_known(self._last_writes)


def executor_for(program: Program, name: str | None) -> Any:
    """The executor of that name, by default the fastest that runs here; on a GPU there is one."""
    if program.backend is not numpy_backend:
        from .cuda.executor import CudaExecutor

        return CudaExecutor(program)
    if not native_taken(name):
        return NumpyExecutor(program)
    from .native.executor import NativeExecutor

    return NativeExecutor(program)


def _copy_if_input(program: Program, producers: dict[Var, Instr], var: Var) -> Var:
    """A Var with this value that does not alias an input, which stores may overwrite."""
    if base_of(var, producers) not in program.sources:
        return var
    copied = program.new(var.shape, var.dtype)
    program.instrs.append(Instr("copy", (var,), {}, copied))
    return copied
