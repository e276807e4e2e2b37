"""Leave out what nobody gets to see."""

from __future__ import annotations

from ..program import Program


def without_dead_code(program: Program) -> Program:
    """Only what the outputs are computed from, and the checks, which see for themselves."""
    needed = set(program.outputs)
    kept = []
    for instr in reversed(program.instrs):
        if instr.op == "require" or instr.out in needed:
            needed.update(instr.inputs())
            kept.append(instr)
    program.instrs = kept[::-1]
    program.constants = {var: array for var, array in program.constants.items() if var in needed}
    return program
