"""One program of a compiled function with what belongs to it outside: running it, and leaving its results there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from ..backend import Array, numpy_backend
from ..graph import Leaf, Value
from ..memory import memory, owner_of
from ..tree import rebuild
from .derivative import Derivative, Function
from .gradients import Gradients
from .halves import halves
from .numpy_executor import NumpyExecutor
from .operations import VIEWS
from .passes import optimized
from .program import Instr, Program, Source, Var
from .recorder import Recorder
from .sweep import Sweep


class Made(NamedTuple):
    """The result is an array, in a tensor unless `kind` is None."""

    var: Var
    kind: type[Value] | None


class Grown(NamedTuple):
    """The result is a tensor that carries a gradient: which of them."""

    var: Var
    place: int


class Argument(NamedTuple):
    """The result is an argument, or the leaf that gets a gradient is one's: which."""

    place: int


class Replay:
    """A program with what belongs to it outside: where its numbers come from and go to."""

    def __init__(
        self,
        recorder: Recorder,
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
        self.guards, self.commits, self.form = recorder.guards, recorder.commits, form
        self._same = list(recorder.same.values())
        self._known_leaves = recorder.known_leaves
        self._met = self._leaves_among(given)
        program = recorder.program
        program.backend, program.index = recorder.home, recorder.index
        made_by = {instr.out: instr for instr in program.instrs}
        stores = [(source, _apart(program, made_by, var)) for source, var in stores]
        grads = [(leaf, None if var is None else _apart(program, made_by, var)) for leaf, var in grads]
        outputs = [
            out._replace(var=_apart(program, made_by, out.var)) if isinstance(out, (Made, Grown)) else out
            for out in outputs
        ]
        made = [out.var for out in outputs if isinstance(out, (Made, Grown))]
        made += [var for _, var in stores] + [var for _, var in grads if var is not None]
        back = [w.gradient for w in sweep.wanted] if sweep is not None else []
        program.outputs = list(dict.fromkeys([*made, *[v for v in back if v is not None]]))
        with program.backend.on(program.index):  # what is the same at each call, passes compute
            self.program = optimized(program)
        now = self.program.renamed
        self.outputs = [
            out._replace(var=now.get(out.var, out.var)) if isinstance(out, (Made, Grown)) else out for out in outputs
        ]
        self.stores = [(source, now.get(var, var)) for source, var in stores]
        self._written = {source for source, _ in stores}
        self.gradients = Gradients([(leaf, None if var is None else now.get(var, var)) for leaf, var in grads], lock)
        self.derivative: Derivative | None = None
        if sweep is not None:
            function = Function(recorder.name, call, bool(stores or grads))
            self.derivative = self._differentiable(sweep, back, function, executor, lock)
        self.program.renamed = {}  # it keeps all that was recorded
        self._executor = executor(self.program)

    def _differentiable(self, sweep: Sweep, back: list[Var | None], function: Function, *rest: Any) -> Derivative:
        """Keep the half of the program that runs at a call; the other one is the derivative's."""
        now = self.program.renamed
        gradients = [None if v is None else now.get(v, v) for v in back]
        grown = {out.place: out.var for out in self.outputs if isinstance(out, Grown)}
        seen = [out.var for out in self.outputs if isinstance(out, (Made, Grown))]
        seen += [var for _, var in self.stores] + [var for _, var in self.gradients.wanted if var is not None]
        changed = {var for var, source in self.program.sources.items() if source in self._written}
        wanted = list(dict.fromkeys([v for v in gradients if v is not None]))
        cut = halves(self.program, list(dict.fromkeys(seen)), wanted, changed)
        self.program = cut.forward
        results = [grown[place] for place in range(len(grown))]
        return Derivative(sweep, cut, gradients, results, function, self.guards, *rest)

    def numbers(self, given: list[Any]) -> list[Any] | None:
        """The program's numbers for this call; None if it is not right for it."""
        for holds in self.guards:
            if not holds():
                return None
        try:
            numbers = self.program.evaluate_numbers()
            arrays = [source.read(given) for source in self.program.sources.values()]
            if self.derivative is not None and not self.derivative.fits(given):
                return None
            if any(a.read(given) is not b.read(given) for a, b in self._same):
                return None
        except (AttributeError, LookupError):  # something is gone that was there, as an optimizer's state
            return None
        if len({*map(id, arrays)}) < len(arrays):  # an argument is a captured tensor now, and was none
            return None
        if self._leaves_among(given) != self._met or self._overlap(arrays):
            return None
        for place, outcome in self.program.decisions:
            if bool(numbers[place.place]) != outcome:
                return None
        fits = [(a.shape, a.dtype) == (v.shape, v.dtype) for v, a in zip(self.program.sources, arrays, strict=True)]
        return numbers if all(fits) and self._executor.fits(arrays) else None

    def _leaves_among(self, given: list[Any]) -> list[Leaf | None]:
        """Which arguments are leaves that the function knows besides, as parameters of an optimizer are."""
        nodes = [getattr(x, "node", None) for x in given]
        return [node if node in self._known_leaves else None for node in nodes]

    def _overlap(self, arrays: list[Array]) -> bool:
        """Whether an argument shares its memory with something else, of which one or the other is written to."""
        if not self.stores:
            return False
        sources = self.program.sources.values()
        owners = [(id(owner_of(a)), source) for a, source in zip(arrays, sources, strict=True)]
        counts = Counter([owner for owner, _ in owners])
        ours = {owner for owner, source in owners if source in self._written}
        return any(source.moves and owner in ours and counts[owner] > 1 for owner, source in owners)

    def run(self, given: list[Any], numbers: list[Any]) -> Any:
        """Replay the program, and then leave its results outside: all of them, or after an interrupt none.

        Gradients of last time that nobody has looked at are gone then, as they are after a check that fails: what is
        computed lies over them.
        """
        with self.program.backend.on(self.program.index):
            return self._run(given, numbers)

    def _run(self, given: list[Any], numbers: list[Any]) -> Any:
        arrays = [source.read(given) for source in self.program.sources.values()]
        call: Any = self.derivative.called(given, numbers, arrays) if self.derivative is not None else None
        leaves = self.gradients.of(given)
        self.gradients.let_go(leaves)
        values = self._executor.run(arrays, numbers)
        try:
            self._leave(values, given, numbers, leaves)
        except KeyboardInterrupt:
            self._leave(values, given, numbers, leaves)  # a whole step, and then the interrupt
            raise
        grown = self.derivative.applied(call, values) if self.derivative is not None else ()
        results: list[Any] = []
        for out in self.outputs:
            if isinstance(out, Made):
                array = values[out.var].copy()
                results.append(array if out.kind is None else out.kind.wrap(array))
            elif isinstance(out, Grown):
                results.append(grown[out.place])
            else:
                results.append(given[out.place] if type(out) is Argument else out)
        return rebuild(self.form, iter(results))

    def _leave(self, values: dict[Var, Array], given: list[Any], numbers: list[Any], leaves: list[Leaf]) -> None:
        pairs = [(source.read(given), values[var]) for source, var in self.stores]
        self._executor.copy_all(pairs)
        for target, _ in pairs:
            memory.mark(target)
        self.gradients.leave(leaves, values)
        for write, place in self.commits:
            write(numbers[place.place])


def executor_for(program: Program, name: str | None) -> Any:
    """The executor of that name, by default the fastest that is installed; on a GPU there is one."""
    if program.backend is not numpy_backend:
        from .cuda_executor import CudaExecutor

        return CudaExecutor(program)
    if name == "numpy" or find_spec("llvmlite") is None:
        return NumpyExecutor(program)
    from .native_executor import NativeExecutor

    return NativeExecutor(program)


def _apart(program: Program, made_by: dict[Var, Instr], var: Var) -> Var:
    """A Var with these numbers that is none of what comes from outside, which stores may change on the way."""
    home = var
    while home in made_by and made_by[home].op in VIEWS:
        home = made_by[home].args[0]
    if home not in program.sources:
        return var
    copied = program.new(var.shape, var.dtype)
    program.instrs.append(Instr("copy", (var,), {}, copied))
    return copied
