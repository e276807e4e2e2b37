"""`compile`: a function that is recorded at its first call and replayed from then on."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial, update_wrapper
from importlib.util import find_spec
from typing import Any, NamedTuple

from ..backend import Array, array_module, numpy_backend
from ..grad_mode import is_grad_enabled
from ..graph import Leaf, Value, observers
from ..memory import memory, next_number
from ..recording import CompileError, active
from ..tensor import Tensor
from ..tree import leaves, rebuild
from .derivative import Derivative, Function
from .halves import halves
from .numpy_executor import NumpyExecutor
from .operations import VIEWS
from .outcome import Unsteady, finish
from .passes import optimized
from .program import Instr, Program, Source, Var
from .recorder import Recorder, Watch
from .signature import containers, form_of, kind_of, require_unchanged, twice
from .sweep import Sweep, is_own_leaf, swept, watch_captured
from .traced import Traced

_one_at_a_time = threading.RLock()  # recordings; the engine knows of one


class RecompileWarning(UserWarning):
    """A compiled function was recorded again and again, because its arguments keep changing in kind."""


class Compiled:
    """A function with the programs that were recorded of it. `compile` makes one.

    Attributes:
        programs: what was recorded, one for each kind of arguments; `print` one to read it.
    """

    function: Any
    limit = 16  # of programs that are kept: the one used least recently goes first
    patience = 8  # recordings after which a warning asks what is going on

    def __init__(self, function: Callable[..., Any], *, executor: str | None = None, explain: bool = False) -> None:
        if not callable(function):
            raise TypeError(f"compile: takes a function, got a {type(function).__name__}")
        self.function = function
        self.executor, self.explain = executor, explain
        self._lock = threading.RLock()
        self._replays: dict[Any, list[_Replay]] = {}
        self._recordings = 0
        update_wrapper(self, function, updated=())  # attributes are looked up there

    @property
    def programs(self) -> list[Program]:
        return [replay.program for kind in self._replays.values() for replay in kind]

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)}, {len(self.programs)} programs>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if observers or (active and active[-1].mine()):  # somebody looks on, or it is a part of another one
            return self.function(*args, **kwargs)
        with self._lock:
            given = leaves([args, kwargs])
            kind = (form_of([args, kwargs]), tuple([kind_of(x) for x in given]), twice(given), is_grad_enabled())
            known = self._replays.get(kind, ())
            for replay in known:
                numbers = replay.numbers(given)
                if numbers is not None:
                    return replay.run(given, numbers)
            return self._record(kind, given, args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A compiled method."""
        return self if instance is None else partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        """What else is asked for is the function's."""
        if name == "function" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.function, name)

    def __reduce__(self) -> Any:
        """A copy has programs of its own."""
        return type(self), (self.function,), {"executor": self.executor, "explain": self.explain}

    def _record(self, kind: Any, given: list[Any], args: Any, kwargs: Any) -> Any:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        with _one_at_a_time:
            recorder = Recorder(name)
            around = containers(self.function)
            try:
                with Watch(recorder):
                    form, outputs, stores, grads, sweep = self._watched(recorder, given, args, kwargs)
            except Unsteady:
                form = None
            except BaseException:
                with suppress(CompileError):
                    recorder.let_go()
                raise
            if form is None:
                recorder.let_go()
                return self.function(*args, **kwargs)
            recorder.let_go()
            require_unchanged(name, around)
            make, call = partial(executor_for, name=self.executor), self._caller(args, kwargs, len(given))
            replay = _Replay(recorder, form[0], outputs, stores, grads, make, sweep, call, self._lock)
            if self.explain:
                print(replay.program.explanation(), file=sys.stderr)
        self._keep(kind, replay)
        numbers = replay.numbers(given)
        if numbers is None:
            raise CompileError(f"compile: {name} leaves something behind that makes its next call another one")
        return replay.run(given, numbers)

    def _watched(self, recorder: Recorder, given: list[Any], args: Any, kwargs: Any) -> Any:
        """Call the function under observation: what it gives, what it leaves, and the sweep back from its results."""
        given = [recorder.given(x, i) for i, x in enumerate(given)]
        new_args, new_kwargs = rebuild([args, kwargs], iter(given))
        start = next_number()
        result = self.function(*new_args, **new_kwargs)
        results = leaves(result)
        sweep, order = swept(recorder, given, results, start)
        watch_captured(recorder)
        stores, grads = finish(recorder)
        places = {id(x): i for i, x in enumerate(given) if isinstance(x, Value)}
        outputs = [
            _Argument(places[id(y)]) if id(y) in places else _output(recorder, y, start, k)
            for y, k in zip(results, order, strict=True)
        ]
        return [rebuild(result, iter([0] * len(outputs)))], outputs, stores, grads, sweep

    def _caller(self, args: Any, kwargs: Any, count: int) -> Callable[[list[Any]], Any]:
        """The function of the leaves of its arguments."""
        form, function = rebuild([args, kwargs], iter([0] * count)), self.function

        def call(given: list[Any]) -> Any:
            new_args, new_kwargs = rebuild(form, iter(given))
            return function(*new_args, **new_kwargs)

        return call

    def _keep(self, kind: Any, replay: _Replay) -> None:
        self._replays.setdefault(kind, []).insert(0, replay)
        while len(self.programs) > self.limit:
            oldest = next(iter(self._replays))
            self._replays[oldest].pop()
            if not self._replays[oldest]:
                del self._replays[oldest]
        self._recordings += 1
        if self._recordings == self.patience:
            warnings.warn(
                f"{self!r} was recorded {self._recordings} times, which takes longer than it saves: each new shape, "
                "dtype or Python number among the arguments, or switch of a module, needs a program of its own. Pad "
                "to one shape, and pass numbers that change as tensors",
                RecompileWarning,
                stacklevel=4,
            )


