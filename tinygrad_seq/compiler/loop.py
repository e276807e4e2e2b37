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
    carried: list[Var]
    after: list[Var]
    sliced: list[Var]
    shared: list[Var]
    made: list[Var]
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

    def sample(self, arrays: list[Array], count: int, wanted: Collection[Result]) -> dict[Result, Array]:
        """Results such as the operands lead to: all steps are taken for copies of the first one."""
        first, second = len(self.carried), len(self.carried) + len(self.sliced)
        before = arrays[:first]
        slices = [stack[count - 1 if self.reverse else 0, ...] for stack in arrays[first:second]]
        values = self.body.constants | dict(zip(self.inputs, [*before, *slices, *arrays[second:]], strict=True))
        for instr in self.body.instrs:
            given = [values[a] if type(a) is Var else a for a in instr.args]
            values[instr.out] = evaluate(instr.op, given, instr.params)
        made = {r: values[(self.made if r.kind == "stacked" else self.after)[r.position]] for r in wanted}
        return {r: numpy.array(numpy.broadcast_to(x, self.shape_of(r, count)), order="C") for r, x in made.items()}
