"""Native functions that are the same in every program, as LLVM code: products, lookups, and the loop that calls them.

Each takes the address of a table of 64-bit numbers, as kernels do: addresses, lengths, and distances in elements.
"""

from __future__ import annotations

from collections.abc import Sequence

from .kernels import LANES

NUMBERS = {"f": "float", "d": "double"}
VECTORS = 8  # of columns at a time: fewer sums would wait for each other
_ROWS = 4  # of a matrix that go through one pass over the vector
MASK = f"<{LANES} x i1>"


def call(number: str) -> str:
    """A call of the function at a place of %calls, where the addresses of functions and of their tables alternate."""
    return f"""  %at = shl i64 {number}, 1
  %f.at = getelementptr ptr, ptr %calls, i64 %at
  %f = load ptr, ptr %f.at
  %t.at = getelementptr ptr, ptr %f.at, i64 1
  %t = load ptr, ptr %t.at
  call void %f(ptr %t)"""


# Calls functions, one after another: their number, and then their addresses and those of their tables.
RUN = f"""define void @NAME(ptr %table) {{
entry:
  %count = load i64, ptr %table
  %calls = getelementptr i64, ptr %table, i64 1
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i.next, %loop]
{call("%i")}
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""

# Copies bytes: where to, where from, how many.
COPY = """declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @NAME(ptr %table) {
  %to = load ptr, ptr %table
  %from.at = getelementptr i64, ptr %table, i64 1
  %from = load ptr, ptr %from.at
  %count.at = getelementptr i64, ptr %table, i64 2
  %count = load i64, ptr %count.at
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %count, i1 false)
  ret void
}"""


def gemm(kind: str, integer: int) -> str:
    """C = A B, by BLAS, whose integers have so many bytes."""
    word, number = f"i{8 * integer}", NUMBERS[kind]
    slots = ["f", "ta", "tb", "m", "n", "k", "a", "lda", "b", "ldb", "c", "ldc"]
    text = head(slots, pointers="fabc")
    flags = [f"  %{t}.32 = trunc i64 %{t} to i32" for t in ("ta", "tb")]
    short = _narrowed(["m", "n", "k", "lda", "ldb", "ldc"], integer)
    one, zero = f"{number} 1.0", f"{number} 0.0"
    call = (
        f"  call void %f(i32 101, i32 %ta.32, i32 %tb.32, {word} %m.w, {word} %n.w, {word} %k.w, {one}, "
        f"ptr %a, {word} %lda.w, ptr %b, {word} %ldb.w, {zero}, ptr %c, {word} %ldc.w)"
    )
    return "\n".join([*text, *flags, *short, call, "  ret void", "}"])


def gemv(kind: str, integer: int) -> str:
    """y = W x, or Wᵀ x, by BLAS, whose integers have so many bytes. W (M, N), both in the table."""
    number = NUMBERS[kind]
    lines = head(["f", "turned", "m", "n", "w", "ldw", "x", "y"], pointers="fwxy")
    lines += ["  %turned.32 = trunc i64 %turned to i32", *_narrowed(["m", "n", "ldw"], integer)]
    word = f"i{8 * integer}"
    lines += [
        f"  call void %f(i32 101, i32 %turned.32, {word} %m.w, {word} %n.w, {number} 1.0, ptr %w, {word} %ldw.w, "
        f"ptr %x, {word} 1, {number} 0.0, ptr %y, {word} 1)"
    ]
    return "\n".join([*lines, "  ret void", "}"])


def _narrowed(names: list[str], integer: int) -> list[str]:
    """Numbers of the table as BLAS's integers, which end in .w."""
    if integer == 8:
        return [f"  %{name}.w = add i64 0, %{name}" for name in names]
    return [f"  %{name}.w = trunc i64 %{name} to i32" for name in names]


