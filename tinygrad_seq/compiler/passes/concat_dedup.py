"""What is put together twice is put together once.

The states of a recurrent layer are stacked as the layer's output and, without the last one and with the one before the
first, as what its steps began with. Most of the two is the same: it lies in memory once, and both are slices of it.
"""

from __future__ import annotations

from ..program import Instr, Program, Var


def deduplicate_concats(program: Program) -> Program:
    """With pairs of `concat`s that have most of their rows in common as slices of one."""
    first_use: dict[Var, int] = dict.fromkeys(program.outputs, 0)
    for n, instr in enumerate(program.instrs):
        for v in instr.inputs():
            first_use.setdefault(v, n)
    alone: list[Instr] = []
    replaced: dict[Var, list[Instr]] = {}
    for n, instr in enumerate(program.instrs):
        if instr.op != "concat" or instr.params["axis"] != 0 or instr.out in program.outputs:
            continue
        for other in alone:
            pieces = _in_one_row(other.args, instr.args)
            if pieces is not None and first_use.get(other.out, n) >= n and other.out.dtype == instr.out.dtype:
                replaced |= {other.out: [], instr.out: _joined(program, pieces, (other, instr))}
                alone.remove(other)
                break
        else:
            alone.append(instr)
    program.instrs = [new for instr in program.instrs for new in replaced.get(instr.out, [instr])]
    return program


def _in_one_row(a: tuple[Var, ...], b: tuple[Var, ...]) -> tuple[Var, ...] | None:
    """The pieces of both, where the one goes on with what the other begins with; None if that is little."""
    for first, second in ((a, b), (b, a)):
        if second[0] in first:
            start = first.index(second[0])
            common = len(first) - start
            if first[start:] == second[:common] and 2 * common > max(len(first), len(second)):
                return first + second[common:]
    return None


def _joined(program: Program, pieces: tuple[Var, ...], parts: tuple[Instr, Instr]) -> list[Instr]:
    """Both `concat`s as slices of one of all the pieces."""
    starts, rows = [], 0
    for piece in pieces:
        starts.append(rows)
        rows += piece.shape[0]
    concat = program.new((rows, *pieces[0].shape[1:]), parts[0].out.dtype)
    made = [Instr("concat", pieces, {"axis": 0}, concat, parts[1].line)]
    for part in parts:
        start = starts[pieces.index(part.args[0])]
        index = (slice(start, start + part.out.shape[0]), Ellipsis)
        made.append(Instr("slice", (concat,), {"index": index}, part.out, part.line))
    program.notes.append(
        f"{parts[0].out} and {parts[1].out} lie one in the other, {len(pieces)} pieces: {parts[1].line}"
    )
    return made
