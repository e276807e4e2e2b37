"""Sums and largest elements of rows, and sums of columns, as LLVM code.

Parts of them are added up in the dtype of x, and what comes of these in float64, so that long ones lose nothing.
"""

from __future__ import annotations

from functools import lru_cache

from .kernels import LANES
from .native_calls import NUMBERS, VECTORS, head, load, store, tail_mask

_WIDE = 4  # vectors at a time, which do not wait for each other
_BLOCK = 4096
_ROWS = 64  # that are added up one after another


@lru_cache
def reduction(op: str, kind: str) -> str:
    """y[r] = Σ x[r, c], or the largest of them; rows are read 64 elements at a time, and summed up 4096 at a time.

    Args:
        op: "sum" or "max".
        kind: "f" or "d".
    """
    number, bits = ("float", 32) if kind == "f" else ("double", 64)
    vector, name = f"<{LANES} x {number}>", f"v{LANES}f{bits}"
    add = op == "sum"
    start = "zeroinitializer" if add else f"<{', '.join([f'{number} 0xFFF0000000000000'] * LANES)}>"  # zeros, or -inf

    def both(to: str, a: str, b: str) -> str:
        call = f"fadd {vector} {a}, {b}" if add else f"call {vector} @llvm.maximum.{name}({vector} {a}, {vector} {b})"
        return f"  {to} = {call}"

    lines = [] if add else [f"declare {vector} @llvm.maximum.{name}({vector}, {vector})"]
    lines += [] if add else ["declare double @llvm.maximum.f64(double, double)"]
    whole = f"@llvm.vector.reduce.{'fadd' if add else 'fmaximum'}.{name}"
    lines += [f"declare {number} {whole}({f'{number}, ' if add else ''}{vector})"]
    lines += [*head(["x", "y", "rows", "cols"], pointers="xy"), "  br label %row"]
    lines += ["row:", "  %r = phi i64 [0, %entry], [%r.next, %row.end]", "  %r.in = icmp ult i64 %r, %rows"]
    lines += ["  br i1 %r.in, label %row.go, label %done", "row.go:", "  %r.off = mul i64 %r, %cols"]
    lines += [f"  %from = getelementptr {number}, ptr %x, i64 %r.off", "  br label %block"]
    first = "0.0" if add else "0xFFF0000000000000"
    lines += ["block:", "  %b = phi i64 [0, %row.go], [%b.end, %block.end]"]
    lines += [f"  %all = phi double [{first}, %row.go], [%all.next, %block.end]", "  %b.in = icmp ult i64 %b, %cols"]
    lines += ["  br i1 %b.in, label %block.go, label %row.end", "block.go:", f"  %b.far = add i64 %b, {_BLOCK}"]
    lines += ["  %b.less = icmp ult i64 %b.far, %cols", "  %b.end = select i1 %b.less, i64 %b.far, i64 %cols"]
    lines += ["  %length = sub i64 %b.end, %b", f"  %length.64 = and i64 %length, -{_WIDE * LANES}"]
    lines += ["  %b.64 = add i64 %b, %length.64", "  br label %wide"]
    lines += ["wide:", "  %c = phi i64 [%b, %block.go], [%c.next, %wide.go]"]
    lines += [f"  %s{v} = phi {vector} [{start}, %block.go], [%t{v}, %wide.go]" for v in range(_WIDE)]
    lines += ["  %c.in = icmp ult i64 %c, %b.64", "  br i1 %c.in, label %wide.go, label %narrow", "wide.go:"]
    for v in range(_WIDE):
        lines += [
            f"  %c{v} = add i64 %c, {v * LANES}",
            *load(f"%x{v}", "%from", f"%c{v}", vector, number, masked=False),
        ]
        lines += [both(f"%t{v}", f"%s{v}", f"%x{v}")]
    lines += [f"  %c.next = add i64 %c, {_WIDE * LANES}", "  br label %wide"]
    lines += ["narrow:", "  %d = phi i64 [%b.64, %wide], [%d.next, %narrow.go]"]
    lines += [f"  %u = phi {vector} [%s0, %wide], [%w, %narrow.go]", "  %d.in = icmp ult i64 %d, %b.end"]
    lines += ["  br i1 %d.in, label %narrow.go, label %block.end", "narrow.go:", *tail_mask("%b.end", "%d")]
    lines += load("%v", "%from", "%d", vector, number, masked=True, otherwise=start)
    lines += [both("%w", "%u", "%v"), f"  %d.next = add i64 %d, {LANES}", "  br label %narrow", "block.end:"]
    lines += [both("%p", "%u", "%s1"), both("%q", "%s2", "%s3"), both("%pq", "%p", "%q")]
    given = f"{number} 0.0, {vector} %pq" if add else f"{vector} %pq"
    lines += [f"  %found = call {'reassoc ' if add else ''}{number} {whole}({given})"]
    lines += ["  %found.d = fpext float %found to double"] if kind == "f" else []
    found = "%found.d" if kind == "f" else "%found"
    total = f"fadd double %all, {found}" if add else f"call double @llvm.maximum.f64(double %all, double {found})"
    lines += [f"  %all.next = {total}", "  br label %block", "row.end:"]
    lines += ["  %out = fptrunc double %all to float"] if kind == "f" else []
    lines += [f"  %y.at = getelementptr {number}, ptr %y, i64 %r"]
    lines += [f"  store {number} {'%out' if kind == 'f' else '%all'}, ptr %y.at", "  %r.next = add i64 %r, 1"]
    return "\n".join([*lines, "  br label %row", "done:", "  ret void", "}"])


