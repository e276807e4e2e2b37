"""Running a program with NumPy, one operation after another."""

from __future__ import annotations

from typing import Any

from .operations import evaluate
from .program import Number, Program, Var


class Executor:
    """Runs a program with the functions of `operations`."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, arrays: list[Any], numbers: list[Any]) -> dict[Var, Any]:
        """From the arrays of the sources, in their order, and the program's numbers to those of all Vars."""
        values: dict[Var, Any] = dict(self.program.constants)
        values.update(zip(self.program.sources, arrays, strict=True))
        for instr in self.program.instrs:
            args = [
                values[a] if type(a) is Var else numbers[a.place] if type(a) is Number else a for a in instr.args
            ]
            values[instr.out] = evaluate(instr.op, args, instr.params)
        return values
