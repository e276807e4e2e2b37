"""`compile`: a function that is recorded at its first call and replayed from then on."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from ..backend import Array, array_module, is_array
from ..graph import Application, Leaf, Output, Value, is_grad_enabled
from ..memory import memory
from ..recording import CompileError, active
from ..tensor import Tensor
from ..tree import leaves, rebuild
from .numpy_executor import NumpyExecutor
from .passes import optimized
from .program import Number, Program, Source, Var
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

    def __init__(self, function: Callable[..., Any], executor: str | None = None) -> None:
        if not callable(function):
            raise TypeError(f"compile: takes a function, got a {type(function).__name__}")
        self.function = function
        self.executor = executor
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
        if active and active[-1].mine():  # within another compiled function: a part of that
            return self.function(*args, **kwargs)
        with self._lock:
            given = leaves([args, kwargs])
            kind = (_form([args, kwargs]), tuple([_kind_of(x) for x in given]), is_grad_enabled())
            known = self._replays.get(kind, ())
            for replay in known:
                numbers = replay.numbers(given)
                if numbers is not None:
                    return replay.run(given, numbers)
            return self._record(kind, given, args, kwargs)

    def _record(self, kind: Any, given: list[Any], args: Any, kwargs: Any) -> Any:
        self._recordings += 1
        if self._recordings == self.patience:
            warnings.warn(
                f"{self!r} was recorded {self._recordings} times, which takes longer than it saves: each new shape, "
                "dtype or Python number among the arguments, or switch of a module, needs a program of its own. Pad "
                "to one shape, and pass numbers that change as tensors",
                RecompileWarning,
                stacklevel=3,
            )
        with _one_at_a_time:
            recorder = Recorder(getattr(self.function, "__name__", "the function"))
            try:
                with Watch(recorder):
                    seen = []
                    for i, x in enumerate(given):
                        if isinstance(x, Value):
                            recorder.touch(x, f"argument {i}", _argument(i))
                            x = x.array if False else x
                        elif is_array(x):
                            x = recorder.argument(x, i)
                        seen.append(x)
                    new_args, new_kwargs = rebuild([args, kwargs], iter(seen))
                    result = self.function(*new_args, **new_kwargs)
                    stores, grads = recorder.finish()
                    outputs = [_output(recorder, y) for y in leaves(result)]
            except Unsteady:
                return self.function(*args, **kwargs)
            replay = _Replay(recorder, result, outputs, stores, grads, given, self.executor)
        replays = self._replays.setdefault(kind, [])
        replays.insert(0, replay)
        while len(self.programs) > self.limit:
            oldest = next(iter(self._replays))
            self._replays[oldest].pop()
            if not self._replays[oldest]:
                del self._replays[oldest]
        numbers = replay.program.evaluate_numbers()
        return replay.run(given, numbers)


def _argument(i: int) -> Callable[[list[Any]], Any]:
    return lambda args: getattr(args[i], "array", args[i])


def _form(tree: Any) -> Any:
    """The structure of a container, as something to look up by."""
    if isinstance(tree, dict):
        return (dict, tuple([(key, _form(value)) for key, value in tree.items()]))
    if isinstance(tree, (list, tuple)):
        return (type(tree), tuple([_form(value) for value in tree]))
    return None if tree is None else 0


def _kind_of(x: Any) -> Any:
    """What of an argument a program depends on."""
    if isinstance(x, Value):
        return (type(x), x.array.shape, x.array.dtype, x.node is not None)
    if is_array(x):
        return (type(x), x.shape, x.dtype)
    try:
        hash(x)
    except TypeError:
        raise CompileError(
            f"compile: an argument is a {type(x).__name__}, of which a program cannot tell whether it has changed; "
            "pass tensors, arrays, numbers and strings, in lists, tuples and dictionaries"
        ) from None
    return (type(x), x)


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


class _Replay:
    """A program with what belongs to it outside: where its numbers come from and go to."""

    def __init__(
        self,
        recorder: Recorder,
        result: Any,
        outputs: list[Any],
        stores: list[tuple[Source, Var, Array]],
        grads: list[tuple[Leaf, Var | None, Array | None]],
        given: list[Any],
        executor: str | None,
    ) -> None:
        self.guards, self.commits = recorder.guards, recorder.commits
        self.form, self.outputs = result, outputs
        self.stores = [(source, var) for source, var, _ in stores]
        self.grads = [(leaf, var) for leaf, var, _ in grads]
        program = recorder.program
        seen = [out[0] for out in outputs if type(out) is tuple and type(out[0]) is Var]
        seen += [var for _, var in self.stores] + [var for _, var in self.grads if var is not None]
        program.outputs = list(dict.fromkeys(seen))
        self.program = optimized(program)
        now = self.program.renamed
        self.outputs = [
            (now.get(out[0], out[0]), out[1]) if type(out) is tuple and type(out[0]) is Var else out for out in outputs
        ]
        self.stores = [(source, now.get(var, var)) for source, var in self.stores]
        self.grads = [(leaf, None if var is None else now.get(var, var)) for leaf, var in self.grads]
        self._executor = NumpyExecutor(self.program)

    def numbers(self, given: list[Any]) -> list[Any] | None:
        """The program's numbers for this call; None if it is not right for it."""
        for holds in self.guards:
            if not holds():
                return None
        numbers = self.program.evaluate_numbers()
        for place, outcome in self.program.decisions:
            if bool(numbers[place.place]) != outcome:
                return None
        for var, source in self.program.sources.items():
            array = source.read(given)
            if array.shape != var.shape or array.dtype != var.dtype:
                return None
        return numbers

    def run(self, given: list[Any], numbers: list[Any]) -> Any:
        """Replay the program, and then, all at once, leave its results outside."""
        values = self._executor.run([source.read(given) for source in self.program.sources.values()], numbers)
        for source, var in self.stores:
            target = source.read(given)
            array_module(target).copyto(target, values[var])
            memory.mark(target)
        for leaf, made in self.grads:
            leaf.grad = None if made is None else Tensor.wrap(values[made].copy())
        for write, place in self.commits:
            write(numbers[place.place])
        results = []
        for out in self.outputs:
            if type(out) is tuple and type(out[0]) is Var:
                array = values[out[0]].copy()
                results.append(array if out[1] is None else out[1].wrap(array))
            else:
                results.append(out)
        return rebuild(self.form, iter(results))
