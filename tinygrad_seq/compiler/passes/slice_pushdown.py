"""A slice of a sum is the sum of slices.

Where the result of an elementwise operation is only ever looked at in slices, as the gates of a recurrent network are,
the operation is done slice by slice: then it can be a part of the same kernel as what is done with each slice, and its
result is never written down.
"""

from __future__ import annotations

from collections.abc import Collection

from ..program import Instr, Program, Var


def push_down_slices(program: Program, elementwise: Collection[str]) -> Program:
    """With the named operations done on slices where nothing reads the whole result."""
    readers: dict[Var, list[Instr]] = {}
    for instr in program.instrs:
        for v in instr.inputs():
            readers.setdefault(v, []).append(instr)
    seen = set(program.outputs)
    split: dict[Var, Instr] = {}
    new: list[Instr] = []
    for instr in program.instrs:
        users = readers.get(instr.out, [])
        if (
            instr.op in elementwise
            and instr.out not in seen
            and len(users) > 1
            and all(u.op == "slice" for u in users)
            and sum([u.out.size for u in users]) <= instr.out.size
            and all(v.shape == instr.out.shape for v in instr.inputs())
        ):
            split[instr.out] = instr
        elif instr.op == "slice" and instr.args[0] in split:
            operation = split[instr.args[0]]
            parts = []
            for a in operation.args:
                if type(a) is Var:
                    part = program.new(instr.out.shape, a.dtype)
                    new.append(Instr("slice", (a,), instr.params, part, instr.line))
                    a = part
                parts.append(a)
            new.append(Instr(operation.op, tuple(parts), operation.params, instr.out, operation.line))
        else:
            new.append(instr)
    if split:
        program.notes.append(f"{len(split)} elementwise results are made slice by slice")
    program.instrs = new
    return program
