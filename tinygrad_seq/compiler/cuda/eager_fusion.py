"""Eager mode on a GPU: what a primitive, or a rule of one, does to elements between two reductions is one kernel.

The function is watched once for each kind of operands, on arrays of a few elements. Its operations become the text of
a kernel, by the expressions that compiled programs are made of; a reduction stays what it is. For operands of known
shapes and strides it is bound once, so that a call looks that up, allocates, and launches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from threading import Lock
from typing import Any, NamedTuple

from ...backend import Array, numpy_module, on_gpu, register, several_gpus
from ...backend import numpy as host
from ...backend.dispatch import known, on_operand_device
from ...graph import Node
from ..operations import evaluate
from ..program import Instr, Var
from ..tracing.proxies import ProxyArray
from ..tracing.proxy_backend import ProxyBackend
from .codegen import OPERATIONS, REDUCTIONS, TYPES, loop_kind
from .pointwise import Kernel

Kind = tuple[Any, ...]  # of an operand: its type, and its dtype with the dimensions along which it is one, or itself
Run = Callable[[tuple[Any, ...]], Any]
_NUMBERS = frozenset(range(-8, 9))  # which a kernel's text may have: few, since each makes another kernel
_SETTINGS = {"dim", "dims", "keepdim", "dtype"}  # that such functions have
_LENGTHS = (2, 3)  # with which a function is watched
_MOST = 1024  # kinds of operands that a function is bound for at a time
_watching = Lock()


class _Otherwise(Exception):
    """An operation that is neither done to elements nor a reduction."""


class _Unfit(Exception):
    """An operation on numbers of dtypes for which no kernel does it."""


class Watch:
    """The tracer of one function."""

    target: Any = host
    index: int = 0
    device: None = None
    count: int

    def __init__(self, length: int) -> None:
        self.length = length
        self.instrs: list[Instr] = []
        self.made_here: list[Any] = []  # told of each proxy, as a tracer of calls is
        self.count = 0

    def array(self, shape: tuple[int, ...], kind: Any) -> ProxyArray:
        self.count += 1
        value = numpy_module.ones(shape, kind)
        return _Element(self, value, Var(self.count, shape, value.dtype))

    def emit(self, op: str, *args: Any, **params: Any) -> ProxyArray:
        given = tuple([self.traced(a).variable if hasattr(a, "dtype") else a for a in args])
        value = evaluate(op, [getattr(a, "value", a) for a in args], params)
        made = self.array(value.shape, value.dtype)
        instr = Instr(op, given, params, made.variable)
        if op not in OPERATIONS and not (op in REDUCTIONS and params["keepdims"]):
            raise _Otherwise
        if op in OPERATIONS and loop_kind(instr) is None:
            raise _Unfit
        self.instrs.append(instr)
        return made

    def operand(self, kind: Kind) -> Any:
        """Something that stands for an operand of this kind."""
        if len(kind) == 2:
            return kind[1]
        shape = tuple([1 if single else self.length for single in kind[2]])
        if kind[0]:
            return self.array(shape, kind[1])
        outline = Node()
        outline.shape, outline.dtype = shape, kind[1]
        return outline

    def said(self) -> list[Any]:
        """The operations, but for what the lengths of the operands are."""
        return [(i.op, [a.number if type(a) is Var else a for a in i.args], i.params) for i in self.instrs]

    def traced(self, x: Any) -> Any:
        if type(x) is not _Element:
            raise _Otherwise
        return x

    def is_constant(self, x: Any) -> bool:
        return False

    def line(self) -> str:
        return ""


class _Element(ProxyArray):
    """An array that is watched, as one of a compiled function is."""

    __slots__ = ()

    def copy(self, *_: Any) -> ProxyArray:
        return self


class Plan(NamedTuple):
    """Launches, one after another: of kernels, and of reductions.

    Attributes:
        inputs: for each argument what it is called, or None.
        results: what the functions return: something made, or an argument.
    """

    inputs: list[Var | None]
    steps: list[Kernel | Instr]
    results: list[Var]

    def bound(self, backend: Any, args: tuple[Any, ...], several: bool) -> Run:
        """A function of arguments that lie as these do: what one function returns, or the tuple that several do."""
        steps, inputs, wanted, bound = self.steps, self.inputs, self.results, dict[int, Run]()
        if len(steps) == 1 and isinstance(kernel := steps[0], Kernel) and wanted == kernel.outputs:
            pick = _picker([inputs.index(v) for v in kernel.inputs], len(args))
            launch: Run = backend.elementwise(kernel, pick(args) if pick else args)
            return (lambda args: launch(pick(args))) if pick else launch

        def run(args: tuple[Any, ...]) -> Any:
            found: dict[Any, Array] = dict(zip(inputs, args, strict=True))
            for n, step in enumerate(steps):
                if isinstance(step, Instr):
                    found[step.out] = evaluate(step.op, [found[step.args[0]]], step.params)
                    continue
                arrays = tuple([found[v] for v in step.inputs])
                if n not in bound:
                    bound[n] = backend.elementwise(step, arrays)
                made = bound[n](arrays)
                found.update(zip(step.outputs, made if len(step.outputs) > 1 else (made,), strict=True))
            return tuple([found[v] for v in wanted]) if several else found[wanted[0]]

        return run


def _picker(places: list[int], count: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]] | None:
    """What takes the items at these places out of a tuple of so many; None if it is all of them."""
    if places == [*range(count)]:
        return None
    return itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))


_NEVER = Plan([], [], [])  # of functions that do more than that


def launcher(*functions: Callable[..., Any]) -> Callable[..., Any]:
    """What one function of arrays returns, or the tuple of what several do: on a GPU in as few launches as it takes."""
    runs: dict[Any, Run] = {}
    several = len(functions) > 1
    never = False

    def one_by_one(*args: Any, **params: Any) -> Any:
        return tuple([on_operand_device(function)(*args, **params) for function in functions])

    otherwise = one_by_one if several else functions[0]

    def give_up() -> None:
        nonlocal never
        never, known[functions] = True, otherwise

    def bind(backend: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Run:
        kinds = tuple([_kind(x, backend) for x in args])
        plan = _plan(backend, functions, kinds, tuple(params.items()))
        if plan is _NEVER:
            give_up()
        if plan is not None and plan is not _NEVER:
            try:
                return plan.bound(backend, args, several)
            except ValueError:  # shapes that do not fit: the function says so in words that are known
                pass
        return lambda args: otherwise(*args, **params)

    def call(*args: Any, **params: Any) -> Any:
        if never:
            return otherwise(*args, **params)
        backend = on_gpu[0]
        array = backend.ndarray
        key: list[Any] = [backend, backend.current_device() if several_gpus else 0]
        for x in args:
            kind = type(x)
            if kind is array:
                key += (x.dtype, x.shape, x.strides)
            elif isinstance(x, Node):
                key += (Node, x.dtype, x.shape)
            elif x is None or (kind in (int, float, bool) and x in _NUMBERS and (x or str(x) != "-0.0")):
                key += (kind, x)
            else:
                return otherwise(*args, **params)
        if params:
            if not params.keys() <= _SETTINGS:
                give_up()
                return otherwise(*args, **params)
            key += params.items()
        lying = tuple(key)
        run = runs.get(lying)
        if run is None:
            if len(runs) >= _MOST:
                runs.clear()
            run = runs[lying] = bind(backend, args, params)
        return run(args)

    return call


def _kind(x: Any, backend: Any) -> Kind:
    array = type(x) is backend.ndarray
    if array or isinstance(x, Node):
        return array, x.dtype, tuple([n == 1 for n in x.shape])
    return type(x), x


@lru_cache(4096)
def _plan(backend: Any, functions: Any, kinds: tuple[Kind, ...], params: tuple[Any, ...]) -> Plan | None:
    """How to launch the functions; None if nothing is gained, or some of it has no kernel."""
    if any(len(kind) == 3 and kind[1].char not in TYPES for kind in kinds):
        return None
    if not backend.launches_elements():
        return _NEVER
    try:
        found = [_watched(functions, kinds, params, length) for length in _LENGTHS]
    except _Otherwise:
        return _NEVER
    except Exception:  # of whatever else is not for a few elements; what is a mistake, the function itself will say
        return None
    watch, given, results = found[0]
    if all(i.op in REDUCTIONS for i in watch.instrs) and all(len(kind) == 3 or kind[1] is None for kind in kinds):
        return _NEVER  # with numbers it may be more
    if any(type(y) is not _Element for y in results) or watch.said() != found[1][0].said():
        return None
    wanted = [y.variable for y in results]
    steps = _steps(watch.instrs, wanted)
    if steps is None or not any(type(step) is Kernel for step in steps):
        return None
    if len(steps) > 1 and len(steps) >= len(watch.instrs):
        return None
    return Plan([x.variable if type(x) is _Element else None for x in given], steps, wanted)


def _watched(functions: Any, kinds: tuple[Kind, ...], params: tuple[Any, ...], length: int) -> Any:
    """The tracer of these functions, the operands that it gave them, and what they returned."""
    with _watching:
        watch = Watch(length)
        register(_Element, ProxyBackend(watch))  # type: ignore[arg-type]
        given = [watch.operand(kind) for kind in kinds]
        with numpy_module.errstate(all="ignore"):
            return watch, given, [function(*given, **dict(params)) for function in functions]


def _steps(instrs: list[Instr], results: Sequence[Var]) -> list[Kernel | Instr] | None:
    """Kernels, as few as reductions allow, and these; None if a kernel would make something of a smaller shape."""
    level: dict[Var, int] = {}  # how many reductions have to be done before
    for instr in instrs:
        before = max([level.get(v, 0) for v in instr.inputs()], default=0)
        level[instr.out] = before + (instr.op in REDUCTIONS)
    last = max([level.get(v, -1) for v in results])
    for instr in instrs[::-1]:  # elements as late as they are needed, so that they are kept by fewer kernels
        if instr.op not in REDUCTIONS:
            users = [level[i.out] - (i.op in REDUCTIONS) for i in instrs if instr.out in i.inputs()]
            level[instr.out] = min(users, default=last)
    steps: list[Kernel | Instr] = []
    for n in range(last + 1):
        own = [i for i in instrs if level[i.out] == n and i.op not in REDUCTIONS]
        made = {i.out for i in own}
        others = {v for i in instrs if i not in own for v in i.inputs()} | set(results)
        kernel = Kernel(
            own,
            list(dict.fromkeys([v for i in own for v in i.inputs() if v not in made])),
            [i.out for i in own if i.out in others],
        )
        if own and not kernel.inputs:
            return None
        whole = numpy_module.broadcast_shapes(*[v.shape for v in kernel.inputs])
        if any(v.shape != whole for v in kernel.outputs):
            return None
        steps += [kernel] if own else []
        steps += [i for i in instrs if i.op in REDUCTIONS and level[i.out] == n + 1]
    return steps
