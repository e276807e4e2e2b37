"""Leave out what nobody gets to see."""

from __future__ import annotations

from ..operations import EFFECTS
from ..program import Program


def eliminate_dead_code(program: Program) -> Program:
    """Only what the outputs are computed from, checks, which see for themselves, and messages to other processes."""
    needed = set(program.outputs)
    kept = []
    for instr in reversed(program.instrs):
        if instr.op in EFFECTS or instr.out in needed:
            needed.update(instr.inputs())
            kept.append(instr)
    program.instrs = kept[::-1]
    program.constants = {var: array for var, array in program.constants.items() if var in needed}
    return program
