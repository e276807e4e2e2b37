"""Slices of elementwise results: what is rewritten, and what must stay."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.compiler.passes.slice_pushdown import push_down_slices
from tinygrad_seq.compiler.program import Instr, Program, Var


def program(*cuts: slice, seen: bool = False, row: bool = False) -> Program:
    """The sum of two (2, 6) arrays (or of one and a row), of which slices are taken."""
    made = Program()
    kind = np.dtype(np.float32)
    a, b = made.new((2, 6), kind), made.new((6,) if row else (2, 6), kind)
    total = made.new((2, 6), kind)
    made.instrs.append(Instr("add", (a, b), {}, total))
    for cut in cuts:
        width = len(range(*cut.indices(6)))
        part = made.new((2, width), kind)
        made.instrs.append(Instr("slice", (total,), {"index": (slice(None), cut, Ellipsis)}, part))
        made.outputs.append(part)
    if seen:
        made.outputs.append(total)
    return made


def operations(made: Program) -> list[str]:
    return [instr.op for instr in push_down_slices(made, ("add",)).instrs]


def test_slices_that_share_a_result_out_are_made_one_by_one() -> None:
    made = program(slice(0, 2), slice(2, 6))
    outputs = list(made.outputs)
    assert operations(made) == ["slice", "slice", "add"] * 2
    assert [instr.out for instr in made.instrs if instr.op == "add"] == outputs
    shapes: list[Any] = [[v.shape for v in i.args if type(v) is Var] for i in made.instrs if i.op == "add"]
    assert shapes == [[(2, 2)] * 2, [(2, 4)] * 2]


def test_a_result_that_is_seen_as_a_whole_stays() -> None:
    assert operations(program(slice(0, 2), slice(2, 6), seen=True)) == ["add", "slice", "slice"]


def test_slices_that_overlap_would_be_made_twice() -> None:
    assert operations(program(slice(0, 5), slice(2, 6))) == ["add", "slice", "slice"]


def test_a_single_slice_and_a_broadcast_operand_stay() -> None:
    assert operations(program(slice(0, 2))) == ["add", "slice"]
    assert operations(program(slice(0, 2), slice(2, 6), row=True)) == ["add", "slice", "slice"]
