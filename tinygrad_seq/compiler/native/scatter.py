"""sums[index[i]] += rows[i], as LLVM code: first which rows go to the same row, then their sums.

A row may get any number of rows: their sum is made in float64, in registers, and rounded once.
"""

from __future__ import annotations

from functools import lru_cache

from .llvm_builder import FunctionBuilder
from .llvm_values import BOOL, BYTE, DOUBLE, VOID, intrinsic
from .runtime import find_row
from .vector_unit import accumulators

_END = -1  # of a list: eight bytes of 255


def _lists() -> str:
    """Lists of equal numbers in an index: first[j] is the first i with index[i] = j, after[i] the next, or _END.

    An index that is out of range is in none, and is written to `wrong`.
    """
    f = FunctionBuilder()
    wrong, index, n, rows, first, after = f.arguments("int*wrong int*index n rows int*first int*after")
    intrinsic("memset.p0.i64", VOID, first, f.constant(BYTE, _END), rows << 3, f.constant(BOOL, 0))
    for done in f.range(n):
        i = n - 1 - done  # from the last to the first, so that a list is in order
        j, fits = find_row(f, index[i], rows, wrong)
        with f.if_(fits):
            after[i] = first[j]
            first[j] = i
    return f.text()


LISTS = _lists()


@lru_cache
def add_lists(kind: str) -> str:
    """sums[j, c] += Σ rows[i, c] over the i in the list of j; `cols` of `width` columns, which other threads share."""
    f = FunctionBuilder(kind)
    names = "int*first int*after *sums *rows count width cols"
    first, after, sums, rows, count, width, cols = f.arguments(names)
    vectors = min(accumulators("d"), 4)
    for j in f.range(count):
        head, target = first[j], sums + j * width
        with f.if_(head.compare("!=", _END)):
            for c, masks in f.columns(cols, vectors):
                state = [head, *[(target + c).load(v * f.lanes, mask).to(DOUBLE) for v, mask in enumerate(masks)]]
                with f.loop(state) as loop:
                    i, *totals = state
                    row = rows + (i * width + c)
                    added = [row.load(v * f.lanes, mask).to(DOUBLE) for v, mask in enumerate(masks)]
                    state[:] = [after[i], *[total + x for total, x in zip(totals, added, strict=True)]]
                    loop.exit_if(state[0].compare("==", _END))
                for v, mask in enumerate(masks):
                    (target + c).store(v * f.lanes, state[1 + v].to(f.scalar), mask)
    return f.text()
