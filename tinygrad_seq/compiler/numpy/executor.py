"""Running a program with NumPy: every result goes into memory that was planned for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import is_
from typing import Any

from ...backend import Array, numpy_backend
from ...backend import numpy_module as numpy
from ...graph.tracing_hook import CompileError
from ..memory.loop_layout import LoopLayout, moves
from ..memory.plan import MemoryPlan
from ..operations import HOLE, REDUCTIONS, UFUNCS, VIEWS, evaluate, filled
from ..passes import optimized
from ..passes.loop_bodies import finish_loops
from ..passes.rematerialization import rematerialize
from ..passes.weight_prepacking import transpose_weights_once
from ..program import Instr, Number, Program, Var

_COLUMNS = 16

Step = tuple[Callable[..., Any], tuple[Any, ...]]


class NumpyExecutor:
    """Runs a program in its own memory. A lookup, a scatter and what is called as it is ask for some on the way.

    Arguments of the function, which are others at each call, are copied in; what else comes from outside is used where
    it lies, and bound anew if it has moved.
    """

    name = "numpy"

    def __init__(self, program: Program) -> None:
        self.program: Program = self._rewritten(program)
        sources = enumerate(program.sources.items())
        self._own = [(i, numpy.empty(v.shape, v.dtype)) for i, (v, source) in sources if source.per_call]
        self._bound: list[Array] = []
        self._numbers: dict[tuple[int, Any], Array] = {}
        self._now: list[Any] = []
        self._steps: list[Step] = []
        self._planned = False

    def run(self, arrays: list[Array], numbers: list[Any]) -> dict[Var, Array]:
        """From the arrays of the sources, in their order, and the program's numbers to the arrays of the outputs."""
        arrays = [*arrays]
        for i, own in self._own:
            numpy.copyto(own, arrays[i])
            arrays[i] = own
        if not self._planned or not all(map(is_, arrays, self._bound)):
            self._bind(arrays)
        self._now = numbers
        for (index, _), cell in self._numbers.items():
            cell[...] = numbers[index]
        self._execute()
        return self.plan.arrays

    def _rewritten(self, program: Program) -> Program:
        """The program as this executor wants it."""
        return transpose_weights_once(rematerialize(finish_loops(program, self._rewritten_body)))

    def _rewritten_body(self, body: Program) -> Program:
        """The body of a loop as this executor wants it."""
        return transpose_weights_once(optimized(body))

    def _execute(self) -> None:
        with numpy.errstate(over="ignore"):  # of exp(-x) in the sigmoid, which is right in the limit
            for function, args in self._steps:
                function(*args)

    def fits(self, arrays: list[Array]) -> bool:
        """Whether the arrays of the sources are where this one computes."""
        return all(isinstance(a, numpy.ndarray) for a in arrays)

    def copy_all(self, pairs: list[tuple[Array, Array]]) -> None:
        """Copy second arrays into first ones."""
        for target, made in pairs:
            numpy.copyto(target, made)

    def _bind(self, arrays: list[Array]) -> None:
        """Work out where everything lies, and what to call."""
        self._numbers, self._planned = {}, False
        self.plan: MemoryPlan = self._planned_for(dict(zip(self.program.sources, arrays, strict=True)))
        self._steps = self._all_steps()
        self._planned, self._bound = True, arrays

    def _planned_for(self, outside: dict[Var, Array]) -> MemoryPlan:
        return MemoryPlan(self.program, outside, allow_strided=False)  # NumPy takes twice as long where rows lie apart

    def _all_steps(self) -> list[Step]:
        """What to call, with what."""
        return [step for instr in self.program.instrs if instr.op not in VIEWS for step in self._steps_of(instr)]

    def operand(self, a: Any, others: list[Any]) -> Any:
        """An operand as an array: NumPy converts a Python number at each call, which takes as long as all the rest."""
        if type(a) is Var:
            return self.plan.arrays[a]
        kinds = [v.dtype for v in others if type(v) is Var]
        if type(a) is not Number:
            return numpy.asarray(a, numpy.result_type(*kinds, a)) if kinds else numpy.asarray(a)
        kind = numpy.result_type(*kinds, 1 if a.is_int else 1.0)
        return self._numbers.setdefault((a.index, kind), numpy.empty((), kind))

    def _steps_of(self, instr: Instr) -> list[Step]:
        op, out = instr.op, self.plan.arrays[instr.out]
        if op == "require" and all(type(a) is Var for a in instr.args):
            return [(instr.params["check"], tuple([self.plan.arrays[a] for a in instr.args]))]
        if op == "loop":
            return self._loop(instr)
        if op == "loop_result":
            return []  # the loop has put it there
        if op in ("require", "random_bits", "call"):
            generic = self._generic if any(type(a) is Number for a in instr.args) else self._called
            return [(partial(generic, instr, out), tuple([self.plan.arrays.get(a, a) for a in instr.args]))]
        if op == "collective":
            given = instr.args[: instr.params["count"]]
            return [
                (partial(self._sent, instr.params["message"], out), tuple([self.plan.arrays.get(a, a) for a in given]))
            ]
        args = [self.operand(a, list(instr.args)) for a in instr.args]
        if op in ("maximum", "minimum"):  # whose third argument is not to be the result
            return [(partial(getattr(numpy, op), out=out), tuple(args))]
        if op in UFUNCS or op == "matmul":
            return [(getattr(numpy, op), (*args, out))]
        if op == "take" and instr.params["index"] == (HOLE,) and args[1].dtype.kind in "iu" and out.flags.c_contiguous:
            return [(_looked_up, (*args, out))]
        if op == "sigmoid":
            one = numpy.asarray(1.0, out.dtype)
            steps: list[Step] = [(numpy.negative, (args[0], out)), (numpy.exp, (out, out))]
            return [*steps, (numpy.add, (out, one, out)), (numpy.divide, (one, out, out))]
        if op == "sum":
            return [(partial(numpy_backend.sum_over, out=out, **instr.params), (args[0],))]
        if op in REDUCTIONS:
            return [(partial(getattr(args[0], op), out=out, **instr.params), ())]
        if op == "where":
            return [(numpy.copyto, (out, args[2])), (partial(numpy.copyto, where=args[0]), (out, args[1]))]
        if op == "copy" and _is_turned(
            args[0]
        ):  # a few columns at a time, whose lines stay in the cache: six times faster
            return [
                (numpy.copyto, (out[:, i : i + _COLUMNS], args[0][:, i : i + _COLUMNS]))
                for i in range(0, out.shape[1], _COLUMNS)
            ]
        if op in ("cast", "copy"):
            return [(partial(numpy.copyto, casting="unsafe"), (out, args[0]))]
        if op == "concat":
            return [(numpy.copyto, pair) for pair in self.pieces(instr, out)]
        if op == "update":
            index = filled(instr.params["index"], tuple(args[2:]))
            return [*self._copied_to(out, args[0]), (out.__setitem__, (index, args[1]))]
        if op == "scatter_add":
            index = filled(instr.params["index"], tuple(args[2:]))
            return [*self._copied_to(out, args[0]), (numpy_backend.scatter_add, (out, index, args[1]))]
        return [(partial(self._evaluated, op, args, instr.params, out), ())]

    def _loop(self, instr: Instr) -> list[Step]:
        """All steps of a loop, one after another."""
        return _NumpyLoop(instr.params["loop"].body).steps(self.layout(instr))

    def layout(self, instr: Instr, apart: bool = False) -> LoopLayout:
        """Where a loop finds and leaves its arrays."""
        arrays = self.plan.arrays
        read = [i for i in self.program.instrs if i.op == "loop_result" and i.args[0] is instr.out]
        results = {i.params["result"]: arrays[i.out] for i in read}
        given = [arrays[a] for a in instr.args]
        return LoopLayout(instr.params["loop"], instr.params["count"], given, results, apart)

    def _copied_to(self, out: Array, x: Array) -> list[Step]:
        """A copy, unless the one lies where the other does."""
        same = out.__array_interface__["data"] == x.__array_interface__["data"] and out.strides == x.strides
        return [] if same else [(numpy.copyto, (out, x))]

    def pieces(self, instr: Instr, out: Array) -> list[tuple[Array, Array]]:
        """Of a `concat`, the pieces that were not made in their place: where they go, and where they are."""
        axis, start, found = instr.params["axis"], 0, []
        for piece in instr.args:
            end = start + piece.shape[axis]
            target = out[(*[slice(None)] * axis, slice(start, end))]
            start = end
            array = self.plan.arrays[piece]
            if array.size and array.__array_interface__["data"] != target.__array_interface__["data"]:
                found.append((target, array))
        return found

    def _evaluated(self, op: str, args: list[Any], params: dict[str, Any], out: Array) -> None:
        numpy.copyto(out, evaluate(op, args, params))

    def _sent(self, message: Any, out: Array, *args: Any) -> None:
        message(*[self._now[a.index] if type(a) is Number else a for a in args], out=out)

    def _generic(self, instr: Instr, out: Array, *args: Any) -> None:
        self._called(instr, out, *[self._now[a.index] if type(a) is Number else a for a in args])

    def _called(self, instr: Instr, out: Array, *args: Any) -> None:
        result = evaluate(instr.op, args, instr.params)
        if result.shape != out.shape:
            what = instr.params.get("name", instr.op)
            raise CompileError(
                f"compile: the shape of {what} depends on values: it was {out.shape}, and is {result.shape} now; leave "
                f"this part uncompiled ({instr.line})"
            )
        numpy.copyto(out, result)


