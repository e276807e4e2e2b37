"""The passes: each takes a program and rewrites it into one that computes the same with less."""

from __future__ import annotations

from collections.abc import Callable

from ..program import Program
from .concat_dedup import deduplicate_concats
from .cse import eliminate_common_subexpressions
from .dead_code import eliminate_dead_code
from .gather_matmul_reordering import reorder_gather_matmul
from .gemm_merging import merge_gemms

# those that every executor wants, in their order; an executor has more of its own
PASSES: tuple[Callable[[Program], Program], ...] = (
    eliminate_common_subexpressions,
    eliminate_dead_code,
    merge_gemms,
    reorder_gather_matmul,
    eliminate_common_subexpressions,
    eliminate_dead_code,
    deduplicate_concats,
)


def optimized(program: Program) -> Program:
    """The program after all of them."""
    for rewrite in PASSES:
        program = rewrite(program)
    return program
