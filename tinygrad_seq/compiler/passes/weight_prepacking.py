"""A matrix that many products have on their right is put in order once, and not by each of them.

At each step of a sequence the state is multiplied by the same weight. A layer computes `h @ W.T`, as its weight lies
the other way round in memory, and OpenBLAS puts what it multiplies with into the order in which it reads it, anew for
each product: of one with a few rows that takes a fifth of the time with a transposed matrix and AVX-512.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..program import Instr, Program, Var

_WORTH = 1024  # rows that go through a matrix in all before it pays
_FEW = 512  # rows of one product, for which its own ordering hardly counts


def transpose_weights_once(program: Program) -> Program:
    """With a copy of what many products take transposed, in the order in which they read it."""
    transposed = {instr.out for instr in program.instrs if instr.op == "transpose"}
    return _prepared(
        program, lambda b: Instr("copy", (b,), {}, program.new(b.shape, b.dtype)) if b in transposed else None
    )


def prepack_weights(program: Program, width: Callable[[str], int | None]) -> Program:
    """With what many products take as panels, of so many columns for each dtype: `pack`, and `matmul_packed`."""

    def packed(b: Var) -> Instr | None:
        wide = width(b.dtype.char) if b.dtype.char in "fd" else None
        if wide is None:
            return None
        panels = program.new((-(-b.shape[1] // wide), b.shape[0], wide), b.dtype)
        return Instr("pack", (b,), {}, panels)

    return _prepared(program, packed)


def _prepared(program: Program, prepared: Callable[[Var], Instr | None]) -> Program:
    made: dict[Var, Instr] = {}
    many = _taken_often(program)
    new: list[Instr] = []
    for instr in program.instrs:
        b = instr.args[1] if _has_few_rows(instr) else None
        if b in many:
            if b not in made:
                first = prepared(b)
                if first is None:
                    many.remove(b)
                else:
                    made[b] = first
                    first.line = instr.line
                    new.append(first)
                    program.notes.append(f"{b}, which many products take, is put in order once: {instr.line}")
            if b in made:
                op = "matmul" if made[b].op == "copy" else "matmul_packed"
                instr = Instr(op, (instr.args[0], made[b].out), {}, instr.out, instr.line)
        new.append(instr)
    program.instrs = new
    return program


def _taken_often(program: Program) -> set[Var]:
    rows: Counter[Var] = Counter()
    products: Counter[Var] = Counter()
    for instr in program.instrs:
        if _has_few_rows(instr):
            rows[instr.args[1]] += instr.out.shape[0] * program.repeats
            products[instr.args[1]] += program.repeats
    return {b for b, count in rows.items() if count >= _WORTH and products[b] > 3}


def _has_few_rows(instr: Instr) -> bool:
    if instr.op != "matmul" or any(type(a) is not Var or len(a.shape) != 2 or not a.size for a in instr.args):
        return False
    return 1 < instr.out.shape[0] <= _FEW and len({a.dtype for a in (*instr.args, instr.out)}) == 1
