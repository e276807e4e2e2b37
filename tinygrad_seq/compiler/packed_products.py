"""Matrix products as LLVM code, for which operands are laid out in the order in which they are read.

C (M, N) = A (M, K) B (K, N): B as panels of a few registers' width, (K, width) each; A as it lies where its rows are in
one piece, else as blocks of six rows, (K, 6) each. The innermost loop keeps six rows of one panel of C in registers,
and for each k adds an element of A times a row of the panel (Goto & van de Geijn, "Anatomy of high-performance matrix
multiplication", 2008). What a library has to do at each product, a program does once for a weight that all steps of a
sequence share, and the loop is as fast as the registers allow: OpenBLAS 0.3.31 takes 1.1 times as long for large
products, and 1.3 to 1.7 times for those of a batch of 50 or 64 (`python -m benchmarks products`). And its threads, that
go on looking for work between two products, would be in the way of those that share all the other work (see `crew`).

Each function takes the address of a table of 64-bit numbers, as kernels do: addresses, lengths, distances in elements.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import llvmlite.binding as llvm

from .native_calls import head

ROWS = 6  # of C in registers at a time: with 4 vectors 24 of the 32 registers of AVX-512, with 2 twelve of AVX2's 16
_AHEAD = 16  # rows of which a piece is asked for before it is packed, which halves the time: no CPU foresees such steps
DEPTH = 512  # of a panel that is read at a time, so that it stays in the second cache


class Panel(NamedTuple):
    """How wide a panel is: so many vectors of so many elements."""

    lanes: int
    vectors: int

    @property
    def width(self) -> int:
        return self.lanes * self.vectors


@lru_cache
def panel_of(kind: str) -> Panel | None:
    """The panel for float32 ("f") or float64 ("d") on this CPU; None where products are better left to BLAS."""
    features, size = llvm.get_host_cpu_features(), 4 if kind == "f" else 8
    if features.get("avx512f") and features.get("avx512vl"):
        return Panel(64 // size, 4)
    return Panel(32 // size, 2) if features.get("avx2") and features.get("fma") else None


@lru_cache
def multiply(panel: Panel, kind: str, rows: int, packed: bool) -> str:
    """C = A B, or C + A B, for some panels of B; blocks of `rows` rows, and then blocks of one row less.

    Table: a, lda, b, the distance of panels, c, ldc, k, blocks, smaller blocks, whether to add, columns. `packed` is
    whether A is.
    """
    t = _Text(panel, kind)
    slots = ["a", "lda", "b", "far", "c", "ldc", "k", "blocks", "smaller", "adds", "cols"]
    lines = [*head(slots, pointers="abc"), "  %add = icmp ne i64 %adds, 0", f"  %below = mul i64 %blocks, {rows}"]
    lines += ["  br label %panel", "panel:", "  %left = phi i64 [0, %entry], [%left.next, %panel.end]"]
    lines += ["  %b.off = phi i64 [0, %entry], [%b.next, %panel.end]", "  %more = icmp ult i64 %left, %cols"]
    lines += ["  br i1 %more, label %panel.go, label %done", "panel.go:", "  %rest = sub i64 %cols, %left"]
    lines += [f"  %b.p = getelementptr {t.number}, ptr %b, i64 %b.off", *t.masks("%rest")]
    lines += [f"  %c.p = getelementptr {t.number}, ptr %c, i64 %left"]
    lines += _blocks(t, "x", rows, ("%blocks", "0", "0"), packed, before="panel.go", after="small")
    lines += ["small:"]
    if rows > 1:
        smaller = ("%smaller", "%below", "%blocks")
        lines += _blocks(t, "y", rows - 1, smaller, packed, before="small", after="panel.end")
    else:
        lines += ["  br label %panel.end"]
    lines += ["panel.end:", f"  %left.next = add i64 %left, {panel.width}", "  %b.next = add i64 %b.off, %far"]
    return "\n".join([*t.declarations, *lines, "  br label %panel", "done:", "  ret void", "}"])


def _blocks(
    t: _Text, p: str, rows: int, which: tuple[str, str, str], packed: bool, before: str, after: str
) -> list[str]:
    """A loop over blocks of rows: how many, from which row on, and from which block; the names begin with `p`."""
    V, number, vectors = t.vector, t.number, range(t.panel.vectors)
    count, start, first = which
    step = ROWS if packed else 1  # from one k to the next
    lines = [f"  br label %{p}.head", f"{p}.head:", f"  %{p}.i = phi i64 [0, %{before}], [%{p}.i.next, %{p}.store]"]
    lines += [
        f"  %{p}.in = icmp ult i64 %{p}.i, {count}",
        f"  br i1 %{p}.in, label %{p}.go, label %{after}",
        f"{p}.go:",
    ]
    lines += [f"  %{p}.down = mul i64 %{p}.i, {rows}", f"  %{p}.r = add i64 %{p}.down, {start}"]
    if packed:
        lines += [f"  %{p}.block = add i64 %{p}.i, {first}", f"  %{p}.blocks = mul i64 %{p}.block, %lda"]
    for r in range(rows):
        lines += [f"  %{p}.r{r} = add i64 %{p}.r, {r}", f"  %{p}.c{r}.off = mul i64 %{p}.r{r}, %ldc"]
        lines += [f"  %{p}.c{r} = getelementptr {number}, ptr %c.p, i64 %{p}.c{r}.off"]
        where = f"add i64 %{p}.blocks, {r}" if packed else f"mul i64 %{p}.r{r}, %lda"
        lines += [f"  %{p}.a{r}.off = {where}", f"  %{p}.a{r} = getelementptr {number}, ptr %a, i64 %{p}.a{r}.off"]
    lines += [f"  br i1 %add, label %{p}.load, label %{p}.loop", f"{p}.load:"]
    for r in range(rows):
        for v in vectors:
            lines += t.load(f"%{p}.old{r}.{v}", f"%{p}.c{r}", v)
    lines += [
        f"  br label %{p}.loop",
        f"{p}.loop:",
        f"  %{p}.k = phi i64 [0, %{p}.go], [0, %{p}.load], [%{p}.k.next, %{p}.loop]",
    ]
    for r in range(rows):
        for v in vectors:
            zero = f"[zeroinitializer, %{p}.go], [%{p}.old{r}.{v}, %{p}.load]"
            lines += [f"  %{p}.sum{r}.{v} = phi {V} {zero}, [%{p}.new{r}.{v}, %{p}.loop]"]
    lines += [
        f"  %{p}.b.off = mul i64 %{p}.k, {t.panel.width}",
        f"  %{p}.b = getelementptr {number}, ptr %b.p, i64 %{p}.b.off",
    ]
    for v in vectors:
        lines += [f"  %{p}.b{v}.at = getelementptr {number}, ptr %{p}.b, i64 {v * t.panel.lanes}"]
        lines += [f"  %{p}.b{v} = load {V}, ptr %{p}.b{v}.at, align 64"]
    lines += [f"  %{p}.a.off = mul i64 %{p}.k, {step}"]
    for r in range(rows):
        lines += [f"  %{p}.e{r}.at = getelementptr {number}, ptr %{p}.a{r}, i64 %{p}.a.off"]
        lines += [f"  %{p}.e{r} = load {number}, ptr %{p}.e{r}.at"]
        lines += [f"  %{p}.e{r}.1 = insertelement {V} poison, {number} %{p}.e{r}, i64 0"]
        lines += [f"  %{p}.f{r} = shufflevector {V} %{p}.e{r}.1, {V} poison, <{t.panel.lanes} x i32> zeroinitializer"]
        for v in vectors:
            lines += [f"  %{p}.new{r}.{v} = {t.fma(f'%{p}.b{v}', f'%{p}.f{r}', f'%{p}.sum{r}.{v}')}"]
    lines += [f"  %{p}.k.next = add i64 %{p}.k, 1", f"  %{p}.more = icmp ult i64 %{p}.k.next, %k"]
    lines += [f"  br i1 %{p}.more, label %{p}.loop, label %{p}.store", f"{p}.store:"]
    for r in range(rows):
        for v in vectors:
            lines += t.store(f"%{p}.new{r}.{v}", f"%{p}.c{r}", v)
    return [*lines, f"  %{p}.i.next = add i64 %{p}.i, 1", f"  br label %{p}.head"]


@lru_cache
def pack_rows(panel: Panel, kind: str) -> str:
    """One panel of B, whose rows lie in one piece, with zeros beyond its columns. Table: b, ldb, panel, k, cols."""
    t = _Text(panel, kind)
    lines = [*head(["b", "ldb", "to", "k", "cols"], pointers=["b", "to"]), *t.masks("%cols"), *_loop("k")]
    lines += ["  %off = mul i64 %k.i, %ldb", f"  %row = getelementptr {t.number}, ptr %b, i64 %off"]
    for v in range(t.panel.vectors):
        lines += t.load(f"%x{v}", "%row", v)
    return _packed(t, lines)


@lru_cache
def pack_columns(panel: Panel, kind: str) -> str:
    """One panel of B, whose columns lie in one piece, as of a weight that is turned. Table: b, ldb, panel, k, cols."""
    t = _Text(panel, kind)
    lines = [*head(["b", "ldb", "to", "k", "cols"], pointers=["b", "to"]), *t.masks("%cols")]
    lanes = t.panel.lanes
    wide = f"<{lanes} x i64>"
    lines += [f"  %far.1 = insertelement {wide} poison, i64 %ldb, i64 0"]
    lines += [f"  %far = shufflevector {wide} %far.1, {wide} poison, <{lanes} x i32> zeroinitializer"]
    for v in range(t.panel.vectors):
        places = ", ".join([f"i64 {v * lanes + i}" for i in range(lanes)])
        lines += [f"  %offs.{v} = mul {wide} %far, <{places}>"]
    lines += [*_loop("k"), f"  %column = getelementptr {t.number}, ptr %b, i64 %k.i"]
    for v in range(t.panel.vectors):
        lines += [f"  %at.{v} = getelementptr {t.number}, ptr %column, <{lanes} x i64> %offs.{v}"]
        lines += [f"  %x{v} = {t.gather(f'%at.{v}', v)}"]
    return _packed(t, lines)


@lru_cache
def pack_turned(panel: Panel, kind: str) -> str:
    """As `pack_columns`, for a whole panel and as many k as there are lanes, or a multiple: five times as fast.

    Squares of lanes × lanes elements are turned in registers, by exchanging halves, then quarters, and so on.
    """
    t, lanes = _Text(panel, kind), panel.lanes
    lines = [*head(["b", "ldb", "to", "k", "cols"], pointers=["b", "to"]), "  br label %tile"]
    lines += ["tile:", "  %t = phi i64 [0, %entry], [%t.next, %tile.end]", "  %t.in = icmp ult i64 %t, %k"]
    lines += ["  br i1 %t.in, label %side, label %done", "side:", "  %v = phi i64 [0, %tile], [%v.next, %side]"]
    for r in range(lanes):
        lines += [
            f"  %r{r} = add i64 %v, {r}",
            f"  %r{r}.off = mul i64 %r{r}, %ldb",
            f"  %r{r}.k = add i64 %r{r}.off, %t",
        ]
        lines += [f"  %r{r}.at = getelementptr {t.number}, ptr %b, i64 %r{r}.k"]
        lines += [f"  %x0.{r} = load {t.vector}, ptr %r{r}.at, align {t.bits // 8}"]
    step, stage = lanes // 2, 0
    while step:
        for r in range(lanes):
            first, second = r & ~step, r | step
            half = 0 if r == first else step
            taken = [(i & ~step) + half + (lanes if i & step else 0) for i in range(lanes)]
            chosen = ", ".join([f"i32 {i}" for i in taken])
            operands = f"{t.vector} %x{stage}.{first}, {t.vector} %x{stage}.{second}"
            lines += [f"  %x{stage + 1}.{r} = shufflevector {operands}, <{lanes} x i32> <{chosen}>"]
        step, stage = step // 2, stage + 1
    for r in range(lanes):
        lines += [f"  %w{r} = add i64 %t, {r}", f"  %w{r}.row = mul i64 %w{r}, {panel.width}"]
        lines += [
            f"  %w{r}.off = add i64 %w{r}.row, %v",
            f"  %w{r}.at = getelementptr {t.number}, ptr %to, i64 %w{r}.off",
        ]
        lines += [f"  store {t.vector} %x{stage}.{r}, ptr %w{r}.at, align 64"]
    lines += [f"  %v.next = add i64 %v, {lanes}", f"  %v.in = icmp ult i64 %v.next, {panel.width}"]
    lines += ["  br i1 %v.in, label %side, label %tile.end", "tile.end:", f"  %t.next = add i64 %t, {lanes}"]
    return "\n".join([*t.declarations, *lines, "  br label %tile", "done:", "  ret void", "}"])


def _packed(t: _Text, lines: list[str]) -> str:
    """The end of a loop that has made one row of a panel."""
    lines += [
        f"  %to.off = mul i64 %k.i, {t.panel.width}",
        f"  %place = getelementptr {t.number}, ptr %to, i64 %to.off",
    ]
    for v in range(t.panel.vectors):
        lines += [f"  %place.{v} = getelementptr {t.number}, ptr %place, i64 {v * t.panel.lanes}"]
        lines += [f"  store {t.vector} %x{v}, ptr %place.{v}, align 64"]
    return "\n".join([*t.declarations, *lines, *_next("k"), "done:", "  ret void", "}"])


@lru_cache
def pack_blocks(panel: Panel, kind: str, rows: int) -> str:
    """Blocks of A, whose columns lie in one piece. Table: a, lda, to, the distance of blocks there, k, blocks.

    Eight k at a time, whose lines of A stay in the cache while all the blocks take their part of them.
    """
    t = _Text(panel, kind)
    t.declarations += ["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"]
    lines = [*head(["a", "lda", "to", "far", "k", "blocks"], pointers=["a", "to"]), "  br label %tile"]
    lines += ["tile:", "  %t = phi i64 [0, %entry], [%t.next, %tile.end]", "  %t.in = icmp ult i64 %t, %k"]
    lines += ["  br i1 %t.in, label %tile.go, label %done", "tile.go:", "  %t.8 = add i64 %t, 8"]
    lines += [
        "  %t.less = icmp ult i64 %t.8, %k",
        "  %t.next = select i1 %t.less, i64 %t.8, i64 %k",
        "  br label %block",
    ]
    lines += ["block:", "  %i = phi i64 [0, %tile.go], [%i.next, %block.end]", "  %i.in = icmp ult i64 %i, %blocks"]
    lines += ["  br i1 %i.in, label %block.go, label %tile.end", "block.go:", f"  %right = mul i64 %i, {rows}"]
    lines += [f"  %from = getelementptr {t.number}, ptr %a, i64 %right", "  %to.block = mul i64 %i, %far"]
    lines += [f"  %into = getelementptr {t.number}, ptr %to, i64 %to.block", "  br label %each"]
    lines += ["each:", "  %j = phi i64 [%t, %block.go], [%j.next, %each]", "  %down = mul i64 %j, %lda"]
    lines += [f"  %there = getelementptr {t.number}, ptr %from, i64 %down"]
    lines += [f"  %later = mul i64 %lda, {_AHEAD}", f"  %soon = getelementptr {t.number}, ptr %there, i64 %later"]
    lines += ["  call void @llvm.prefetch.p0(ptr %soon, i32 0, i32 3, i32 1)"]
    lines += [f"  %along = mul i64 %j, {ROWS}", f"  %here = getelementptr {t.number}, ptr %into, i64 %along"]
    start = 0
    for size in (4, 2, 1):  # whole vectors, since a masked store takes longer than all of these
        if rows & size:
            piece = f"<{size} x {t.number}>"
            lines += [f"  %x{size}.at = getelementptr {t.number}, ptr %there, i64 {start}"]
            lines += [f"  %x{size} = load {piece}, ptr %x{size}.at, align {t.bits // 8}"]
            lines += [f"  %x{size}.to = getelementptr {t.number}, ptr %here, i64 {start}"]
            lines += [f"  store {piece} %x{size}, ptr %x{size}.to, align {t.bits // 8}"]
            start += size
    lines += ["  %j.next = add i64 %j, 1", "  %j.in = icmp ult i64 %j.next, %t.next"]
    lines += ["  br i1 %j.in, label %each, label %block.end", "block.end:", "  %i.next = add i64 %i, 1"]
    return "\n".join(
        [*t.declarations, *lines, "  br label %block", "tile.end:", "  br label %tile", "done:", "  ret void", "}"]
    )


def _loop(name: str) -> list[str]:
    lines = [
        f"  br label %{name}.head",
        f"{name}.head:",
        f"  %{name}.i = phi i64 [0, %entry], [%{name}.next, %{name}.body]",
    ]
    lines += [f"  %{name}.in = icmp ult i64 %{name}.i, %{name}", f"  br i1 %{name}.in, label %{name}.body, label %done"]
    return [*lines, f"{name}.body:"]


def _next(name: str) -> list[str]:
    return [f"  %{name}.next = add i64 %{name}.i, 1", f"  br label %{name}.head"]


class _Text:
    """What the functions of one dtype have in common."""

    def __init__(self, panel: Panel, kind: str) -> None:
        self.panel, self.bits = panel, 32 if kind == "f" else 64
        self.number = "float" if kind == "f" else "double"
        self.vector, self._mask = f"<{panel.lanes} x {self.number}>", f"<{panel.lanes} x i1>"
        self._name = f"v{panel.lanes}f{self.bits}"
        self.declarations = [
            f"declare {self.vector} @llvm.fma.{self._name}({', '.join([self.vector] * 3)})",
            f"declare {self.vector} @llvm.masked.load.{self._name}.p0(ptr, i32, {self._mask}, {self.vector})",
            f"declare void @llvm.masked.store.{self._name}.p0({self.vector}, ptr, i32, {self._mask})",
            f"declare {self.vector} @llvm.masked.gather.{self._name}.v{panel.lanes}p0(<{panel.lanes} x ptr>, i32, "
            f"{self._mask}, {self.vector})",
        ]

    def masks(self, cols: str) -> list[str]:
        """%mask.0, %mask.1, ...: which lanes of each vector are columns."""
        lanes = self.panel.lanes
        wide = f"<{lanes} x i64>"
        lines = [f"  %cols.1 = insertelement {wide} poison, i64 {cols}, i64 0"]
        lines += [f"  %cols.all = shufflevector {wide} %cols.1, {wide} poison, <{lanes} x i32> zeroinitializer"]
        for v in range(self.panel.vectors):
            places = ", ".join([f"i64 {v * lanes + i}" for i in range(lanes)])
            lines += [f"  %mask.{v} = icmp ult {wide} <{places}>, %cols.all"]
        return lines

    def load(self, name: str, base: str, v: int) -> list[str]:
        """The v-th vector from an address, zeros beyond the columns."""
        call = f"call {self.vector} @llvm.masked.load.{self._name}.p0"
        lines = [f"  {name}.at = getelementptr {self.number}, ptr {base}, i64 {v * self.panel.lanes}"]
        return [
            *lines,
            f"  {name} = {call}(ptr {name}.at, i32 1, {self._mask} %mask.{v}, {self.vector} zeroinitializer)",
        ]

    def store(self, value: str, base: str, v: int) -> list[str]:
        """Write the v-th vector from an address on, as far as there are columns."""
        call = f"call void @llvm.masked.store.{self._name}.p0"
        lines = [f"  {value}.to = getelementptr {self.number}, ptr {base}, i64 {v * self.panel.lanes}"]
        return [*lines, f"  {call}({self.vector} {value}, ptr {value}.to, i32 1, {self._mask} %mask.{v})"]

    def gather(self, pointers: str, v: int) -> str:
        lanes = self.panel.lanes
        given = (
            f"<{lanes} x ptr> {pointers}, i32 {self.bits // 8}, {self._mask} %mask.{v}, {self.vector} zeroinitializer"
        )
        return f"call {self.vector} @llvm.masked.gather.{self._name}.v{lanes}p0({given})"

    def fma(self, a: str, b: str, c: str) -> str:
        return f"call {self.vector} @llvm.fma.{self._name}({self.vector} {a}, {self.vector} {b}, {self.vector} {c})"
