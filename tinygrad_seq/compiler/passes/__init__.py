"""The passes: each takes a program and rewrites it into one that computes the same with less."""

from __future__ import annotations

from ..program import Program
from .dead_code import without_dead_code
from .fold import folded
from .products import batched_products
from .shared import shared_pieces
from .simplify import simplified


def optimized(program: Program) -> Program:
    """The program after all passes that every executor wants."""
    program = without_dead_code(simplified(program))
    program = folded(batched_products(program))
    return shared_pieces(without_dead_code(simplified(program)))
