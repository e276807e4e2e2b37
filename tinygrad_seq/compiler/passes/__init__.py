"""The passes: each takes a program and rewrites it into one that computes the same with less."""

from __future__ import annotations

from ..program import Program
from .concat_dedup import shared_pieces
from .cse import simplified
from .dead_code import without_dead_code
from .gather_matmul_reordering import folded
from .gemm_merging import batched_products


def optimized(program: Program) -> Program:
    """The program after all passes that every executor wants."""
    program = without_dead_code(simplified(program))
    program = folded(batched_products(program))
    return shared_pieces(without_dead_code(simplified(program)))
