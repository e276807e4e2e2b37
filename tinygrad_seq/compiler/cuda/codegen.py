"""Operations on elements as expressions of CUDA C++, and the kernels around them.

A kernel is made of the program's own operations. Shapes and strides are numbers in its text, so that the compiler turns
divisions into multiplications; addresses are arguments, so that all steps of a sequence share one kernel.
"""

from __future__ import annotations

import math
from typing import Any

from ...backend import numpy_module as numpy
from ..program import Instr, Number, Var

TYPES = {
    "f": "float", "d": "double", "?": "bool", "b": "signed char", "B": "unsigned char", "h": "short",
    "H": "unsigned short", "i": "int", "I": "unsigned int", "l": "long long", "L": "unsigned long long",
    "q": "long long", "Q": "unsigned long long",
}  # fmt: skip
_REAL = "fd"

# {0}, {1}: the operands, as numbers of the type T in which the operation is done
_OF_NUMBERS = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "negative": "-{0}", "square": "{0} * {0}",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
}  # fmt: skip
_OF_REALS = {
    "divide": "{0} / {1}", "absolute": "fabs({0})", "sqrt": "sqrt({0})", "exp": "exp({0})", "log": "log({0})",
    "expm1": "expm1({0})", "log1p": "log1p({0})", "log2": "log2({0})", "log10": "log10({0})", "exp2": "exp2({0})",
    "tanh": "tanh({0})", "sin": "sin({0})", "cos": "cos({0})", "tan": "tan({0})", "erf": "erf({0})",
    "power": "pow({0}, {1})", "reciprocal": "T(1) / {0}", "sigmoid": "T(1) / (T(1) + exp(-{0}))",
    "floor": "floor({0})", "ceil": "ceil({0})", "trunc": "trunc({0})", "rint": "rint({0})",
    "sign": "{0} != {0} ? {0} : T({0} > T(0)) - T({0} < T(0))",
}  # fmt: skip
_OF_INTEGERS = {"right_shift": "{0} >> {1}", "left_shift": "{0} << {1}"}
_OF_BITS = {"bitwise_and": "{0} & {1}", "bitwise_or": "{0} | {1}", "bitwise_xor": "{0} ^ {1}"}
_TESTS = {
    "less": "{0} < {1}", "less_equal": "{0} <= {1}", "greater": "{0} > {1}", "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}", "not_equal": "{0} != {1}", "isnan": "{0} != {0}", "isfinite": "{0} - {0} == T(0)",
    "isinf": "{0} == {0} && {0} - {0} != T(0)",
}  # fmt: skip
_LOGIC = {"logical_and": "{0} && {1}", "logical_or": "{0} || {1}", "logical_xor": "{0} != {1}", "logical_not": "!{0}"}
_EXPRESSIONS = _OF_NUMBERS | _OF_REALS | _OF_INTEGERS | _OF_BITS | _TESTS | _LOGIC

OPERATIONS = frozenset([*_EXPRESSIONS, "cast", "copy", "where", "invert"])

# how two parts of a reduction go together, and what nothing at all is
REDUCTIONS = {
    "sum": ("a + b", "T(0)"), "prod": ("a * b", "T(1)"), "max": ("a > b || a != a ? a : b", "-TG_INFINITY"),
    "min": ("a < b || a != a ? a : b", "TG_INFINITY"),
}  # fmt: skip

PRELUDE = "#define TG_INFINITY __longlong_as_double(0x7ff0000000000000LL)\n#define TG_NAN (TG_INFINITY - TG_INFINITY)\n"


def loop_kind(instr: Instr) -> str | None:
    """The type in which a kernel does an operation on elements, by NumPy's letter; None if no kernel does it."""
    op, out = instr.op, instr.out.dtype.char
    if any(v.dtype.char not in TYPES for v in (*instr.inputs(), instr.out)):
        return None
    if any(isinstance(a, complex) for a in instr.args):
        return None
    if op in ("cast", "copy", "where"):
        kind = out
    elif op in _LOGIC:
        kind = "?"
    elif op in _TESTS:
        kind = _common(instr).char
    elif op == "invert":
        kind = out
    elif op in _OF_REALS:
        kind = out if out in _REAL else ""
    elif op in _OF_NUMBERS:
        kind = out if out != "?" else ""
    elif op in _OF_BITS:
        kind = out if out not in _REAL else ""
    elif op in _OF_INTEGERS:
        kind = out if out not in "fd?" else ""
    else:
        return None
    if kind not in TYPES or (kind not in _REAL and any(type(a) is Number for a in instr.args)):
        return None
    return kind


