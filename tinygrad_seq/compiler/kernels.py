"""Loops over elements as LLVM code: for a chain of operations one pass over memory, sixteen elements at a time.

A kernel is made of operations only: what lies where is an argument, so that all steps of a sequence share one. It reads
its arguments from a table of 64-bit numbers: rows, columns, and for each array its address and the bytes from one row
to the next. The vectors are spelled out, so that nothing depends on what a compiler may find.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

LANES = 16
_MASK = f"<{LANES} x i1>"
# least squares of the relative error at Chebyshev's points: (exp(r) - 1 - r) / r² for |r| ≤ 0.3467, and
# (tanh(x) - x) / x³ as a function of x² for |x| ≤ 0.65
_EXP = [0.5, 0.16666515171527863, 0.04166626185178757, 0.00836917757987976, 0.001394648919813335]
_TANH = [-0.3333325982093811, 0.13330818712711334, -0.05368747189640999, 0.020468397065997124, -0.005514524877071381]
_TYPES = {"f": "float", "d": "double", "?": "i8"}


class Body:
    """The text of a kernel's inner loop: values are named as they are made."""

    def __init__(self, kind: str) -> None:
        self.kind = kind  # "f" or "d", of all numbers in it
        self.type = f"<{LANES} x {_TYPES[kind]}>"
        self.suffix = f"v{LANES}f{32 if kind == 'f' else 64}"
        self.lines: list[str] = []
        self.intrinsics: set[str] = set()
        self._count = 0

    def make(self, text: str) -> str:
        """A value from an instruction."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"{name} = {text}")
        return name

    def number(self, value: float) -> str:
        """A constant in all lanes."""
        value = struct.unpack("f", struct.pack("f", value))[0] if self.kind == "f" else value
        literal = f"{_TYPES[self.kind]} 0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
        return f"<{', '.join([literal] * LANES)}>"

    def truth(self, value: bool) -> str:
        """True or false in all lanes."""
        return f"<{', '.join([f'i1 {int(value)}'] * LANES)}>"

    def binary(self, op: str, a: str, b: str) -> str:
        return self.make(f"{op} {self.type} {a}, {b}")

    def call(self, name: str, *args: str) -> str:
        """An intrinsic function of numbers."""
        given = ", ".join([self.type] * len(args))
        self.intrinsics.add(f"declare {self.type} @llvm.{name}.{self.suffix}({given})")
        typed = ", ".join([f"{self.type} {a}" for a in args])
        return self.make(f"call {self.type} @llvm.{name}.{self.suffix}({typed})")

    def compare(self, how: str, a: str, b: str) -> str:
        return self.make(f"fcmp {how} {self.type} {a}, {b}")

    def select(self, mask: str, a: str, b: str) -> str:
        return self.make(f"select {_MASK} {mask}, {self.type} {a}, {self.type} {b}")

    def polynomial(self, x: str, coefficients: list[float]) -> str:
        """Σ cₖ xᵏ, by Horner's rule."""
        y = self.number(coefficients[-1])
        for c in coefficients[-2::-1]:
            y = self.call("fma", y, x, self.number(c))
        return y

    # --- functions, in float32 ---

    def exp(self, x: str) -> str:
        """e ** x: 2ⁿ e^r with |r| ≤ ln 2 / 2, e^r by a polynomial (relative error 4e-9 before rounding)."""
        low, high = self.number(-110.0), self.number(100.0)
        bounded = self.select(self.compare("olt", x, low), low, x)
        bounded = self.select(self.compare("ogt", bounded, high), high, bounded)
        bounded = self.select(self.compare("uno", x, x), low, bounded)
        n = self.call("rint", self.binary("fmul", bounded, self.number(1.4426950408889634)))
        r = self.call("fma", n, self.number(-0.693359375), bounded)  # ln 2 in two parts, the first of few digits
        r = self.call("fma", n, self.number(2.12194440e-4), r)
        p = self.polynomial(r, _EXP)
        y = self.call("fma", self.binary("fmul", r, r), p, r)
        y = self.binary("fadd", y, self.number(1.0))
        ints = f"<{LANES} x i32>"
        whole = self.make(f"fptosi {self.type} {n} to {ints}")
        half = self.make(f"ashr {ints} {whole}, <{', '.join(['i32 1'] * LANES)}>")
        rest = self.make(f"sub {ints} {whole}, {half}")
        for part in (half, rest):  # in two steps, so that neither power is out of range
            biased = self.make(f"add {ints} {part}, <{', '.join(['i32 127'] * LANES)}>")
            shifted = self.make(f"shl {ints} {biased}, <{', '.join(['i32 23'] * LANES)}>")
            y = self.binary("fmul", y, self.make(f"bitcast {ints} {shifted} to {self.type}"))
        return self.select(self.compare("uno", x, x), x, y)

    def sigmoid(self, x: str) -> str:
        one = self.number(1.0)
        e = self.exp(self.make(f"fneg {self.type} {x}"))
        return self.binary("fdiv", one, self.binary("fadd", one, e))

    def tanh(self, x: str) -> str:
        """1 - 2 / (exp(2|x|) + 1) with the sign of x; near 0 a polynomial, where that would cancel."""
        size = self.call("fabs", x)
        one, two = self.number(1.0), self.number(2.0)
        e = self.exp(self.binary("fmul", size, two))
        far = self.binary("fsub", one, self.binary("fdiv", two, self.binary("fadd", e, one)))
        far = self.call("copysign", far, x)  # for nan
        z = self.binary("fmul", x, x)
        p = self.polynomial(z, _TANH)
        near = self.call("fma", self.binary("fmul", z, x), p, x)
        y = self.select(self.compare("olt", size, self.number(0.625)), near, far)
        return self.call("copysign", y, x)  # of -0.0, too

    def larger(self, a: str, b: str, how: str) -> str:
        """The larger (or smaller) one; nan if one is."""
        first = self.make(f"or {_MASK} {self.compare(how, a, b)}, {self.compare('uno', a, a)}")
        return self.select(first, a, b)