@lru_cache
def column_sums(kind: str) -> str:
    """y[c] = Σ x[r, c] for x with rows in one piece: 128 columns at a time, which stay in registers."""
    number = NUMBERS[kind]
    wide = VECTORS * LANES
    lines = head(["x", "ldx", "y", "rows", "cols"], pointers="xy")
    lines += [f"  %whole = and i64 %cols, -{wide}", "  br label %wides"]
    lines += ["wides:", "  %i = phi i64 [0, %entry], [%i.next, %q.done]"]
    lines += ["  %in.wides = icmp ult i64 %i, %whole", "  br i1 %in.wides, label %q, label %rest"]
    lines += _sums_of_columns("q", "%i", number, masked=False)
    lines += [f"  %i.next = add i64 %i, {wide}", "  br label %wides"]
    lines += [
        "rest:",
        "  %is.rest = icmp ult i64 %whole, %cols",
        "  br i1 %is.rest, label %masks, label %done",
        "masks:",
    ]
    for v in range(VECTORS):  # together, since as many sums take as long as one
        lines += [f"  %from{v} = add i64 %whole, {v * LANES}", *tail_mask("%cols", f"%from{v}", f"%mask{v}")]
    lines += ["  br label %s", *_sums_of_columns("s", "%whole", number, masked=True)]
    return "\n".join([*lines, "  br label %done", "done:", "  ret void", "}"])


def _sums_of_columns(p: str, column: str, number: str, *, masked: bool) -> list[str]:
    """The sums of 128 columns of x from `column` on; the names begin with `p`."""
    vector, totals = f"<{LANES} x {number}>", f"<{LANES} x double>"
    single = number == "float"
    lines = [f"{p}:", f"  br label %{p}.block", f"{p}.block:", f"  %{p}.b = phi i64 [0, %{p}], [%{p}.end, %{p}.added]"]
    for v in range(VECTORS):
        lines += [f"  %{p}.all{v} = phi {totals} [zeroinitializer, %{p}], [%{p}.all{v}.next, %{p}.added]"]
    lines += [f"  %{p}.more = icmp ult i64 %{p}.b, %rows", f"  br i1 %{p}.more, label %{p}.go, label %{p}.done"]
    lines += [f"{p}.go:", f"  %{p}.far = add i64 %{p}.b, {_ROWS}", f"  %{p}.less = icmp ult i64 %{p}.far, %rows"]
    lines += [f"  %{p}.end = select i1 %{p}.less, i64 %{p}.far, i64 %rows", f"  br label %{p}.row", f"{p}.row:"]
    lines += [f"  %{p}.r = phi i64 [%{p}.b, %{p}.go], [%{p}.r.next, %{p}.row]"]
    for v in range(VECTORS):
        lines += [f"  %{p}.part{v} = phi {vector} [zeroinitializer, %{p}.go], [%{p}.sum{v}, %{p}.row]"]
    lines += [f"  %{p}.off = mul i64 %{p}.r, %ldx", f"  %{p}.first = add i64 %{p}.off, {column}"]
    for v in range(VECTORS):
        lines += [f"  %{p}.c{v} = add i64 %{p}.first, {v * LANES}"]
        lines += load(f"%{p}.x{v}", "%x", f"%{p}.c{v}", vector, number, masked, mask=f"%mask{v}")
        lines += [f"  %{p}.sum{v} = fadd {vector} %{p}.part{v}, %{p}.x{v}"]
    lines += [f"  %{p}.r.next = add i64 %{p}.r, 1", f"  %{p}.on = icmp ult i64 %{p}.r.next, %{p}.end"]
    lines += [f"  br i1 %{p}.on, label %{p}.row, label %{p}.added", f"{p}.added:"]
    for v in range(VECTORS):
        lines += [f"  %{p}.wide{v} = fpext {vector} %{p}.sum{v} to {totals}"] if single else []
        lines += [f"  %{p}.all{v}.next = fadd {totals} %{p}.all{v}, %{p}.{'wide' if single else 'sum'}{v}"]
    lines += [f"  br label %{p}.block", f"{p}.done:"]
    for v in range(VECTORS):
        lines += [f"  %{p}.y{v} = fptrunc {totals} %{p}.all{v} to {vector}"] if single else []
        value = f"{vector} %{p}.{'y' if single else 'all'}{v}"
        lines += [f"  %{p}.to{v}.n = add i64 {column}, {v * LANES}"]
        lines += [f"  %{p}.to{v} = getelementptr {number}, ptr %y, i64 %{p}.to{v}.n"]
        lines.append(store(value, f"%{p}.to{v}", number, masked, mask=f"%mask{v}"))
    return lines
