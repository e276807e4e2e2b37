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

from ..backend import Array, array_module, backend_of, is_array, numpy_backend
from ..grad_mode import is_grad_enabled
from ..graph import Application, Leaf, Output, Value, observers
from ..memory import memory
from ..recording import CompileError, active
from ..tensor import Tensor
from ..tree import leaves, rebuild
from .numpy_executor import NumpyExecutor
from .operations import VIEWS
from .passes import optimized
from .program import Instr, Program, Source, Var
from .recorder import Recorder, Unsteady, Watch
from .traced import Traced

_one_at_a_time = threading.RLock()  # recordings; the engine knows of one


class RecompileWarning(UserWarning):
    """A compiled function was recorded again and again, because its arguments keep changing in kind."""


class Compiled:
    """A function with the programs that were recorded of it. `compile` makes one.

    Attributes:
        programs: what was recorded, one for each kind of arguments; `print` one to read it.
    """

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
        update_wrapper(self, function)

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
            kind = (_form([args, kwargs]), tuple([_kind_of(x) for x in given]), _twice(given), is_grad_enabled())
            known = self._replays.get(kind, ())
            for replay in known:
                numbers = replay.numbers(given)
                if numbers is not None:
                    return replay.run(given, numbers)
            return self._record(kind, given, args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A compiled method."""
        return self if instance is None else partial(self, instance)

    def _record(self, kind: Any, given: list[Any], args: Any, kwargs: Any) -> Any:
        name = getattr(self.function, "__name__", "the function")
        with _one_at_a_time:
            recorder = Recorder(name)
            containers = _containers(self.function)
            try:
                with Watch(recorder):
                    form, outputs, stores, grads = self._watched(recorder, given, args, kwargs)
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
            _require_unchanged(name, containers)
            replay = _Replay(recorder, form[0], outputs, stores, grads, self.executor, self.explain)
        self._keep(kind, replay)
        numbers = replay.numbers(given)
        if numbers is None:
            raise CompileError(f"compile: {name} leaves something behind that makes its next call another one")
        return replay.run(given, numbers)

    def _watched(self, recorder: Recorder, given: list[Any], args: Any, kwargs: Any) -> Any:
        """Call the function under observation: the form of its result, the leaves of that, stores and gradients."""
        seen = iter([recorder.given(x, i) for i, x in enumerate(given)])
        new_args, new_kwargs = rebuild([args, kwargs], seen)
        result = self.function(*new_args, **new_kwargs)
        stores, grads = recorder.finish()
        places = {id(x): i for i, x in enumerate(given) if isinstance(x, Value)}
        outputs = [_Argument(places[id(y)]) if id(y) in places else _output(recorder, y) for y in leaves(result)]
        return [rebuild(result, iter([0] * len(outputs)))], outputs, stores, grads

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

    For a whole training step (forward, backward, clipping, the optimizer's step), a forward pass under `no_grad`, a
    step of sampling: any function of tensors, arrays, numbers and strings, in tuples, lists and dictionaries. What it
    takes from outside, such as parameters, an optimizer's state and learning rate, or random numbers, it takes anew at
    each call, and changes there. Shapes, dtypes, Python numbers among the arguments, grad mode and the switches of
    modules, such as `training`, belong to a program: when one changes, another program is recorded, and kept beside it.

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
        function: what to compile; without it, a decorator.
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
        return lambda f: Compiled(f, executor=executor, explain=mode == "explain")
    return Compiled(function, executor=executor, explain=mode == "explain")


def _containers(function: Any) -> list[tuple[str, Any, Any]]:
    """The lists, dictionaries and sets that a function can see by name, with what is in them."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    named = [(name, cell.cell_contents) for name, cell in cells if _filled(cell)]
    named += [(name, function.__globals__[name]) for name in code.co_names if name in function.__globals__]
    return [(name, found, _content(found)) for name, found in named if isinstance(found, (list, dict, set))]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _content(container: Any) -> list[Any]:
    return [(id(k), id(v)) for k, v in container.items()] if isinstance(container, dict) else [*map(id, container)]


def _require_unchanged(name: str, containers: list[tuple[str, Any, Any]]) -> None:
    for what, container, before in containers:
        if _content(container) != before:
            raise CompileError(
                f"compile: {name} changes the {type(container).__name__} '{what}', which a replay would not do again; "
                "return what is to go there"
            )


def _form(tree: Any) -> Any:
    """The structure of a container, as something to look up by."""
    if isinstance(tree, dict):
        return (dict, tuple([(key, _form(value)) for key, value in tree.items()]))
    if isinstance(tree, (list, tuple)):
        return (type(tree), tuple([_form(value) for value in tree]))
    return None if tree is None else 0


def _twice(given: list[Any]) -> tuple[int, ...]:
    """Which arguments are the same array as an earlier one: for each, the place of the first."""
    first: dict[int, int] = {}
    arrays = [getattr(x, "array", x) for x in given]
    return tuple([first.setdefault(id(a), i) if hasattr(a, "dtype") else i for i, a in enumerate(arrays)])


def _kind_of(x: Any) -> Any:
    """What of an argument a program depends on."""
    if isinstance(x, Value):
        grad = x.node.grad is None if isinstance(x.node, Leaf) else None
        return (type(x), x.array.shape, x.array.dtype, x.node is not None, grad, _where(x.array))
    if is_array(x):
        return (type(x), x.shape, x.dtype, _where(x))
    try:
        hash(x)
    except TypeError:
        raise CompileError(
            f"compile: an argument is a {type(x).__name__}, of which a program cannot tell whether it has changed; "
            "pass tensors, arrays, numbers and strings, in lists, tuples and dictionaries"
        ) from None
    return (type(x), repr(x) if isinstance(x, float) else x)  # 0.0 is not -0.0, and nan is itself


def _where(array: Array) -> Any:
    """The device of an array; None for the CPU, where nearly all are."""
    return None if isinstance(array, numpy_backend.ndarray) else backend_of(array).device_name(array)


def _output(recorder: Recorder, y: Any) -> Any:
    """A leaf of the result: a Var and the type of its tensor, or something that is the same at each call."""
    if isinstance(y, Value):
        if isinstance(y.node, (Application, Output)) and y.node.parents is not None:
            raise CompileError(
                f"compile: {recorder.name} returns a tensor that a gradient could pass through; compile the backward "
                "pass with it, or return y.detach()"
            )
        if isinstance(y.node, Leaf):
            return y
        return (recorder.traced(y.array).var, type(y))
    if type(y) is Traced:
        return (y.var, None)
    return y


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
        executor: str | None,
        explain: bool,
    ) -> None:
        self.guards, self.commits, self.form = recorder.guards, recorder.commits, form
        program = recorder.program
        program.backend, program.index = recorder.home, recorder.index
        stores = [(source, _apart(program, var)) for source, var in stores]
        seen = [out[0] for out in outputs if _is_made(out)]
        seen += [var for _, var in stores] + [var for _, var in grads if var is not None]
        program.outputs = list(dict.fromkeys(seen))
        self.program = optimized(program)
        now = self.program.renamed
        self.outputs = [(now.get(out[0], out[0]), out[1]) if _is_made(out) else out for out in outputs]
        self.stores = [(source, now.get(var, var)) for source, var in stores]
        self.grads = [(leaf, None if var is None else now.get(var, var)) for leaf, var in grads]
        self._tensors: list[Tensor | None] = [None] * len(grads)  # the gradients that were left last time
        self._executor = executor_for(self.program, executor)
        if explain:
            print(self.program.explanation(), file=sys.stderr)

    def numbers(self, given: list[Any]) -> list[Any] | None:
        """The program's numbers for this call; None if it is not right for it."""
        for holds in self.guards:
            if not holds():
                return None
        try:
            numbers = self.program.evaluate_numbers()
            arrays = [source.read(given) for source in self.program.sources.values()]
        except (AttributeError, LookupError):  # something is gone that was there, as an optimizer's state
            return None
        for place, outcome in self.program.decisions:
            if bool(numbers[place.place]) != outcome:
                return None
        fits = [(a.shape, a.dtype) == (v.shape, v.dtype) for v, a in zip(self.program.sources, arrays, strict=True)]
        return numbers if all(fits) and self._executor.fits(arrays) else None

    def run(self, given: list[Any], numbers: list[Any]) -> Any:
        """Replay the program, and then leave its results outside: all of them, or after an interrupt none."""
        values = self._executor.run([source.read(given) for source in self.program.sources.values()], numbers)
        try:
            self._leave(values, given, numbers)
        except KeyboardInterrupt:
            self._leave(values, given, numbers)  # a whole step, and then the interrupt
            raise
        results = []
        for out in self.outputs:
            if _is_made(out):
                array = values[out[0]].copy()
                results.append(array if out[1] is None else out[1].wrap(array))
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


def _is_made(out: Any) -> bool:
    return type(out) is tuple and len(out) == 2 and type(out[0]) is Var


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