def rows_times_vector(kind: str) -> str:
    """y = W x for W (N, K) with rows in one piece: four rows at a time."""
    number = NUMBERS[kind]
    vector = f"<{LANES} x {number}>"
    lines = head(["w", "ldw", "x", "y", "n", "k"], pointers="wxy")
    lines += [f"  %whole = and i64 %k, -{LANES}", f"  %n.4 = and i64 %n, -{_ROWS}", *tail_mask("%k", "%whole")]
    lines += ["  br label %fours", "fours:", "  %i = phi i64 [0, %entry], [%i.next, %q.done]"]
    lines += ["  %in.fours = icmp ult i64 %i, %n.4", "  br i1 %in.fours, label %q, label %ones"]
    lines += _dots("q", "%i", _ROWS, vector, number)
    lines += [f"  %i.next = add i64 %i, {_ROWS}", "  br label %fours"]
    lines += ["ones:", "  %j = phi i64 [%n.4, %fours], [%j.next, %s.done]"]
    lines += ["  %in.ones = icmp ult i64 %j, %n", "  br i1 %in.ones, label %s, label %done"]
    lines += _dots("s", "%j", 1, vector, number)
    lines += ["  %j.next = add i64 %j, 1", "  br label %ones", "done:", "  ret void", "}"]
    return "\n".join(
        [
            f"declare {number} @llvm.vector.reduce.fadd.v{LANES}f{_bits(kind)}({number}, {vector})",
            f"declare {vector} @llvm.fma.v{LANES}f{_bits(kind)}({vector}, {vector}, {vector})",
            *lines,
        ]
    )


def _dots(p: str, row: str, count: int, vector: str, number: str) -> list[str]:
    """The products of `count` rows from `row` on with x; the names begin with `p`."""
    bits = 32 if number == "float" else 64
    lines = [f"{p}:"]
    for r in range(count):
        lines += [f"  %{p}.row{r} = add i64 {row}, {r}", f"  %{p}.off{r} = mul i64 %{p}.row{r}, %ldw"]
        lines += [f"  %{p}.w{r} = getelementptr {number}, ptr %w, i64 %{p}.off{r}"]
    lines += [f"  br label %{p}.head", f"{p}.head:", f"  %{p}.c = phi i64 [0, %{p}], [%{p}.c.next, %{p}.body]"]
    for r in range(count):
        lines += [f"  %{p}.acc{r} = phi {vector} [zeroinitializer, %{p}], [%{p}.sum{r}, %{p}.body]"]
    lines += [f"  %{p}.more = icmp ult i64 %{p}.c, %whole", f"  br i1 %{p}.more, label %{p}.body, label %{p}.tail"]
    for part in ("body", "tail"):
        masked = part == "tail"
        s = ".t" if masked else ""
        lines += [f"{p}.{part}:", *load(f"%{p}.x{s}", "%x", f"%{p}.c", vector, number, masked)]
        for r in range(count):
            lines += load(f"%{p}.v{r}{s}", f"%{p}.w{r}", f"%{p}.c", vector, number, masked)
            fma = f"call {vector} @llvm.fma.v{LANES}f{bits}"
            lines += [f"  %{p}.sum{r}{s} = {fma}({vector} %{p}.v{r}{s}, {vector} %{p}.x{s}, {vector} %{p}.acc{r})"]
        if not masked:
            lines += [f"  %{p}.c.next = add i64 %{p}.c, {LANES}", f"  br label %{p}.head"]
    for r in range(count):
        reduce = f"call reassoc {number} @llvm.vector.reduce.fadd.v{LANES}f{bits}"
        lines += [f"  %{p}.y{r} = {reduce}({number} 0.0, {vector} %{p}.sum{r}.t)"]
        lines += [f"  %{p}.y{r}.at = getelementptr {number}, ptr %y, i64 %{p}.row{r}"]
        lines += [f"  store {number} %{p}.y{r}, ptr %{p}.y{r}.at"]
    return [*lines, f"  br label %{p}.done", f"{p}.done:"]


def vector_times_rows(kind: str) -> str:
    """y = x B for B (K, N) with rows in one piece: 128 columns at a time, which stay in registers."""
    number = NUMBERS[kind]
    vector = f"<{LANES} x {number}>"
    lines = head(["b", "ldb", "x", "y", "n", "k"], pointers="bxy")
    wide = VECTORS * LANES
    lines += [f"  %n.whole = and i64 %n, -{wide}", "  br label %wides"]
    lines += ["wides:", "  %i = phi i64 [0, %entry], [%i.next, %q.done]"]
    lines += ["  %in.wides = icmp ult i64 %i, %n.whole", "  br i1 %in.wides, label %q, label %rest"]
    lines += _columns("q", "%i", VECTORS, vector, number, masked=False)
    lines += [f"  %i.next = add i64 %i, {wide}", "  br label %wides"]
    lines += [
        "rest:",
        "  %is.rest = icmp ult i64 %n.whole, %n",
        "  br i1 %is.rest, label %masks, label %done",
        "masks:",
    ]
    for r in range(VECTORS):  # together, since as many sums take as long as one
        lines += [f"  %from{r} = add i64 %n.whole, {r * LANES}", *tail_mask("%n", f"%from{r}", f"%mask{r}")]
    lines += ["  br label %s", *_columns("s", "%n.whole", VECTORS, vector, number, masked=True)]
    lines += ["  br label %done", "done:", "  ret void", "}"]
    return "\n".join([f"declare {vector} @llvm.fma.v{LANES}f{_bits(kind)}({vector}, {vector}, {vector})", *lines])