def compile(function: Callable[..., Any] | None = None, *, executor: str | None = None, mode: str | None = None) -> Any:
    """A function that does what `function` does, faster: recorded at its first call, replayed from then on.

    For a whole training step (forward, backward, clipping, the optimizer's step), for a module alone, a step of
    sampling: any function of tensors, arrays, numbers and strings, in tuples, lists and dictionaries. Gradients pass
    through its results, as they do without compiling. A compiled module passes for the module. What the function takes
    from outside, such as parameters, an optimizer's state and learning rate, or random numbers, it takes anew at each
    call, and changes there. Shapes, dtypes, Python numbers among the arguments, grad mode and the switches of modules,
    such as `training`, belong to a program: when one changes, another program is recorded, and kept beside it.

    Sums may be taken in another order, so results agree to rounding. At the first call the function runs in Python,
    twice if an optimizer has nothing to remember yet.

    >>> @tg.compile
    ... def step(x, y):
    ...     loss = F.cross_entropy(model(x), y)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss

    Args:
        function: what to compile, a function or a module; without it, a decorator.
        executor: "native" for machine code made by LLVM, which takes the extra `jit`; "numpy" for NumPy alone. By
            default native where that is installed.
        mode: "explain" to print what was joined and what was not, at each recording.

    Raises:
        CompileError: at a call, if the function cannot be replayed: Python asks for a tensor's number or truth, a shape
            depends on values, NumPy is called on a tensor, a tensor is kept in a list or an attribute. The message has
            the line, and the way out. Model and optimizer are as they were before.
    """
    if mode not in (None, "explain"):
        raise ValueError(f"compile: mode is None or 'explain', got {mode!r}")
    if executor not in (None, "numpy", "native"):
        raise ValueError(f"compile: executor is 'native', 'numpy' or None, got {executor!r}")
    if executor == "native" and find_spec("llvmlite") is None:
        raise ImportError(
            "compile: the native executor takes llvmlite, which is not installed: pip install 'tinygrad_seq[jit]'. "
            "Or leave executor= out, for NumPy"
        )
    if function is None:
        return lambda f: compile(f, executor=executor, mode=mode)
    if hasattr(function, "forward") and hasattr(function, "named_parameters"):
        from .compiled_module import CompiledModule

        return CompiledModule(function, executor=executor, explain=mode == "explain")
    return Compiled(function, executor=executor, explain=mode == "explain")


def _output(recorder: Recorder, y: Any, start: int, place: int | None) -> Any:
    """A leaf of the result: a Var and what to make of it, or something that is the same at each call."""
    if place is not None:
        return _Grown(recorder.traced(y.array).var, place)
    if isinstance(y, Value):
        if is_own_leaf(y.node, start):
            raise CompileError(
                f"compile: {recorder.name} returns a variable that it makes itself, anew at each call, so that nothing "
                "else could get a gradient by it; make it outside, or return y.detach()"
            )
        if y.node is not None and y.node.number < start:
            return y
        return _Made(recorder.traced(y.array).var, type(y))
    if type(y) is Traced:
        return _Made(y.var, None)
    return y


class _Made(NamedTuple):
    """The result is an array, in a tensor unless `kind` is None."""

    var: Var
    kind: type[Value] | None


class _Grown(NamedTuple):
    """The result is a tensor that carries a gradient: which of them."""

    var: Var
    place: int


class _Argument(NamedTuple):
    """The result is an argument, or the leaf that gets a gradient is one's: which."""

    place: int


