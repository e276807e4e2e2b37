"""The micro-kernel of matrix products as LLVM code, and what packs operands in the order in which it reads.

C (M, N) = A (M, K) B (K, N): B as panels of NR columns, a few registers wide, (K, NR) each; A as it lies where its rows
are in one piece, else as blocks of MR rows, (K, MR) each. The innermost loop keeps MR rows of one panel of C in
registers, and for each k adds an element of A times a row of the panel (Goto & van de Geijn, "Anatomy of
high-performance matrix multiplication", 2008). What a library has to do at each product, a program does once for a
weight that all steps of a sequence share, and the loop is as fast as the registers allow: OpenBLAS 0.3.31 takes 1.1
times as long for large products, and 1.3 to 1.7 times for those of a batch of 50 or 64 (`python -m benchmarks
products`). And its threads, that go on looking for work between two products, would be in the way of those that share
all the other work (see `thread_pool`).

Each function takes the address of a table of 64-bit integers, as kernels do: addresses, lengths, distances in elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from llvmlite import ir

from .llvm_builder import FunctionBuilder
from .llvm_values import INT32, Pointer, Value
from .vector_unit import vector_unit

MR = 6  # rows of C in registers at a time
KC = 512  # rows of a panel that are read at a time, so that they stay in the second cache
_AHEAD = 16  # rows of which a piece is asked for before it is packed, which halves the time: no CPU foresees such steps
_TILE = 8  # rows of A, columns of the matrix in memory, that are packed into all blocks before the next ones


class Panel(NamedTuple):
    """How wide a panel is: so many vectors of so many elements.

    Attributes:
        masks: whether the CPU's loads and stores take masks; if not, whole panels are done without.
    """

    lanes: int
    vectors: int
    masks: bool = True

    @property
    def nr(self) -> int:
        return self.lanes * self.vectors


@lru_cache
def panel_of(kind: str) -> Panel | None:
    """The panel for float32 ("f") or float64 ("d") on this CPU; None where products are better left to BLAS.

    MR rows of it take three quarters of the registers: 24 of 32 (AVX-512, NEON), or 12 of 16 (AVX2).
    """
    unit = vector_unit()
    if not unit.fma:
        return None
    return Panel(unit.bytes // (4 if kind == "f" else 8), unit.registers * 3 // 4 // MR, unit.masks)


@lru_cache
def multiply(panel: Panel, kind: str, rows: int, packed: bool) -> str:
    """C = A B, or C + A B, for some panels of B; blocks of `rows` rows, at most MR, and then blocks of one row less.

    Table: a, lda, b, the distance of panels, c, ldc, k, blocks, smaller blocks, whether to add, columns. `packed` is
    whether A is, where lda is the distance of blocks.
    """
    f = FunctionBuilder(kind, panel.lanes)
    names = "*a lda *b panel_stride *c ldc k blocks smaller_blocks add columns"
    a, lda, b, panel_stride, c, ldc, k, blocks, smaller_blocks, add, columns = f.arguments(names)
    heights = [(rows, blocks, f.integer(0)), (rows - 1, smaller_blocks, blocks)]  # with how many, after how many blocks
    for n in f.range((columns + (panel.nr - 1)) // panel.nr):
        b_panel, left = b + n * panel_stride, n * panel.nr
        for masks in _masks(f, panel, columns - left):
            for height, count, before in heights if rows > 1 else heights[:1]:
                for i in f.range(count):
                    row = before * rows + i * height
                    c_rows = [c + left + (row + r) * ldc for r in range(height)]
                    if packed:
                        a_rows = [a + (before + i) * lda + r for r in range(height)]
                    else:
                        a_rows = [a + (row + r) * lda for r in range(height)]
                    _micro_kernel(f, panel, a_rows, MR if packed else 1, b_panel, c_rows, k, add, masks)
    return f.text()


def _micro_kernel(
    f: FunctionBuilder,
    panel: Panel,
    a_rows: list[Pointer],
    a_step: int,
    b_panel: Pointer,
    c_rows: list[Pointer],
    k: Value,
    add: Value,
    masks: list[Value | None],
) -> None:
    """A few rows of one panel of C, in registers: C[r] = Σ A[r, p] B[p], or C[r] + that, over the k of p."""
    lanes, tile = panel.lanes, [(r, v) for r in range(len(c_rows)) for v in range(panel.vectors)]
    sums = [f.numbers(0.0) for _ in tile]
    with f.if_(add.compare("!=", 0), sums):
        sums[:] = [c_rows[r].load(v * lanes, masks[v]) for r, v in tile]
    for p in f.range(0, k, carried=sums, nonempty=True):
        b_row = b_panel + p * panel.nr
        b = [b_row.load(v * lanes, align=f.alignment) for v in range(panel.vectors)]
        a = [row.broadcast(p * a_step) for row in a_rows]
        sums[:] = [f.fma(b[v], a[r], total) for (r, v), total in zip(tile, sums, strict=True)]
    for (r, v), total in zip(tile, sums, strict=True):
        c_rows[r].store(v * lanes, total, masks[v])


def _masks(f: FunctionBuilder, panel: Panel, columns: Value) -> Iterator[list[Any]]:
    """The masks of a panel's vectors, where so many columns are there.

    Where the CPU has no masks, whole panels go without, and the body of such a `for` is written twice.
    """
    if not panel.masks:
        with f.if_(columns >= panel.nr):
            yield [None] * panel.vectors
        with f.if_(columns < panel.nr):
            yield f.masks(columns, panel.vectors)
    else:
        yield f.masks(columns, panel.vectors)


@lru_cache
def pack_rows(panel: Panel, kind: str) -> str:
    """One panel of B, whose rows lie in one piece, with zeros beyond its columns. Table: b, ldb, panel, k, columns."""
    f = FunctionBuilder(kind, panel.lanes)
    b, ldb, target, k, columns = f.arguments("*b ldb *target k columns")
    for masks in _masks(f, panel, columns):
        for p in f.range(k):
            row = [(b + p * ldb).load(v * panel.lanes, mask) for v, mask in enumerate(masks)]
            for v, vector in enumerate(row):
                (target + p * panel.nr).store(v * panel.lanes, vector, align=f.alignment)
    return f.text()


@lru_cache
def pack_columns(panel: Panel, kind: str) -> str:
    """One panel of B, whose columns lie in one piece, as of a transposed weight. Table: b, ldb, panel, k, columns."""
    f = FunctionBuilder(kind, panel.lanes)
    b, ldb, target, k, columns = f.arguments("*b ldb *target k columns")
    masks = f.masks(columns, panel.vectors)
    for p in f.range(k):
        for v, mask in enumerate(masks):
            vector = (b + (p + ldb * (v * panel.lanes))).gather(ldb, mask)
            (target + p * panel.nr).store(v * panel.lanes, vector, align=f.alignment)
    return f.text()


@lru_cache
def pack_transposed(panel: Panel, kind: str) -> str:
    """As `pack_columns`, for a whole panel and as many k as there are lanes, or a multiple: five times as fast.

    Squares of lanes × lanes elements are transposed in registers, by exchanging halves, then quarters, and so on.
    """
    f, lanes = FunctionBuilder(kind, panel.lanes), panel.lanes
    b, ldb, target, k, _ = f.arguments("*b ldb *target k columns")
    for p in f.range(0, k, lanes):
        for column in f.range(0, panel.nr, lanes):
            square = [(b + p).load((column + i) * ldb) for i in range(lanes)]
            step = lanes // 2
            while step:
                square = [_exchanged(f, square[i & ~step], square[i | step], step, i & step) for i in range(lanes)]
                step //= 2
            for i, row in enumerate(square):
                (target + column).store((p + i) * panel.nr, row, align=f.alignment)
    return f.text()


def _exchanged(f: FunctionBuilder, first: Value, second: Value, step: int, half: int) -> Value:
    """Of each 2 · step lanes of two rows the half that begins at 0 or step: of the first row, then of the second."""
    chosen = [(i & ~step) + half + (f.lanes if i & step else 0) for i in range(f.lanes)]
    lanes = ir.Constant(ir.VectorType(INT32, f.lanes), chosen)
    return Value(f.builder, f.builder.shuffle_vector(first.ir, second.ir, lanes))


@lru_cache
def pack_blocks(panel: Panel, kind: str, rows: int) -> str:
    """Blocks of A, whose columns lie in one piece. Table: a, lda, to, the distance of blocks there, k, blocks.

    Eight k at a time, whose lines of A stay in the cache while all the blocks take their part of them.
    """
    f = FunctionBuilder(kind)
    a, lda, target, block_stride, k, blocks = f.arguments("*a lda *target block_stride k blocks")
    for start in f.range(0, k, _TILE):
        for i in f.range(blocks):
            source, block = a + i * rows, target + i * block_stride
            for p in f.range(start, f.minimum(k, start + _TILE), nonempty=True):
                column = source + p * lda
                (column + lda * _AHEAD).prefetch()
                begin = 0
                for size in (4, 2, 1):  # whole vectors, since a masked store takes longer than all of these
                    if rows & size:
                        (block + p * MR).store(begin, column.of(f.scalar, size).load(begin))
                        begin += size
    return f.text()
