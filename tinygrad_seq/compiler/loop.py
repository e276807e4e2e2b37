"""A loop of a program: one body, and how it goes over steps. It is data, as a program is.

In a program it is two kinds of operations: `loop`, which does all steps, and a `loop_result` for each array that
somebody reads of it. So a result that nobody reads is not made, as anywhere in a program.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ..backend import Array, DType
from ..backend import numpy_module as numpy
from .operations import evaluate
from .program import Program, Var


class Result(NamedTuple):
    """An array that a loop leaves.

    Attributes:
        kind: "last", what is carried after the last step; "all", what is carried before the first step and after each,
            (T + 1, ...), in the order of the slices; "stacked", what the steps made, (T, ...), in that order, too.
        position: of what is carried, or of what the steps make.
    """

    kind: str
    position: int


class Loop:
    """What a loop does at each step.

    Attributes:
        body: the operations of a step.
        carried: what a step begins with.
        after: what the next one begins with, one for each of `carried`.
        sliced: a step's part of what lies stacked along a first dimension.
        shared: what comes from outside and is the same at all steps.
        made: what of a step may be stacked.
        reverse: whether the last slice comes first.
    """

    body: Program
    reverse: bool

    def __init__(
        self,
        body: Program,
        carried: list[Var],
        after: list[Var],
        sliced: list[Var],
        shared: list[Var],
        made: list[Var],
        reverse: bool,
    ) -> None:
        self.body, self.carried, self.after, self.sliced = body, carried, after, sliced
        self.shared, self.made, self.reverse = shared, made, reverse

    @property
    def inputs(self) -> list[Var]:
        """What the operands of a `loop` stand for, in their order."""
        return [*self.carried, *self.sliced, *self.shared]

    def shape_of(self, result: Result, count: int) -> tuple[int, ...]:
        """The shape of a result of so many steps."""
        if result.kind == "stacked":
            return (count, *self.made[result.position].shape)
        shape = self.carried[result.position].shape
        return shape if result.kind == "last" else (count + 1, *shape)

    def dtype_of(self, result: Result) -> DType:
        return (self.made if result.kind == "stacked" else self.carried)[result.position].dtype

    def evaluate(self, arrays: list[Array], count: int, wanted: Collection[Result]) -> dict[Result, Array]:
        """What so many steps leave, from the operands: what an executor has to agree with."""
        first, second = len(self.carried), len(self.carried) + len(self.sliced)
        now, stacks = arrays[:first], arrays[first:second]
        around = self.body.constants | dict(zip(self.shared, arrays[second:], strict=True))
        found: dict[Result, list[Array]] = {r: [now[r.position]] if r.kind == "all" else [] for r in wanted}
        for t in range(count)[::-1] if self.reverse else range(count):
            slices = [stack[t, ...] for stack in stacks]
            values = around | dict(zip(self.carried, now, strict=True)) | dict(zip(self.sliced, slices, strict=True))
            for instr in self.body.instrs:
                given = [values[a] if type(a) is Var else a for a in instr.args]
                values[instr.out] = evaluate(instr.op, given, instr.params)
            now = [values[v] for v in self.after]
            for r, entries in found.items():
                entries.append(values[self.made[r.position]] if r.kind == "stacked" else now[r.position])
        order = -1 if self.reverse else 1
        return {
            r: numpy.array(entries[-1]) if r.kind == "last" else numpy.stack(entries[::order])
            for r, entries in found.items()
        }
