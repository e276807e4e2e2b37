"""Eager mode on a GPU: what a primitive, or a rule of one, does to elements between two reductions is one kernel.

The function is watched once for each kind of operands, on arrays of a few elements. Its operations become the text of
a kernel, by the expressions that compiled programs are made of; a reduction stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

from ..backend import Array, numpy_module, register
from ..backend import numpy as host
from ..graph import Node
from .cuda_kernels import OPERATIONS, PRELUDE, REDUCTIONS, TYPES, expression, literal, loop_kind
from .operations import evaluate
from .program import Instr, Var
from .traced import Traced, TracedBackend

Kind = tuple[Any, ...]  # of an operand: its type, and its dtype with the dimensions along which it is one, or itself
_NUMBERS = range(-8, 9)  # which a kernel's text may have: few, since each makes another kernel
_SETTINGS = {"dim", "dims", "keepdim", "dtype"}  # that such functions have
_watching = Lock()
_otherwise: set[Any] = set()  # the functions that do more than that, or one thing alone


class _Otherwise(Exception):
    """An operation that is neither done to elements nor a reduction."""


class _Unfit(Exception):
    """An operation on numbers of dtypes for which no kernel does it."""


class Kernel(NamedTuple):
    """Operations on elements that are launched together.

    Attributes:
        inputs: what it reads; these broadcast to one shape, which is that of all it makes.
        outputs: what others need of what it makes.
    """

    instrs: list[Instr]
    inputs: list[Var]
    outputs: list[Var]
    preamble: str = PRELUDE

    def text(self) -> str:
        """CUDA C++ that makes y0, y1, ... of x0, x1, ..., for one element."""
        names = {v: f"x{k}" for k, v in enumerate(self.inputs)}
        lines = []
        for n, instr in enumerate(self.instrs):
            kind = loop_kind(instr) or ""
            operands = []
            for place, a in enumerate(instr.args):
                truth = "?" if instr.op == "where" and place == 0 else kind
                operands.append((names[a], a.dtype.char) if type(a) is Var else (literal(a, truth), truth))
            names[instr.out] = f"v{n}"
            lines.append(f"const {TYPES[instr.out.dtype.char]} v{n} = {expression(instr, operands)};")
        return "\n".join(lines + [f"y{k} = {names[v]};" for k, v in enumerate(self.outputs)])

    def on_arrays(self, *arrays: Array) -> list[Array]:
        """The same, one operation after the other."""
        found = dict(zip(self.inputs, arrays, strict=True))
        for instr in self.instrs:
            found[instr.out] = evaluate(instr.op, [found.get(a, a) for a in instr.args], instr.params)
        return [found[v] for v in self.outputs]


class Watch:
    """A recorder of one function."""

    home, index, device = host, 0, None

    def __init__(self) -> None:
        self.instrs: list[Instr] = []
        self.count = 0

    def array(self, shape: tuple[int, ...], kind: Any) -> Traced:
        self.count += 1
        value = numpy_module.ones(shape, kind)
        return _Element(self, value, Var(self.count, shape, value.dtype))

    def emit(self, op: str, *args: Any, **params: Any) -> Traced:
        given = tuple([self.traced(a).var if hasattr(a, "dtype") else a for a in args])
        value = evaluate(op, [getattr(a, "value", a) for a in args], params)
        made = self.array(value.shape, value.dtype)
        instr = Instr(op, given, params, made.var)
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
        shape = tuple([1 if single else 2 for single in kind[2]])
        if kind[0]:
            return self.array(shape, kind[1])
        outline = Node()
        outline.shape, outline.dtype = shape, kind[1]
        return outline

    def traced(self, x: Any) -> Any:
        if type(x) is not _Element:
            raise _Otherwise
        return x

    def is_constant(self, x: Any) -> bool:
        return False

    def line(self) -> str:
        return ""


class _Element(Traced):
    """An array that is watched, as one of a compiled function is."""

    __slots__ = ()

    def copy(self, *_: Any) -> Traced:
        return self


class Plan(NamedTuple):
    """Launches, one after another: of kernels, with what the backend made of each, and of reductions."""

    inputs: list[Var | None]
    steps: list[tuple[Kernel, Callable[..., Any]] | Instr]
    result: Var

    def run(self, arrays: tuple[Any, ...]) -> Array:
        found = dict(zip(self.inputs, arrays, strict=True))
        for step in self.steps:
            if isinstance(step, Instr):
                found[step.out] = getattr(found[step.args[0]], step.op)(**step.params)
            else:
                kernel, launch = step
                found.update(zip(kernel.outputs, launch(*[found[v] for v in kernel.inputs]), strict=True))
        return found[self.result]


def fused(backend: Any, function: Callable[..., Any], args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """What the function returns; for arrays of this backend, in as few launches as it takes."""
    ours = str(getattr(function, "__module__", "")).startswith("tinygrad_seq.ops.")  # a user's may count its calls
    if not ours or function in _otherwise or not params.keys() <= _SETTINGS:
        return function(*args, **params)
    kinds: list[Kind] = []
    for x in args:
        if type(x) is backend.ndarray or isinstance(x, Node):
            kinds.append((type(x) is backend.ndarray, x.dtype, tuple([n == 1 for n in x.shape])))
        elif x is None or (type(x) in (bool, int, float) and x in _NUMBERS and str(x) != "-0.0"):
            kinds.append((type(x), x))
        else:
            return function(*args, **params)
    plan = _plan(backend, function, tuple(kinds), tuple(params.items()))
    return function(*args, **params) if plan is None else plan.run(args)


@lru_cache(4096)
def _plan(backend: Any, function: Any, kinds: tuple[Kind, ...], params: tuple[Any, ...]) -> Plan | None:
    """How to launch the function; None if nothing is gained, or some of it has no kernel."""
    if any(len(kind) == 3 and kind[1].char not in TYPES for kind in kinds):
        return None
    with _watching:
        watch = Watch()
        register(_Element, TracedBackend(watch))  # type: ignore[arg-type]
        given = [watch.operand(kind) for kind in kinds]
        try:
            with numpy_module.errstate(all="ignore"):
                result = function(*given, **dict(params))
        except _Unfit:
            return None
        except Exception:  # of whatever else is not for a few elements; what is a mistake, the function itself will say
            _otherwise.add(function)
            return None
    if len(watch.instrs) < 2 and all(len(kind) == 3 for kind in kinds):
        _otherwise.add(function)
    if type(result) is not _Element:
        return None
    inputs = [x.var if type(x) is _Element else None for x in given]
    steps = _steps(watch.instrs, result.var)
    if steps is None or len(steps) >= len(watch.instrs):
        return None
    made = [step if isinstance(step, Instr) else (step, backend.elementwise(step)) for step in steps]
    return Plan(inputs, made, result.var)


def _steps(instrs: list[Instr], result: Var) -> list[Kernel | Instr] | None:
    """Kernels, as few as reductions allow, and these; None if a kernel would make something of a smaller shape."""
    level: dict[Var, int] = {}  # how many reductions have to be done before
    for instr in instrs:
        before = max([level.get(v, 0) for v in instr.inputs()], default=0)
        level[instr.out] = before + (instr.op in REDUCTIONS)
    last = level.get(result, -1)
    for instr in instrs[::-1]:  # elements as late as they are needed, so that they are kept by fewer kernels
        if instr.op not in REDUCTIONS:
            users = [level[i.out] - (i.op in REDUCTIONS) for i in instrs if instr.out in i.inputs()]
            level[instr.out] = min(users, default=last)
    steps: list[Kernel | Instr] = []
    for n in range(last + 1):
        own = [i for i in instrs if level[i.out] == n and i.op not in REDUCTIONS]
        made = {i.out for i in own}
        others = {v for i in instrs if i not in own for v in i.inputs()} | {result}
        kernel = Kernel(
            own,
            list(dict.fromkeys([v for i in own for v in i.inputs() if v not in made])),
            [i.out for i in own if i.out in others],
        )
        whole = numpy_module.broadcast_shapes(*[v.shape for v in kernel.inputs])
        if any(v.shape != whole for v in kernel.outputs):
            return None
        steps += [kernel] if own else []
        steps += [i for i in instrs if i.op in REDUCTIONS and level[i.out] == n + 1]
    return steps