Emitter = Callable[..., str]

ARITHMETIC: dict[str, Emitter] = {
    "add": lambda k, a, b: k.binary("fadd", a, b),
    "subtract": lambda k, a, b: k.binary("fsub", a, b),
    "multiply": lambda k, a, b: k.binary("fmul", a, b),
    "divide": lambda k, a, b: k.binary("fdiv", a, b),
    "negative": lambda k, a: k.make(f"fneg {k.type} {a}"),
    "absolute": lambda k, a: k.call("fabs", a),
    "sqrt": lambda k, a: k.call("sqrt", a),
    "maximum": lambda k, a, b: k.larger(a, b, "ogt"),
    "minimum": lambda k, a, b: k.larger(a, b, "olt"),
}
FUNCTIONS: dict[str, Emitter] = {
    "exp": lambda k, a: k.exp(a),
    "tanh": lambda k, a: k.tanh(a),
    "sigmoid": lambda k, a: k.sigmoid(a),
}
COMPARISONS = {
    "less": "olt", "less_equal": "ole", "greater": "ogt", "greater_equal": "oge", "equal": "oeq", "not_equal": "une",
}  # fmt: skip
LOGIC = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "logical_and": "and", "logical_or": "or"}


@lru_cache(256)  # each step of a sequence has the same ones
def kernel(
    name: str, body: tuple[str, ...], loads: tuple[tuple[str, bool], ...], stores: tuple[tuple[str, str], ...]
) -> str:
    """The text of a kernel.

    Args:
        body: its inner loop; it calls the arrays that it reads %in0, %in1, ...
        loads: of each array that is read, the kind of its elements, and whether a row has but one.
        stores: of each array that is written, the kind of its elements, and the value that goes there.
    """
    text = [f"define void @{name}(ptr %t) {{", "entry:"]
    slots = ["rows", "cols"]
    for k in range(len(loads) + len(stores)):
        slots += [f"p{k}", f"s{k}"]
    for i, slot in enumerate(slots):
        kind = "ptr" if slot[0] == "p" else "i64"
        text += [f"  %{slot}.at = getelementptr i64, ptr %t, i64 {i}", f"  %{slot} = load {kind}, ptr %{slot}.at"]
    text += [
        f"  %whole = and i64 %cols, -{LANES}",
        "  br label %row",
        "row:",
        "  %r = phi i64 [0, %entry], [%r.next, %row.end]",
    ]
    for k in range(len(loads) + len(stores)):
        text += [f"  %o{k} = mul i64 %r, %s{k}", f"  %b{k} = getelementptr i8, ptr %p{k}, i64 %o{k}"]
    text += ["  %any = icmp ne i64 %whole, 0", "  br i1 %any, label %loop, label %rest"]
    text += ["loop:", "  %c = phi i64 [0, %row], [%c.next, %loop]"]
    text += _pass(body, loads, stores, "c", "")
    text += [f"  %c.next = add i64 %c, {LANES}", "  %more = icmp ult i64 %c.next, %whole"]
    text += ["  br i1 %more, label %loop, label %rest", "rest:", "  %left = icmp ult i64 %whole, %cols"]
    text += ["  br i1 %left, label %tail, label %row.end", "tail:"]
    steps = ", ".join([f"i64 {i}" for i in range(LANES)])
    text += [f"  %first = insertelement <{LANES} x i64> poison, i64 %whole, i64 0"]
    text += [f"  %all = shufflevector <{LANES} x i64> %first, <{LANES} x i64> poison, <{LANES} x i32> zeroinitializer"]
    text += [f"  %places = add <{LANES} x i64> %all, <{steps}>"]
    text += [f"  %end.1 = insertelement <{LANES} x i64> poison, i64 %cols, i64 0"]
    text += [f"  %end = shufflevector <{LANES} x i64> %end.1, <{LANES} x i64> poison, <{LANES} x i32> zeroinitializer"]
    text += [f"  %mask = icmp ult <{LANES} x i64> %places, %end"]
    text += _pass(body, loads, stores, "whole", ".t")
    text += ["  br label %row.end", "row.end:", "  %r.next = add i64 %r, 1", "  %again = icmp ult i64 %r.next, %rows"]
    text += ["  br i1 %again, label %row, label %done", "done:", "  ret void", "}"]
    return "\n".join(text)


