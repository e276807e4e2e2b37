"""A compiled function: recorded at its first call and replayed from then on."""

from __future__ import annotations

import gc
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, update_wrapper
from operator import is_
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ..backend import numpy_backend
from ..backend.pytree import leaves, rebuild
from ..graph import Value, observers
from ..graph.grad_mode import double_backward, grad_enabled, is_grad_enabled
from ..graph.saved_tensors import next_number
from ..graph.tracing_hook import CompileError, tracers
from .executable import (
    AliasOutput,
    DifferentiableOutput,
    Executable,
    PlainOutput,
    Prepared,
    RepeatedOutput,
    ScalarOutput,
    executor_for,
)
from .guard_keys import aliased_arguments, container_types, guard_key, tree_structure, varying_numbers
from .guards import HOOKS, LookupGuard, module_guards
from .locks import lock
from .names import Names, attributes, has_attributes
from .program import Program
from .purity import PurityCheck
from .result_views import find_views
from .tracing.assigned import StateFound
from .tracing.joint_graph import carries_gradient, is_own_leaf, trace_backward, watch_captured
from .tracing.proxies import ProxyArray
from .tracing.proxy_backend import enroll
from .tracing.side_effects import NotRepeatable, finish
from .tracing.symbolic_scalar import SymbolicScalar
from .tracing.tracer import Tracer
from .tracing.watch import Watch
from .verification import verified

P = ParamSpec("P")  # what a compiled function takes
Q = ParamSpec("Q")
R = TypeVar("R")

_VARIES = object()  # in place of a number that is an input of the program
_one_at_a_time = lock()  # recordings; the engine knows of one


