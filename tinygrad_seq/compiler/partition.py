"""The partitioner: a joint graph, a function and its backward sweep, as a forward and a backward program.

What depends on the gradients that arrive at the results is the backward half. Of what it takes from the forward half,
views and whatever else costs no memory to do later are done later; the rest lies side by side in one block for each
dtype, so that handing it over is one array. The same cut as in PyTorch's AOTAutograd and JAX's partial evaluation.
"""

from __future__ import annotations

from typing import NamedTuple

from ..backend import DType
from .operations import EFFECTS, VIEWS, base_of, needed_for
from .program import Instr, Program, Source, Var

# checks, messages; draws; loops with what they leave; pieces are made in their place
_AT_THE_CALL = EFFECTS | {"random_bits", "loop", "loop_result", "concat"}


class Partition(NamedTuple):
    """The two programs.

    Attributes:
        forward: gives results, stores, gradients that the function leaves itself, and the saved buffers.
        backward: takes the saved buffers, the cotangents, and captured inputs; gives gradients.
        saved_buffers: the Var of each, which is an output of the one and a source of the other.
    """

    forward: Program
    backward: Program
    saved_buffers: list[Var]


def partition(program: Program, seen: list[Var], gradients: list[Var], changed: set[Var]) -> Partition:
    """Cut an optimized program in two.

    Args:
        seen: what the call is to give.
        gradients: what the backward half is to give.
        changed: sources that the call itself writes to, whose old numbers the backward half may need.
    """
    cut = _Cut(program, seen, changed)
    late = needed_for(gradients, cut.later)
    made = {instr.out for instr in late}
    wanted = [v for instr in late for v in instr.inputs()] + gradients
    kept = [v for v in dict.fromkeys(wanted) if v not in made and not cut.is_outside(v)]
    saved_buffers, packing, unpacking = _packed(program, kept)
    early = [instr for instr in program.instrs if instr.out not in cut.descendants]
    forward = program.part(needed_for([*seen, *kept], early) + packing, [*seen, *saved_buffers])
    backward = program.part(unpacking + late, list(dict.fromkeys(gradients)))
    for block in saved_buffers:
        backward.sources[block] = Source("what the call kept", lambda _args: None)
    size = sum([v.nbytes for v in saved_buffers])
    forward.notes.append(f"a backward program of {len(late)} operations, for which a call keeps {size} bytes")
    forward.backward = backward
    return Partition(forward, backward, saved_buffers)


class _Cut:
    """Which operations are done later, in the backward half; views may be done in both."""

    def __init__(self, program: Program, seen: list[Var], changed: set[Var]) -> None:
        self.program, self.changed = program, changed
        self.producers = {instr.out: instr for instr in program.instrs}
        self.descendants = descendants = program.descendants(program.cotangents)
        at_the_call = {instr.out for instr in needed_for(seen, program.instrs)}
        direct = [
            v for instr in program.instrs if instr.out in descendants for v in instr.inputs() if v not in descendants
        ]
        available = {base_of(v, self.producers) for v in direct}  # what the backward half has at no further cost
        available = {v for v in available if v in at_the_call or self.is_outside(v)}
        self.later: list[Instr] = []
        for instr in program.instrs:
            if instr.out in descendants:
                self.later.append(instr)
                continue
            free = all(v in available or self.is_outside(v) for v in instr.inputs())
            if instr.op in VIEWS or (free and instr.out not in at_the_call and instr.op not in _AT_THE_CALL):
                self.later.append(instr)
                if free:
                    available.add(instr.out)

    def is_outside(self, var: Var) -> bool:
        """Whether the backward half can look there itself."""
        return var in self.program.constants or (var in self.program.sources and var not in self.changed)


def _packed(program: Program, kept: list[Var]) -> tuple[list[Var], list[Instr], list[Instr]]:
    """These arrays side by side: the blocks, how they are filled, and how the arrays are found in them."""
    by_dtype: dict[DType, list[Var]] = {}
    for v in kept:
        by_dtype.setdefault(v.dtype, []).append(v)
    saved_buffers, packing, unpacking = [], [], []
    for dtype, members in by_dtype.items():
        block = program.new((sum([v.size for v in members]),), dtype)
        flat, start = [], 0
        for v in members:
            flat.append(program.new((v.size,), dtype))
            packing.append(Instr("reshape", (v,), {"shape": (v.size,)}, flat[-1]))
            piece = program.new((v.size,), dtype)
            unpacking.append(Instr("slice", (block,), {"index": (slice(start, start + v.size), Ellipsis)}, piece))
            unpacking.append(Instr("reshape", (piece,), {"shape": v.shape}, v))
            start += v.size
        packing.append(Instr("concat", tuple(flat), {"axis": 0}, block))
        saved_buffers.append(block)
    return saved_buffers, packing, unpacking
