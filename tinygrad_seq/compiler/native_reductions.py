"""Sums and largest elements of rows as LLVM code.

Table: x, y, rows, cols; y[r] = Σ x[r, c], or the largest of them. Rows are read 64 elements at a time; of a sum, what
comes of each 4096 elements is added up in float64, so that long rows lose nothing either.
"""

from __future__ import annotations

from functools import lru_cache

from .kernels import LANES
from .native_calls import head, load, tail_mask

_WIDE = 4  # vectors at a time, which do not wait for each other
_BLOCK = 4096


@lru_cache
def reduction(op: str, kind: str) -> str:
    """`op` is "sum" or "max", `kind` "f" or "d"."""
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