@contextmanager
def _without_collector() -> Iterator[None]:
    """Inside, the garbage collector is off: what is made there stays, so that looking through it is in vain."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _collect() -> None:
    """Look for cycles in what was made meanwhile, and in what is older as often as Python does by itself."""
    counts, thresholds = gc.get_count(), gc.get_threshold()
    old = [g for g in (1, 2) if counts[g] > thresholds[g]]
    gc.collect(max(old, default=0))


class RecompileWarning(UserWarning):
    """A compiled function was recorded again and again, because its arguments keep changing in kind."""


class _Methods(dict["Compiled[..., Any]", "Compiled[..., Any]"]):
    """The compiled methods of an object, by those of its class. A copy of the object has none yet."""

    def __reduce__(self) -> Any:
        return _Methods, ()


class Compiled(Generic[P, R]):
    """A function with the programs that were recorded of it. `compile` makes one.

    Attributes:
        programs: what was recorded, one for each kind of arguments; `print` one to read it.
    """

    function: Any
    limit = 16  # of programs that are kept: the one used least recently goes first
    patience = 8  # recordings after which a warning asks what is going on
    executor: str | None
    mode: str | None

    def __init__(self, function: Callable[P, R], *, executor: str | None = None, mode: str | None = None) -> None:
        if not callable(function):
            raise TypeError(f"compile: takes a function, got a {type(function).__name__}")
        self.function = function
        self.executor, self.mode = executor, mode
        self._lock = lock()
        self._cache: OrderedDict[Any, list[Executable]] = OrderedDict()
        self._recordings = 0
        self._varying: dict[Any, set[int]] = {}  # by the form of arguments: the numbers among them that are inputs
        self._varying_places: set[Any] = set()  # the same for what is found by name
        self._states: set[tuple[int, str]] = set()  # attributes that are read and assigned: modules, by id, and names
        self._unvarying: set[Any] = set()  # forms and places whose numbers could not be inputs
        update_wrapper(self, function, updated=())  # attributes are looked up there

    @property
    def programs(self) -> list[Program]:
        return [executable.program for executables in self._cache.values() for executable in executables]

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)}, {len(self.programs)} programs>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        # somebody looks on; a second derivative would run the function again; or it is a part of another program
        if observers or double_backward.get() or (tracers and tracers[-1].mine()):
            return self.function(*args, **kwargs)
        if self.mode == "verify":
            return verified(_name_of(self.function), self.function, self._run, args, kwargs)
        return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program for these arguments, or record one first."""
        given: list[Any] = []
        form = tree_structure((args, kwargs), given)
        key = (form, self._argument_keys(form, given), aliased_arguments(given), is_grad_enabled())
        with self._lock:
            found = self._prepared(key, given)
            if found is not None:
                return found[0].run(found[1])
        with _one_at_a_time, self._lock:  # in this order, as a recording may take the lock of another function
            found = self._prepared(key, given)  # another thread may have recorded it meanwhile
            return found[0].run(found[1]) if found is not None else self._record(key, given, args, kwargs)

    def _argument_keys(self, form: Any, given: list[Any]) -> tuple[Any, ...]:
        """What of each argument a program depends on: of a number that varies, its type."""
        varying = self._varying.get(form, ())
        return tuple([(type(x), _VARIES) if i in varying else guard_key(x) for i, x in enumerate(given)])

    def _prepared(self, key: Any, given: list[Any]) -> tuple[Executable, Prepared] | None:
        """What to replay at a call with these arguments; None if nothing that is known is right for it."""
        for executable in self._cache.get(key, ()):
            call = executable.prepared(given)
            if call is not None:
                if len(self._cache) > 1:
                    self._cache.move_to_end(key)  # what is used least is the first to go
                return executable, call
        return None

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Compiled[P, R]: ...
    @overload
    def __get__(self: Compiled[Concatenate[Any, Q], R], instance: object, owner: Any = None) -> Compiled[Q, R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A compiled method. Each object has its own, which goes with it."""
        if instance is None:
            return self
        if not hasattr(instance, "__dict__"):
            return partial(self, instance)
        methods = vars(instance).get("_compiled_methods")
        if methods is None:
            methods = _Methods()
            (type if isinstance(instance, type) else object).__setattr__(instance, "_compiled_methods", methods)
        if self not in methods:
            methods[self] = Compiled(MethodType(self.function, instance), executor=self.executor, mode=self.mode)
        return methods[self]

    def __getattr__(self, name: str) -> Any:
        """What else is asked for is the function's."""
        if name == "function" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.function, name)

    def __reduce__(self) -> Any:
        """A copy has programs of its own; a function that is found by its name is pickled as this name."""
        found: Any = sys.modules.get(str(getattr(self, "__module__", "")))
        name = getattr(self, "__qualname__", "")  # a module has none
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        return type(self), (self.function,), {"executor": self.executor, "mode": self.mode}

    def _record(self, key: Any, given: list[Any], args: Any, kwargs: Any) -> Any:
        """Record the program for these arguments, and replay it. Numbers that were others before are its inputs."""
        key = self._notice_numbers(key, given)
        try:
            made = self._recorded(given, args, kwargs, self._varying.get(key[0], set()), self._varying_places)
        except StateFound as found:  # which is recorded once more, as one
            self._states.update(found.places)
            return self._record(key, given, args, kwargs)
        except Exception:  # as where a library takes nothing but a float
            if not self._varying.get(key[0]) and not self._varying_places:
                raise
            self._unvarying.update([key[0], *self._varying_places])
            self._varying.pop(key[0], None)
            self._varying_places.clear()
            key = (key[0], self._argument_keys(key[0], given), *key[2:])
            made = self._recorded(given, args, kwargs, set(), set())
        if made is None:
            return self.function(*args, **kwargs)
        if self.mode == "explain":
            print(made.program.explanation(), file=sys.stderr)
        self._keep(key, made)
        prepared = made.prepared(given)
        if prepared is None:
            name = _name_of(self.function)
            raise CompileError(
                f"compile: {name} changes state that its own program depends on, so the program could never be reused; "
                "make that change outside"
            )
        result = made.run(prepared)
        _collect()
        numpy_backend.empty_cache()  # recording and planning need as much memory as the program
        return result

    def _notice_numbers(self, key: Any, given: list[Any]) -> Any:
        """Learn which numbers have had another value before; the key of a call in which these may be any."""
        form, argument_keys, *rest = key
        alike = [known for known in self._cache if (known[0], *known[2:]) == (form, *rest)]
        varying = varying_numbers(argument_keys, [known[1] for known in alike])
        if varying and form not in self._unvarying:
            self._varying.setdefault(form, set()).update(varying)
            for known in alike:
                del self._cache[known]  # which no call would find any more
        for executable in self._cache.get(key, ()):
            self._varying_places.update(executable.lookups.changed_numbers())
        self._varying_places -= self._unvarying
        return (form, self._argument_keys(form, given), *rest)

    @_without_collector()
    def _recorded(
        self, given: list[Any], args: Any, kwargs: Any, numbers: set[int], places: set[Any]
    ) -> Executable | None:
        """A program for these arguments; None for a call that is not like those that will follow.

        Args:
            numbers, places: the numbers among the arguments, and found by name, that are to be inputs.
        """
        name = _name_of(self.function)
        containers = container_types((args, kwargs))
        names = Names([self.function], [*given, *containers])
        if (numbers or places) and "type" in names.names:
            raise CompileError(
                f"compile: {name} calls type() on a number that is an input of the program, where type() cannot be "
                "answered; use isinstance()"
            )
        reach = names.reaching_all()
        around = PurityCheck(name, reach)
        tracer = Tracer(name, frozenset(places), numbers, reach.classes() if names.dynamic else (), self._states)
        try:
            try:
                with Watch(tracer):
                    around.lookups.make_symbolic(tracer)
                    form, outputs, stores, grads, sweep = self._watched(tracer, given, args, kwargs)
            except NotRepeatable:
                form = None
            finally:
                tracer.end()  # once more: an interrupt may have come before the first time
                enroll(None)
            tracer.release()
            around.put_back()
        except BaseException:
            with suppress(CompileError):
                tracer.release()
            with suppress(CompileError):
                around.put_back()
            tracer.optimizers.put_back()
            raise
        if form is None or tracer.keeps:
            return None
        lookups = self._lookup_guard(tracer, [*given, *containers], around.lookups.made_symbolic)
        make, call = partial(executor_for, name=self.executor), self._caller(args, kwargs, len(given))
        return Executable(tracer, lookups, form[0], outputs, stores, grads, make, sweep, call, self._lock, given)

    def _watched(self, tracer: Tracer, given: list[Any], args: Any, kwargs: Any) -> Any:
        """Call the function under observation: what it gives, what it leaves, and the sweep back from its results."""
        given = [tracer.given(x, i) for i, x in enumerate(given)]
        new_args, new_kwargs = rebuild([args, kwargs], iter(given))
        form = tree_structure((new_args, new_kwargs), [])
        start = next_number()
        mode = is_grad_enabled()
        try:
            result = self.function(*new_args, **new_kwargs)
        finally:
            moved = is_grad_enabled() != mode
            grad_enabled.set(mode)
        if moved:
            raise CompileError(
                f"compile: {tracer.name} leaves grad mode switched {'off' if mode else 'on'}, which a replay would "
                "not; use `with tg.no_grad():` inside, or switch it outside"
            )
        now: list[Any] = []
        if tree_structure((new_args, new_kwargs), now) != form or not all(map(is_, now, given)):
            raise CompileError(
                f"compile: {tracer.name} changes a list or a dictionary among its arguments, which a replay would not "
                "do again; change a copy, and return that"
            )
        results = [*leaves(result), *tracer.assigned.computed()]
        views = find_views(tracer, given, results, lambda y: carries_gradient(y.node, start))
        differentiable = [None if k in views else y for k, y in enumerate(results)]
        sweep, order = trace_backward(tracer, given, differentiable, start)
        watch_captured(tracer)
        stores, grads = finish(tracer)
        positions = {id(x): i for i, x in enumerate(given) if isinstance(x, Value) or type(x) is ProxyArray}
        first = {id(y): i for i, y in reversed([*enumerate(results)])}
        outputs = [
            AliasOutput(positions[id(y)])
            if id(y) in positions
            else RepeatedOutput(first[id(y)])
            if first[id(y)] < i
            else views[i]
            if i in views
            else _output(tracer, y, start, k)
            for i, (y, k) in enumerate(zip(results, order, strict=True))
        ]
        return [rebuild(result, iter([0] * len(outputs)))], outputs, stores, grads, sweep

    def _lookup_guard(self, tracer: Tracer, objects: list[Any], symbolic: set[Any]) -> LookupGuard:
        """What Python found by name meanwhile, also by way of objects that it was given, and must find again."""
        reads = tracer.attribute_reads
        modules = [*reads.modules.values()]
        hooks = [hook.call for m in modules for name in HOOKS for hook in vars(m).get(name, ())]
        functions = [self.function, *[m.forward for m in modules], *hooks]
        looked_up = reads.of_objects.union(*reads.of_modules.values())
        names = Names(functions, [*objects, *modules], looked_up, reads.read_whole)
        places = names.places
        for module in modules:
            of_module, parts = module_guards(module, reads.of_modules[id(module)])
            places += of_module
            tracer.guards.append(parts)
        return LookupGuard(places, symbolic | reads.symbolic.keys(), tracer.seen)

    def _caller(self, args: Any, kwargs: Any, count: int) -> Callable[[list[Any]], Any]:
        """The function of the values of its argument tree."""
        form, function = rebuild([args, kwargs], iter([0] * count)), self.function

        def call(given: list[Any]) -> Any:
            new_args, new_kwargs = rebuild(form, iter(given))
            return function(*new_args, **new_kwargs)

        return call

    def _keep(self, key: Any, executable: Executable) -> None:
        self._cache.setdefault(key, []).insert(0, executable)
        while len(self.programs) > self.limit:
            oldest = next(iter(self._cache))
            self._cache[oldest].pop()
            if not self._cache[oldest]:
                del self._cache[oldest]
        self._recordings += 1
        if self._recordings == self.patience:
            warnings.warn(
                f"{self!r} was recorded {self._recordings} times, which takes longer than it saves: each new shape, "
                "dtype or Python number among the arguments, or switch of a module, needs a program of its own. Pad "
                "to one shape, and pass numbers that change as tensors",
                RecompileWarning,
                stacklevel=4,
            )


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _output(tracer: Tracer, y: Any, start: int, position: int | None) -> Any:
    """A leaf of the result: a Var and what to make of it, or something that is the same at each call."""
    if position is not None:
        return DifferentiableOutput(tracer.traced(y.array).refresh().variable, position)
    if type(y) is SymbolicScalar:
        return ScalarOutput(y.number.index)
    if isinstance(y, Value):
        if is_own_leaf(y.node, start):
            raise CompileError(
                f"compile: {tracer.name} returns a variable that it makes itself, anew at each call, so that nothing "
                "else could get a gradient by it; make it outside, or return y.detach()"
            )
        if y.node is not None and y.node.number < start:
            return y
        return PlainOutput(tracer.traced(y.array).refresh().variable, type(y))
    if type(y) is ProxyArray:
        return PlainOutput(y.refresh().variable, None)
    for name, held in attributes(y).items() if has_attributes(y) else ():
        if any(type(x) in (SymbolicScalar, ProxyArray) for x in leaves(held)):
            raise CompileError(
                f"compile: {tracer.name} returns a {type(y).__name__} whose attribute {name!r} is another one at each "
                "call, which a replay would not put there; return tuples, lists and dictionaries"
            )
    return y
