"""Sums and largest elements of rows, and sums of columns, as LLVM code.

Parts of them are added up in the dtype of x, and what comes of these in float64, so that long ones lose nothing.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf

from .llvm_builder import FunctionBuilder
from .llvm_values import DOUBLE, Value, vector_of
from .vector_unit import accumulators

_VECTORS = 4  # at a time, which do not wait for each other
_BLOCK = 4096
_ROWS = 64  # that are added up one after another


@lru_cache
def reduction(op: str, kind: str) -> str:
    """y[r] = Σ x[r, c], or the largest of them; several vectors at a time, and 4096 elements between roundings.

    Args:
        op: "sum" or "max".
        kind: "f" or "d".
    """
    f = FunctionBuilder(kind)
    x, y, rows, cols = f.arguments("*x *y rows cols")
    first = 0.0 if op == "sum" else -inf

    def both(a: Value, b: Value) -> Value:
        return a + b if op == "sum" else f.elementwise("maximum", a, b)

    for r in f.range(rows):
        row, total = x + r * cols, [f.constant(DOUBLE, first)]
        for start in f.range(0, cols, _BLOCK, carried=total):
            block, length = row + start, f.minimum(cols - start, _BLOCK)
            whole = length & -(_VECTORS * f.lanes)
            parts = [f.numbers(first)] * _VECTORS
            for c in f.range(0, whole, _VECTORS * f.lanes, carried=parts):
                for v in range(_VECTORS):
                    parts[v] = both(parts[v], block.load(c + v * f.lanes))
            for c in f.range(whole, length, f.lanes, carried=parts):
                (mask,) = f.masks(length - c, 1)
                parts[0] = both(parts[0], block.load(c, mask, otherwise=f.numbers(first)))
            part = both(both(parts[0], parts[1]), both(parts[2], parts[3]))
            found = f.reduce("fadd", part, f.number(0.0)) if op == "sum" else f.reduce("fmaximum", part)
            total[0] = both(total[0], found.to(DOUBLE))
        y[r] = total[0].to(f.scalar)
    return f.text()


@lru_cache
def column_sums(kind: str) -> str:
    """y[c] = Σ x[r, c] for x with rows in one piece: as many columns at a time as stay in registers."""
    f = FunctionBuilder(kind)
    x, ldx, y, rows, cols = f.arguments("*x ldx *y rows cols")
    vectors = accumulators(kind)
    for c, masks in f.columns(cols, vectors):
        totals = [f.constant(vector_of(DOUBLE, f.lanes), 0.0)] * vectors
        for top in f.range(0, rows, _ROWS, carried=totals):
            sums = [f.numbers(0.0)] * vectors
            for r in f.range(top, f.minimum(rows, top + _ROWS), carried=sums, nonempty=True):
                row = x + (r * ldx + c)
                for v, mask in enumerate(masks):
                    sums[v] = sums[v] + row.load(v * f.lanes, mask)
            for v in range(vectors):
                totals[v] = totals[v] + sums[v].to(DOUBLE)
        for v, mask in enumerate(masks):
            y.store(c + v * f.lanes, totals[v].to(f.scalar), mask)
    return f.text()
