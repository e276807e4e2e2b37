"""A weight that many products take turned is turned once.

A layer computes `h @ W.T`, as its weight lies the other way round in memory. OpenBLAS puts a turned matrix in order
anew for each product, which with its AVX-512 kernels takes a fifth of a small one's time; at each step of a sequence
it is the same matrix.
"""

from __future__ import annotations

from collections import Counter

from ..program import Instr, Program, Var

_WORTH = 1024  # rows that go through a matrix before it pays to turn it


def turned_once(program: Program) -> Program:
    """With a copy of what many products of a few rows take turned, in the order in which they read it."""
    rows: Counter[Var] = Counter()
    for instr in program.instrs:
        if instr.op == "matmul" and len(instr.out.shape) == 2 and instr.out.shape[0] > 1:
            rows[instr.args[1]] += instr.out.shape[0]
    products = Counter([instr.args[1] for instr in program.instrs if instr.op == "matmul"])
    copies: dict[Var, Var] = {}
    new: list[Instr] = []
    for instr in program.instrs:
        if instr.op == "matmul" and instr.args[1] in copies:
            instr = Instr("matmul", (instr.args[0], copies[instr.args[1]]), {}, instr.out, instr.line)
        new.append(instr)
        out = instr.out
        if instr.op == "transpose" and len(out.shape) == 2 and rows[out] >= _WORTH and products[out] > 3:
            copies[out] = program.new(out.shape, out.dtype)
            new.append(Instr("copy", (out,), {}, copies[out], instr.line))
            program.notes.append(f"{products[out]} products take {out} turned, which is done once: {instr.line}")
    program.instrs = new
    return program
