"""Where a loop finds and leaves its arrays: what lies stacked is read and written where it lies, step by step."""

from __future__ import annotations

from ...backend import Array
from ...backend import numpy_module as numpy
from ..loop import Loop, Result
from ..operations import base_of
from ..program import Instr, Program, Var
from .plan import MemoryPlan

Pairs = list[tuple[Array, Array]]


class LoopLayout:
    """Where the arrays of a loop's body lie at its first step, and how far they are apart from step to step.

    Args:
        apart: whether what lies stacked is copied into memory of its own, and out of it afterwards.

    Attributes:
        count: how many steps.
        outside: what lies elsewhere than in the body's own memory.
        moves: of these, those that lie elsewhere at the next step: how many bytes further.
        before: what to copy before the first step: where to, and where from.
        between: after each step: where to, and which Var of the body.
        afterwards: after the last step.
    """

    def __init__(
        self, loop: Loop, count: int, given: list[Array], results: dict[Result, Array], apart: bool = False
    ) -> None:
        self.count = count
        self.outside: dict[Var, Array] = {}
        self.moves: dict[Var, int] = {}
        self.before: Pairs = []
        self.between: list[tuple[Array, Var]] = []
        self.afterwards: Pairs = []
        inputs = dict(zip(loop.inputs, given, strict=True))
        outwards: Pairs = []
        if apart:
            for v in loop.sliced:
                inputs[v] = numpy.empty(inputs[v].shape, v.dtype)
            self.before += [(inputs[v], given[len(loop.carried) + i]) for i, v in enumerate(loop.sliced)]
            own = {result: numpy.empty(array.shape, array.dtype) for result, array in results.items()}
            outwards = [(results[result], array) for result, array in own.items()]
            results = own
        first, step = (count - 1, -1) if loop.reverse else (0, 1)
        for k, (v, after) in enumerate(zip(loop.carried, loop.after, strict=True)):
            whole, last = results.get(Result("all", k)), results.get(Result("last", k))
            if whole is None:
                here = numpy.empty(v.shape, v.dtype) if last is None else last
                self.outside[v] = here
                self.between.append((here, after))
            else:
                start = count if loop.reverse else 0
                here = whole[start, ...]
                self._put(v, whole, start, step)
                self._put(after, whole, start + step, step)
                if last is not None:
                    self.afterwards.append((last, whole[count - start, ...]))
            self.before.append((here, inputs[v]))
        for v in loop.sliced:
            self._put(v, inputs[v], first, step)
        for j, v in enumerate(loop.made):
            self._put(v, results[Result("stacked", j)], first, step)
        self.outside |= {v: inputs[v] for v in loop.shared}
        self.afterwards += outwards

    def windows(self, body: Program, plan: MemoryPlan) -> dict[Var, Array]:
        """Of the body's arrays, those that lie elsewhere at each step: all of these places, one for each step."""
        producers = {instr.out: instr for instr in body.instrs}
        found: dict[Var, Array] = {}
        for v, array in plan.arrays.items():
            move = self.moves.get(base_of(v, producers, plan.aliases))
            if move is not None:
                shape, strides = (self.count, *array.shape), (move, *array.strides)
                found[v] = numpy.lib.stride_tricks.as_strided(array, shape, strides)
        return found

    def spans(self) -> list[tuple[int, int, int]]:
        """The addresses from which to which what moves lies at the first step, and how far it moves."""
        return [(*byte_bounds(self.outside[v]), move) for v, move in self.moves.items()]

    def _put(self, v: Var, stack: Array, first: int, step: int) -> None:
        self.outside[v] = stack[first, ...]
        if stack.strides[0]:
            self.moves[v] = step * stack.strides[0]


def moves(instr: Instr, moving: dict[Var, Array]) -> bool:
    """Whether an operation has other arrays at each step."""
    return any(v in moving for v in (*instr.inputs(), instr.out))


def byte_bounds(a: Array) -> tuple[int, int]:
    """The address of the first byte of an array, and that after its last one."""
    start = int(a.__array_interface__["data"][0])
    reach = [(n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)] if a.size else []
    return start + sum([r for r in reach if r < 0]), start + sum([r for r in reach if r > 0]) + (
        a.itemsize if a.size else 0
    )