def _columns(p: str, column: str, count: int, vector: str, number: str, *, masked: bool) -> list[str]:
    """x times `count` times sixteen columns of B from `column` on."""
    bits = 32 if number == "float" else 64
    lines = [f"{p}:", f"  br label %{p}.head", f"{p}.head:"]
    lines += [f"  %{p}.k = phi i64 [0, %{p}], [%{p}.k.next, %{p}.body]"]
    for r in range(count):
        lines += [f"  %{p}.acc{r} = phi {vector} [zeroinitializer, %{p}], [%{p}.sum{r}, %{p}.body]"]
    lines += [f"  %{p}.more = icmp ult i64 %{p}.k, %k", f"  br i1 %{p}.more, label %{p}.body, label %{p}.done"]
    lines += [f"{p}.body:", f"  %{p}.x.at = getelementptr {number}, ptr %x, i64 %{p}.k"]
    lines += [f"  %{p}.x.1 = load {number}, ptr %{p}.x.at"]
    lines += [f"  %{p}.x.2 = insertelement {vector} poison, {number} %{p}.x.1, i64 0"]
    lines += [f"  %{p}.x = shufflevector {vector} %{p}.x.2, {vector} poison, <{LANES} x i32> zeroinitializer"]
    lines += [f"  %{p}.off = mul i64 %{p}.k, %ldb", f"  %{p}.first = add i64 %{p}.off, {column}"]
    for r in range(count):
        lines += [f"  %{p}.c{r} = add i64 %{p}.first, {r * LANES}"]
        lines += load(f"%{p}.v{r}", "%b", f"%{p}.c{r}", vector, number, masked, mask=f"%mask{r}")
        fma = f"call {vector} @llvm.fma.v{LANES}f{bits}"
        lines += [f"  %{p}.sum{r} = {fma}({vector} %{p}.v{r}, {vector} %{p}.x, {vector} %{p}.acc{r})"]
    lines += [f"  %{p}.k.next = add i64 %{p}.k, 1", f"  br label %{p}.head", f"{p}.done:"]
    for r in range(count):
        lines += [f"  %{p}.y{r} = add i64 {column}, {r * LANES}"]
        lines += [f"  %{p}.y{r}.at = getelementptr {number}, ptr %y, i64 %{p}.y{r}"]
        lines.append(store(f"{vector} %{p}.acc{r}", f"%{p}.y{r}.at", number, masked, mask=f"%mask{r}"))
    return lines


def load(
    name: str,
    base: str,
    place: str,
    vector: str,
    number: str,
    masked: bool,
    otherwise: str = "zeroinitializer",
    mask: str = "%mask",
) -> list[str]:
    """Sixteen elements from a place on; under a mask those that it allows, and something else for others."""
    lines = [f"  {name}.at = getelementptr {number}, ptr {base}, i64 {place}"]
    if not masked:
        return [*lines, f"  {name} = load {vector}, ptr {name}.at, align 1"]
    bits = 32 if number == "float" else 64
    load = f"@llvm.masked.load.v{LANES}f{bits}.p0"
    return [*lines, f"  {name} = call {vector} {load}(ptr {name}.at, i32 1, {MASK} {mask}, {vector} {otherwise})"]


def store(value: str, pointer: str, number: str, masked: bool, mask: str = "%mask") -> str:
    """Put sixteen elements, a vector with its type, where a pointer points to; under a mask those that it allows."""
    if not masked:
        return f"  store {value}, ptr {pointer}, align 1"
    function = f"@llvm.masked.store.v{LANES}f{32 if number == 'float' else 64}.p0"
    return f"  call void {function}({value}, ptr {pointer}, i32 1, {MASK} {mask})"