def _pass(body: Sequence[str], loads: Any, stores: Any, column: str, suffix: str) -> list[str]:
    """Sixteen elements: load, compute, store; under a mask at the end of a row, where `suffix` marks the names."""
    lines = []
    for k, (kind, single) in enumerate(loads):
        type_, name = _TYPES[kind], f"%in{k}"
        vector = f"<{LANES} x {type_}>"
        made = name if kind != "?" else f"{name}.8"
        if single:
            lines += [f"%x{k} = load {type_}, ptr %b{k}"]
            lines += [f"%y{k} = insertelement {vector} poison, {type_} %x{k}, i64 0"]
            lines += [f"{made} = shufflevector {vector} %y{k}, {vector} poison, <{LANES} x i32> zeroinitializer"]
        else:
            lines += [f"%a{k} = getelementptr {type_}, ptr %b{k}, i64 %{column}"]
            if suffix:
                masked = f"{_masked('load', kind)}(ptr %a{k}, i32 1, {_MASK} %mask, {vector} zeroinitializer)"
                lines += [f"{made} = call {vector} {masked}"]
            else:
                lines += [f"{made} = load {vector}, ptr %a{k}, align 1"]
        if kind == "?":
            lines += [f"{name} = icmp ne {vector} {made}, zeroinitializer"]
    lines += body
    for k, (kind, value) in enumerate(stores, start=len(loads)):
        vector = f"<{LANES} x {_TYPES[kind]}>"
        lines += [f"%a{k} = getelementptr {_TYPES[kind]}, ptr %b{k}, i64 %{column}"]
        if kind == "?":
            lines += [f"%w{k} = zext {_MASK} {value} to {vector}"]
            value = f"%w{k}"
        if suffix:
            lines += [f"call void {_masked('store', kind)}({vector} {value}, ptr %a{k}, i32 1, {_MASK} %mask)"]
        else:
            lines += [f"store {vector} {value}, ptr %a{k}, align 1"]
    if not suffix:
        return ["  " + line for line in lines]
    names = {line.split(" = ")[0] for line in lines if " = " in line}
    return ["  " + _renamed(line, names, suffix) for line in lines]


def _renamed(line: str, names: set[str], suffix: str) -> str:
    """A line in which the names that this pass makes have a suffix."""
    words = line.replace(",", " , ").replace("(", " ( ").replace(")", " ) ").split(" ")
    return " ".join([word + suffix if word in names else word for word in words])


def _masked(what: str, kind: str) -> str:
    element = {"f": "f32", "d": "f64", "?": "i8"}[kind]
    return f"@llvm.masked.{what}.v{LANES}{element}.p0"


def declarations() -> list[str]:
    """The intrinsic functions for the ends of rows."""
    found = []
    for kind, type_ in _TYPES.items():
        vector = f"<{LANES} x {type_}>"
        found.append(f"declare {vector} {_masked('load', kind)}(ptr, i32, {_MASK}, {vector})")
        found.append(f"declare void {_masked('store', kind)}({vector}, ptr, i32, {_MASK})")
    return found
