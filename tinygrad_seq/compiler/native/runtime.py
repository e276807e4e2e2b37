"""Native functions that are the same in every program, as LLVM code: products, lookups, and the loop that calls them.

Each takes the address of a table of 64-bit integers, as kernels do: addresses, lengths, and distances in elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .llvm_builder import FunctionBuilder
from .llvm_values import BOOL, INT, POINTER, VOID, Pointer, Value, intrinsic
from .vector_unit import accumulators

_ROWS = 4  # of a matrix that go through one pass over the vector
_ROW_MAJOR = 101  # CBLAS's number for it


def call(calls: Pointer, index: Value) -> None:
    """Call the function at an index of `calls`, where the addresses of functions and of their tables alternate."""
    pair = calls.of(POINTER) + (index << 1)
    pair.call(0, pair[1])


def _run() -> str:
    """Calls functions, one after another: their number, and then their addresses and those of their tables."""
    f = FunctionBuilder()
    for i in f.range(0, f.table[0], nonempty=True):
        call(f.table + 1, i)
    return f.text()


def _copy() -> str:
    """Copies bytes: where to, where from, how many."""
    f = FunctionBuilder()
    target, source, count = f.arguments("*target *source count")
    intrinsic("memcpy.p0.p0.i64", VOID, target, source, count, f.constant(BOOL, 0))
    return f.text()


RUN, COPY = _run(), _copy()


@lru_cache
def gemm(kind: str, integer: int) -> str:
    """C = A B, by BLAS, whose integers have so many bytes."""
    f = FunctionBuilder(kind)
    _, ta, tb, m, n, k, a, lda, b, ldb, c, ldc = f.arguments("blas ta tb m n k *a lda *b ldb *c ldc")
    _call_blas(f, integer, [ta, tb], [m, n, k, f.number(1.0), a, lda, b, ldb, f.number(0.0), c, ldc])
    return f.text()


@lru_cache
def gemv(kind: str, integer: int) -> str:
    """y = W x, or Wᵀ x, by BLAS, whose integers have so many bytes. W (M, N), both in the table."""
    f = FunctionBuilder(kind)
    _, transposed, m, n, w, ldw, x, y = f.arguments("blas transposed m n *w ldw *x *y")
    one = f.integer(1)
    _call_blas(f, integer, [transposed], [m, n, f.number(1.0), w, ldw, x, one, f.number(0.0), y, one])
    return f.text()


def _call_blas(f: FunctionBuilder, integer: int, flags: Sequence[Value], args: Sequence[Value]) -> None:
    """Call the function whose address the table has first."""
    enums = [value.truncated(32) for value in (f.integer(_ROW_MAJOR), *flags)]
    f.table.call(0, *enums, *[a.truncated(8 * integer) if a.ir.type == INT else a for a in args])


@lru_cache
def rows_times_vector(kind: str) -> str:
    """y = W x for W (N, K) with rows in one piece: four rows at a time."""
    f = FunctionBuilder(kind)
    w, ldw, x, y, n, k = f.arguments("*w ldw *x *y n k")

    def dot_products(row: Value, count: int) -> None:
        rows = [w + (row + r) * ldw for r in range(count)]
        sums = [f.numbers(0.0)] * count
        for c, (mask,) in f.columns(k, carried=sums):
            part = x.load(c, mask)
            for r in range(count):
                sums[r] = f.fma(rows[r].load(c, mask), part, sums[r])
        for r in range(count):
            y[row + r] = f.reduce("fadd", sums[r], f.number(0.0))

    fours = n & -_ROWS
    for i in f.range(0, fours, _ROWS):
        dot_products(i, _ROWS)
    for i in f.range(fours, n):
        dot_products(i, 1)
    return f.text()


@lru_cache
def vector_times_rows(kind: str) -> str:
    """y = x B for B (K, N) with rows in one piece: as many columns at a time as stay in registers."""
    f = FunctionBuilder(kind)
    b, ldb, x, y, n, k = f.arguments("*b ldb *x *y n k")
    vectors = accumulators(kind)
    for c, masks in f.columns(n, vectors):
        sums = [f.numbers(0.0)] * vectors
        for p in f.range(0, k, carried=sums):
            row, factor = b + (p * ldb + c), x.broadcast(p)
            for v, mask in enumerate(masks):
                sums[v] = f.fma(row.load(v * f.lanes, mask), factor, sums[v])
        for v, mask in enumerate(masks):
            y.store(c + v * f.lanes, sums[v], mask)
    return f.text()


@lru_cache
def take_rows(kind: str) -> str:
    """out[i] = all[index[i]], row by row; an index that is out of range is written to `wrong`."""
    f = FunctionBuilder(kind)
    wrong, every, out, index, n, rows, cols = f.arguments("int*wrong *all *out int*index n rows cols")
    for i in f.range(n):
        j, fits = find_row(f, index[i], rows, wrong)
        with f.if_(fits):
            source, target = every + j * cols, out + i * cols
            for c, (mask,) in f.columns(cols):
                target.store(c, source.load(c, mask), mask)
    return f.text()


def find_row(f: FunctionBuilder, index: Value, rows: Value, wrong: Pointer) -> tuple[Value, Value]:
    """The row that an index means, negative ones from the end, and whether it is there; where not, `wrong` says so."""
    row = f.select(index.is_negative(), index + rows, index)
    fits = row < rows
    with f.if_(row >= rows):
        wrong[0], wrong[1] = index, rows
    return row, fits