def tail_mask(end: str, start: str, mask: str = "%mask") -> list[str]:
    """The mask: which of sixteen places from `start` on lie before `end`."""
    wide = f"<{LANES} x i64>"
    steps = ", ".join([f"i64 {i}" for i in range(LANES)])
    spread = f"<{LANES} x i32> zeroinitializer"
    return [
        f"  {mask}.1 = insertelement {wide} poison, i64 {start}, i64 0",
        f"  {mask}.2 = shufflevector {wide} {mask}.1, {wide} poison, {spread}",
        f"  {mask}.3 = add {wide} {mask}.2, <{steps}>",
        f"  {mask}.4 = insertelement {wide} poison, i64 {end}, i64 0",
        f"  {mask}.5 = shufflevector {wide} {mask}.4, {wide} poison, {spread}",
        f"  {mask} = icmp ult {wide} {mask}.3, {mask}.5",
    ]


def take_rows(kind: str) -> str:
    """out[i] = all[index[i]], row by row; an index that is out of range is written to `wrong`."""
    number = NUMBERS[kind]
    vector = f"<{LANES} x {number}>"
    pointers = ("wrong", "all", "out", "index")
    lines = head([*pointers, "n", "rows", "cols"], pointers)
    lines += [f"  %whole = and i64 %cols, -{LANES}", *tail_mask("%cols", "%whole"), "  br label %row"]
    lines += ["row:", "  %i = phi i64 [0, %entry], [%i.next, %row.end]", "  %in = icmp ult i64 %i, %n"]
    lines += ["  br i1 %in, label %find, label %done", "find:", *find_row("%i", found="go", otherwise="row.end"), "go:"]
    lines += ["  %from.off = mul i64 %j, %cols", f"  %from = getelementptr {number}, ptr %all, i64 %from.off"]
    lines += ["  %to.off = mul i64 %i, %cols", f"  %to = getelementptr {number}, ptr %out, i64 %to.off"]
    lines += ["  br label %head", "head:", "  %c = phi i64 [0, %go], [%c.next, %body]"]
    lines += ["  %more = icmp ult i64 %c, %whole", "  br i1 %more, label %body, label %tail", "body:"]
    lines += load("%v", "%from", "%c", vector, number, masked=False)
    lines += [f"  %to.c = getelementptr {number}, ptr %to, i64 %c", f"  store {vector} %v, ptr %to.c, align 1"]
    lines += [f"  %c.next = add i64 %c, {LANES}", "  br label %head", "tail:"]
    lines += load("%v.t", "%from", "%c", vector, number, masked=True)
    lines += [f"  %to.t = getelementptr {number}, ptr %to, i64 %c"]
    store = f"@llvm.masked.store.v{LANES}f{_bits(kind)}.p0"
    lines += [f"  call void {store}({vector} %v.t, ptr %to.t, i32 1, {MASK} %mask)", "  br label %row.end"]
    return "\n".join([*lines, "row.end:", "  %i.next = add i64 %i, 1", "  br label %row", "done:", "  ret void", "}"])


def find_row(i: str, *, found: str, otherwise: str) -> list[str]:
    """The row %j of %rows that %index has at `i`, negative ones from the end; where there is none, %wrong says so."""
    return [
        f"  %j.at = getelementptr i64, ptr %index, i64 {i}",
        "  %j.0 = load i64, ptr %j.at",
        "  %below = icmp slt i64 %j.0, 0",
        "  %j.1 = add i64 %j.0, %rows",
        "  %j = select i1 %below, i64 %j.1, i64 %j.0",
        "  %fits = icmp ult i64 %j, %rows",
        f"  br i1 %fits, label %{found}, label %bad",
        "bad:",
        "  store i64 %j.0, ptr %wrong",
        "  %wrong.rows = getelementptr i64, ptr %wrong, i64 1",
        "  store i64 %rows, ptr %wrong.rows",
        f"  br label %{otherwise}",
    ]


def head(slots: list[str], pointers: Sequence[str]) -> list[str]:
    """The beginning of a function: the numbers of its table under their names."""
    lines = ["define void @NAME(ptr %table) {", "entry:"]
    for i, slot in enumerate(slots):
        kind = "ptr" if slot in pointers else "i64"
        lines += [
            f"  %{slot}.slot = getelementptr i64, ptr %table, i64 {i}",
            f"  %{slot} = load {kind}, ptr %{slot}.slot",
        ]
    return lines


def _bits(kind: str) -> int:
    return 32 if kind == "f" else 64
