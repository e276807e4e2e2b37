"""sums[index[i]] += rows[i], as LLVM code: first which rows go to the same place, then their sums.

A place may get any number of rows: their sum is made in float64, in registers, and rounded once.
"""

from __future__ import annotations

from functools import lru_cache

from .kernels import LANES
from .native_calls import NUMBERS, find_row, head, load, store, tail_mask

_VECTORS = 4

# Lists of equal numbers in an index: first[j] is the first i with index[i] = j, and after[i] the next one; -1 ends
# a list. An index that is out of range is in none, and is written to `wrong`.
LISTS = "\n".join(
    [
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        *head(["wrong", "index", "n", "rows", "first", "after"], pointers=["wrong", "index", "first", "after"]),
        "  %bytes = shl i64 %rows, 3",
        "  call void @llvm.memset.p0.i64(ptr %first, i8 -1, i64 %bytes, i1 false)",
        "  br label %row",
        "row:",  # from the last to the first, so that a list is in order
        "  %left = phi i64 [%n, %entry], [%i, %row.end]",
        "  %none = icmp eq i64 %left, 0",
        "  br i1 %none, label %done, label %find",
        "find:",
        "  %i = sub i64 %left, 1",
        *find_row("%i", found="go", otherwise="row.end"),
        "go:",
        "  %first.at = getelementptr i64, ptr %first, i64 %j",
        "  %next = load i64, ptr %first.at",
        "  %after.at = getelementptr i64, ptr %after, i64 %i",
        "  store i64 %next, ptr %after.at",
        "  store i64 %i, ptr %first.at",
        "  br label %row.end",
        "row.end:",
        "  br label %row",
        "done:",
        "  ret void",
        "}",
    ]
)


@lru_cache
def add_lists(kind: str) -> str:
    """sums[j, c] += Σ rows[i, c] over the i in the list of j; `cols` of `width` columns, which other threads share."""
    number = NUMBERS[kind]
    wide = _VECTORS * LANES
    lines = head(["first", "after", "sums", "rows", "count", "width", "cols"], ["first", "after", "sums", "rows"])
    lines += [f"  %whole = and i64 %cols, -{wide}"]
    for v in range(_VECTORS):
        lines += [f"  %from{v} = add i64 %whole, {v * LANES}", *tail_mask("%cols", f"%from{v}", f"%mask{v}")]
    lines += ["  br label %row", "row:", "  %j = phi i64 [0, %entry], [%j.next, %row.end]"]
    lines += ["  %j.in = icmp ult i64 %j, %count", "  br i1 %j.in, label %look, label %done", "look:"]
    lines += ["  %start.at = getelementptr i64, ptr %first, i64 %j", "  %start = load i64, ptr %start.at"]
    lines += ["  %empty = icmp slt i64 %start, 0", "  br i1 %empty, label %row.end, label %go", "go:"]
    lines += ["  %to.off = mul i64 %j, %width", f"  %to = getelementptr {number}, ptr %sums, i64 %to.off"]
    lines += ["  br label %wides", "wides:", "  %c = phi i64 [0, %go], [%c.next, %q.done]"]
    lines += ["  %c.in = icmp ult i64 %c, %whole", "  br i1 %c.in, label %q, label %rest"]
    lines += _sums_of_list("q", "%c", number, masked=False)
    lines += [f"  %c.next = add i64 %c, {wide}", "  br label %wides"]
    lines += ["rest:", "  %is.rest = icmp ult i64 %whole, %cols", "  br i1 %is.rest, label %s, label %row.end"]
    lines += _sums_of_list("s", "%whole", number, masked=True)
    lines += ["  br label %row.end", "row.end:", "  %j.next = add i64 %j, 1", "  br label %row"]
    return "\n".join([*lines, "done:", "  ret void", "}"])


def _sums_of_list(p: str, column: str, number: str, *, masked: bool) -> list[str]:
    """Some columns from `column` on of the place `to`, and of the rows in its list; the names begin with `p`."""
    vector, total, single = f"<{LANES} x {number}>", f"<{LANES} x double>", number == "float"

    def widened(to: str, base: str, place: str, v: int) -> list[str]:
        narrow = f"{to}.narrow" if single else to
        lines = load(narrow, base, place, vector, number, masked, mask=f"%mask{v}")
        return [*lines, *([f"  {to} = fpext {vector} {narrow} to {total}"] if single else [])]

    lines = [f"{p}:"]
    for v in range(_VECTORS):
        lines += [f"  %{p}.c{v} = add i64 {column}, {v * LANES}", *widened(f"%{p}.old{v}", "%to", f"%{p}.c{v}", v)]
    lines += [f"  br label %{p}.row", f"{p}.row:", f"  %{p}.i = phi i64 [%start, %{p}], [%{p}.next, %{p}.row]"]
    for v in range(_VECTORS):
        lines += [f"  %{p}.sum{v} = phi {total} [%{p}.old{v}, %{p}], [%{p}.new{v}, %{p}.row]"]
    lines += [f"  %{p}.off = mul i64 %{p}.i, %width", f"  %{p}.x = getelementptr {number}, ptr %rows, i64 %{p}.off"]
    for v in range(_VECTORS):
        lines += widened(f"%{p}.x{v}", f"%{p}.x", f"%{p}.c{v}", v)
        lines += [f"  %{p}.new{v} = fadd {total} %{p}.sum{v}, %{p}.x{v}"]
    lines += [f"  %{p}.after = getelementptr i64, ptr %after, i64 %{p}.i", f"  %{p}.next = load i64, ptr %{p}.after"]
    lines += [f"  %{p}.on = icmp sge i64 %{p}.next, 0", f"  br i1 %{p}.on, label %{p}.row, label %{p}.done"]
    lines += [f"{p}.done:"]
    for v in range(_VECTORS):
        lines += [f"  %{p}.y{v} = fptrunc {total} %{p}.new{v} to {vector}"] if single else []
        value = f"{vector} %{p}.{'y' if single else 'new'}{v}"
        lines += [f"  %{p}.to{v} = getelementptr {number}, ptr %to, i64 %{p}.c{v}"]
        lines.append(store(value, f"%{p}.to{v}", number, masked, mask=f"%mask{v}"))
    return lines