class _Replay:
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
    ) -> None:
        self.guards, self.commits, self.form = recorder.guards, recorder.commits, form
        self._same = list(recorder.same.values())
        program = recorder.program
        program.backend, program.index = recorder.home, recorder.index
        stores = [(source, _apart(program, var)) for source, var in stores]
        made = [out.var for out in outputs if isinstance(out, (_Made, _Grown))]
        made += [var for _, var in stores] + [var for _, var in grads if var is not None]
        back = [w.gradient for w in sweep.wanted] if sweep is not None else []
        program.outputs = list(dict.fromkeys([*made, *[v for v in back if v is not None]]))
        with program.backend.on(program.index):  # what is the same at each call, passes compute
            self.program = optimized(program)
        now = self.program.renamed
        self.outputs = [
            out._replace(var=now.get(out.var, out.var)) if isinstance(out, (_Made, _Grown)) else out for out in outputs
        ]
        self.stores = [(source, now.get(var, var)) for source, var in stores]
        self.grads = [(leaf, None if var is None else now.get(var, var)) for leaf, var in grads]
        self._tensors: list[Tensor | None] = [None] * len(grads)  # the gradients that were left last time
        self.derivative: Derivative | None = None
        if sweep is not None:
            function = Function(recorder.name, call, bool(stores or grads))
            self.derivative = self._differentiable(sweep, back, function, executor, lock)
        self._executor = executor(self.program)

    def _differentiable(self, sweep: Sweep, back: list[Var | None], function: Function, *rest: Any) -> Derivative:
        """Keep the half of the program that runs at a call; the other one is the derivative's."""
        now = self.program.renamed
        gradients = [None if v is None else now.get(v, v) for v in back]
        grown = {out.place: out.var for out in self.outputs if isinstance(out, _Grown)}
        seen = [out.var for out in self.outputs if isinstance(out, (_Made, _Grown))]
        seen += [var for _, var in self.stores] + [var for _, var in self.grads if var is not None]
        written = {id(source) for source, _ in self.stores}
        changed = {var for var, source in self.program.sources.items() if id(source) in written}
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
        for place, outcome in self.program.decisions:
            if bool(numbers[place.place]) != outcome:
                return None
        fits = [(a.shape, a.dtype) == (v.shape, v.dtype) for v, a in zip(self.program.sources, arrays, strict=True)]
        return numbers if all(fits) and self._executor.fits(arrays) else None

    def run(self, given: list[Any], numbers: list[Any]) -> Any:
        """Replay the program, and then leave its results outside: all of them, or after an interrupt none."""
        with self.program.backend.on(self.program.index):
            return self._run(given, numbers)

    def _run(self, given: list[Any], numbers: list[Any]) -> Any:
        arrays = [source.read(given) for source in self.program.sources.values()]
        call: Any = self.derivative.called(given, numbers, arrays) if self.derivative is not None else None
        values = self._executor.run(arrays, numbers)
        try:
            self._leave(values, given, numbers)
        except KeyboardInterrupt:
            self._leave(values, given, numbers)  # a whole step, and then the interrupt
            raise
        grown = self.derivative.applied(call, values) if self.derivative is not None else ()
        results: list[Any] = []
        for out in self.outputs:
            if isinstance(out, _Made):
                array = values[out.var].copy()
                results.append(array if out.kind is None else out.kind.wrap(array))
            elif isinstance(out, _Grown):
                results.append(grown[out.place])
            else:
                results.append(given[out.place] if type(out) is _Argument else out)
        return rebuild(self.form, iter(results))

    def _leave(self, values: dict[Var, Array], given: list[Any], numbers: list[Any]) -> None:
        leaves_of = [given[leaf].node if isinstance(leaf, int) else leaf for leaf, _ in self.grads]
        grads = [  # first, because they may need memory that is not there
            None if made is None else self._gradient(i, leaf, values[made])
            for i, (leaf, (_, made)) in enumerate(zip(leaves_of, self.grads, strict=True))
        ]
        pairs = [(source.read(given), values[var]) for source, var in self.stores]
        self._executor.copy_all(pairs)
        for target, _ in pairs:
            memory.mark(target)
        for leaf, grad in zip(leaves_of, grads, strict=True):
            leaf.grad = grad
        for write, place in self.commits:
            write(numbers[place.place])

    def _gradient(self, i: int, leaf: Leaf, array: Array) -> Tensor:
        """The gradient as a tensor: the one of last time, unless somebody else has kept it."""
        last = self._tensors[i]
        if last is not None:
            holders = sys.getrefcount(last) - 3 - (leaf.grad is last)  # the list, the name, the call
            if holders <= 0 and sys.getrefcount(last.array) <= 2 and last.node is None:
                array_module(array).copyto(last.array, array)
                return last
        last = None
        self._tensors[i] = new = Tensor.wrap(array.copy())
        return new


def executor_for(program: Program, name: str | None) -> Any:
    """The executor of that name, by default the fastest that is installed; on a GPU there is one."""
    if program.backend is not numpy_backend:
        from .cuda_executor import CudaExecutor

        return CudaExecutor(program)
    if name == "numpy" or find_spec("llvmlite") is None:
        return NumpyExecutor(program)
    from .native_executor import NativeExecutor

    return NativeExecutor(program)


def _apart(program: Program, var: Var) -> Var:
    """A Var with these numbers that is none of what comes from outside, which stores may change on the way."""
    made_by = {instr.out: instr for instr in program.instrs}
    home = var
    while home in made_by and made_by[home].op in VIEWS:
        home = made_by[home].args[0]
    if home not in program.sources:
        return var
    copied = program.new(var.shape, var.dtype)
    program.instrs.append(Instr("copy", (var,), {}, copied))
    return copied
