"""Leave out what nobody gets to see."""

from __future__ import annotations

from ..operations import needed_for
from ..program import Program


def eliminate_dead_code(program: Program) -> Program:
    """Only what the outputs are computed from, checks, which see for themselves, and messages to other processes."""
    program.instrs = needed_for(program.outputs, program.instrs)
    needed = {*program.outputs, *[v for instr in program.instrs for v in instr.inputs()]}
    program.constants = {var: array for var, array in program.constants.items() if var in needed}
    return program