class _NumpyLoop(NumpyExecutor):
    """The body of a loop."""

    def _rewritten(self, program: Program) -> Program:
        return program

    def steps(self, layout: LoopLayout) -> list[Step]:
        """All calls of a loop."""
        self.plan = self._planned_for(layout.outside)
        arrays, moving = self.plan.arrays, layout.windows(self.program, self.plan)
        each = [instr for instr in self.program.instrs if instr.op not in VIEWS]
        same = {instr.out: self._steps_of(instr) for instr in each if not moves(instr, moving)}
        found = copied(layout.before)
        for n in range(layout.count):
            arrays |= {v: window[n, ...] for v, window in moving.items()}
            found += [step for instr in each for step in same.get(instr.out) or self._steps_of(instr)]
            found += copied([(target, arrays[v]) for target, v in layout.between])
        return found + copied(layout.afterwards)


def _looked_up(table: Array, index: Array, out: Array) -> None:
    """out = table[index], without memory on the way."""
    if numpy.count_nonzero((index < -len(table)) | (index >= len(table))):
        table[index]  # NumPy says what is wrong
    numpy.take(table, index, axis=0, out=out, mode="wrap")  # from the end where negative; to "raise" takes a copy


def copied(pairs: list[tuple[Array, Array]]) -> list[Step]:
    """Copies, from the second to the first."""
    return [(numpy.copyto, pair) for pair in pairs]


def _is_turned(a: Array) -> bool:
    """Whether this is a matrix whose columns lie in one piece."""
    return a.ndim == 2 and a.flags.f_contiguous and not a.flags.c_contiguous