def _like(number: Number) -> Any:
    return 1 if number.is_int else 1.0


def _common(instr: Instr) -> Any:
    """The dtype in which NumPy compares the operands."""
    return numpy.result_type(*[a.dtype if type(a) is Var else _like(a) if type(a) is Number else a for a in instr.args])


def expression(instr: Instr, operands: list[tuple[str, str]]) -> str:
    """An operation as an expression of its result's type.

    Args:
        operands: for each of its arguments the text, and the letter of the type that it has.
    """
    kind, out = loop_kind(instr) or "", instr.out.dtype.char
    if instr.op == "where":
        condition = converted(*operands[0], "?")
        return f"{condition} ? {converted(*operands[1], out)} : {converted(*operands[2], out)}"
    given = [converted(text, of, kind) for text, of in operands]
    if instr.op in ("cast", "copy"):
        return given[0]
    if instr.op == "invert":
        return f"!{given[0]}" if kind == "?" else f"~{given[0]}"
    text = _EXPRESSIONS[instr.op].format(*[f"({g})" for g in given]).replace("T(", f"{_word(kind)}(")
    made = "?" if instr.op in _TESTS or instr.op in _LOGIC else kind
    return converted(f"({text})", made, out)


def converted(text: str, kind: str, wanted: str) -> str:
    """A value of one type as another."""
    if kind == wanted:
        return text
    return f"({text} != 0)" if wanted == "?" else f"({TYPES[wanted]})({text})"


def _word(kind: str) -> str:
    """A type's name that is one word, as in T(1)."""
    return TYPES[kind] if " " not in TYPES[kind] else f"({TYPES[kind]})"


def literal(value: Any, kind: str) -> str:
    """A Python number, in the type in which an operation is done."""
    if kind == "?":
        return "true" if value else "false"
    if kind not in _REAL:
        return f"({TYPES[kind]})({int(value)})" if int(value) >= -(2**63) + 1 else "(-9223372036854775807LL - 1)"
    with numpy.errstate(over="ignore"):
        number = float(numpy.float32(value)) if kind == "f" else float(value)
    if math.isnan(number):
        return f"({TYPES[kind]})TG_NAN"
    if math.isinf(number):
        return f"({TYPES[kind]})({'-' if number < 0 else ''}TG_INFINITY)"
    return f"{number!r}f" if kind == "f" else repr(number)


def merged(shape: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Lengths and strides with the dimensions merged that lie alike in all arrays."""
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d, n in enumerate(shape):
        if n == 1:
            continue
        if lengths and all(s[-1] == given[d] * n for s, given in zip(steps, strides, strict=True)):
            lengths[-1] *= n
            for s, given in zip(steps, strides, strict=True):
                s[-1] = given[d]
        else:
            lengths.append(n)
            for s, given in zip(steps, strides, strict=True):
                s.append(given[d])
    return tuple(lengths), [tuple(s) for s in steps]


def unravelled(index: str, name: str, lengths: tuple[int, ...]) -> list[str]:
    """Statements that take a flat index apart: `name`0, `name`1, ..."""
    lines, rest = [], index
    for d in range(len(lengths) - 1, -1, -1):
        whole = d == 0
        lines.append(f"const long long {name}{d} = {rest if whole else f'{rest} % {lengths[d]}'};")
        if not whole:
            lines.append(f"const long long {name}{d}r = {rest} / {lengths[d]};")
            rest = f"{name}{d}r"
    return lines


def offset(strides: tuple[int, ...], name: str) -> str:
    """The offset of an element, from the index that `unravelled` took apart."""
    terms = [f"{name}{d} * {s}" if s != 1 else f"{name}{d}" for d, s in enumerate(strides) if s]
    return " + ".join(terms) or "0"


def combined(op: str, kind: str, a: str, b: str) -> str:
    """Two parts of a reduction as one."""
    text = REDUCTIONS[op][0]
    return "".join([{"a": f"({a})", "b": f"({b})"}.get(c, c) for c in text])


def nothing(op: str, kind: str) -> str:
    """What a reduction begins with."""
    text = REDUCTIONS[op][1]
    return text.replace("T(", f"{TYPES[kind]}(") if "T(" in text else f"({TYPES[kind]})({text})"
