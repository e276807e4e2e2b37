"""A product that is only read transposed is computed transposed, from its operands transposed and swapped: Cᵀ = Bᵀ Aᵀ.

The engine computes the gradient of a weight in the way that BLAS does faster, and turns the result. Products of our
own do both in the same time, and then what follows, such as an optimizer's step, reads rows that lie in one piece.
"""

from __future__ import annotations

from ..program import Instr, Program, Var


def fold_transposes(program: Program) -> Program:
    """With products of matrices the way round that they are read."""
    producers = {instr.out: instr for instr in program.instrs}
    readers: dict[Var, list[Instr]] = {}
    for instr in program.instrs:
        for v in instr.inputs():
            readers.setdefault(v, []).append(instr)
    new: list[Instr] = []
    for instr in program.instrs:
        if _is_transpose(instr) and _only_transposed(producers.get(instr.args[0]), readers, program.outputs):
            continue
        if _only_transposed(instr, readers, program.outputs):
            operands = []
            for a in instr.args[::-1]:
                before = producers.get(a)
                gone = before and _only_transposed(producers.get(before.args[0]), readers, program.outputs)
                if before is None or gone or not _is_transpose(before):
                    before = Instr("transpose", (a,), {"dims": (1, 0)}, program.new(a.shape[::-1], a.dtype), instr.line)
                    new.append(before)
                    operands.append(before.out)
                else:
                    operands.append(before.args[0])
            instr = Instr("matmul", tuple(operands), {}, readers[instr.out][0].out, instr.line)
        new.append(instr)
    program.instrs = new
    return program


def _is_transpose(instr: Instr) -> bool:
    return instr.op == "transpose" and instr.params["dims"] == (1, 0)


def _only_transposed(instr: Instr | None, readers: dict[Var, list[Instr]], outputs: list[Var]) -> bool:
    """Whether this is a product of matrices that one transposition reads, and nothing else."""
    if instr is None or instr.op != "matmul" or any(type(a) is not Var or len(a.shape) != 2 for a in instr.args):
        return False
    read = readers.get(instr.out, [])
    return len(read) == 1 and _is_transpose(read[0]) and instr.out not in outputs
