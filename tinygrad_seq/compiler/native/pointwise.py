"""Loops over elements as LLVM code: for a chain of operations one pass over memory, a vector of elements at a time.

A kernel is made of operations only: what lies where is an argument, so that all steps of a sequence share one. It reads
its arguments from a table of 64-bit integers: rows, columns, and for each array its address and the bytes from one row
to the next. The vectors are spelled out, so that nothing depends on what a compiler may find.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from .llvm_builder import TYPES, FunctionBuilder
from .llvm_values import BYTE, INT32, Pointer, Value, vector_of

# least squares of the relative error at Chebyshev's points: (exp(r) - 1 - r) / r² for |r| ≤ 0.3467, and
# (tanh(x) - x) / x³ as a function of x² for |x| ≤ 0.65
_EXP = [0.5, 0.16666515171527863, 0.04166626185178757, 0.00836917757987976, 0.001394648919813335]
_TANH = [-0.3333325982093811, 0.13330818712711334, -0.05368747189640999, 0.020468397065997124, -0.005514524877071381]

Operation = tuple[str, ...]  # its name, and what it takes: see `kernel`
Emitter = Callable[..., Value]


def _polynomial(f: FunctionBuilder, x: Value, coefficients: list[float]) -> Value:
    """Σ cₖ xᵏ, by Horner's rule."""
    y = f.numbers(coefficients[-1])
    for c in coefficients[-2::-1]:
        y = f.fma(y, x, f.numbers(c))
    return y


# --- functions, in float32 ---


def _exp(f: FunctionBuilder, x: Value) -> Value:
    """e ** x: 2ⁿ e^r with |r| ≤ ln 2 / 2, e^r by a polynomial (relative error 4e-9 before rounding)."""
    low, high, is_nan = f.numbers(-110.0), f.numbers(100.0), x.compare("uno", x)
    bounded = f.select(x.compare("<", low), low, x)
    bounded = f.select(bounded.compare(">", high), high, bounded)
    bounded = f.select(is_nan, low, bounded)
    n = f.elementwise("rint", bounded * 1.4426950408889634)
    r = f.fma(n, f.numbers(-0.693359375), bounded)  # ln 2 in two parts, the first of few digits
    r = f.fma(n, f.numbers(2.12194440e-4), r)
    y = f.fma(r * r, _polynomial(f, r, _EXP), r) + 1.0
    exponent = n.cast("fptosi", vector_of(INT32, f.lanes))
    half = exponent.signed_shift(1)
    for part in (half, exponent - half):  # in two steps, so that neither power is out of range
        y = y * ((part + 127) << 23).cast("bitcast", f.vector)
    return f.select(is_nan, x, y)


def _sigmoid(f: FunctionBuilder, x: Value) -> Value:
    one = f.numbers(1.0)
    return one / (one + _exp(f, -x))


def _tanh(f: FunctionBuilder, x: Value) -> Value:
    """1 - 2 / (exp(2|x|) + 1) with the sign of x; near 0 a polynomial, where that would cancel."""
    size = f.elementwise("fabs", x)
    far = f.numbers(1.0) - f.numbers(2.0) / (_exp(f, size * 2.0) + 1.0)
    far = f.elementwise("copysign", far, x)  # for nan
    square = x * x
    near = f.fma(square * x, _polynomial(f, square, _TANH), x)
    y = f.select(size.compare("<", f.numbers(0.625)), near, far)
    return f.elementwise("copysign", y, x)  # of -0.0, too


def _extreme(f: FunctionBuilder, how: str, a: Value, b: Value) -> Value:
    """The one that compares as `how` says; nan if one is."""
    return f.select(a.compare(how, b) | a.compare("uno", a), a, b)


ARITHMETIC: dict[str, Emitter] = {
    "add": lambda f, a, b: a + b,
    "subtract": lambda f, a, b: a - b,
    "multiply": lambda f, a, b: a * b,
    "divide": lambda f, a, b: a / b,
    "negative": lambda f, a: -a,
    "absolute": lambda f, a: f.elementwise("fabs", a),
    "sqrt": lambda f, a: f.elementwise("sqrt", a),
    "maximum": lambda f, a, b: _extreme(f, ">", a, b),
    "minimum": lambda f, a, b: _extreme(f, "<", a, b),
}
FUNCTIONS: dict[str, Emitter] = {"exp": _exp, "tanh": _tanh, "sigmoid": _sigmoid}
COMPARISONS = {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
LOGIC: dict[str, Emitter] = {
    "bitwise_and": lambda f, a, b: a & b,
    "bitwise_or": lambda f, a, b: a | b,
    "bitwise_xor": lambda f, a, b: a ^ b,
    "logical_and": lambda f, a, b: a & b,
    "logical_or": lambda f, a, b: a | b,
}
_EMITTERS: dict[str, Emitter] = {
    **ARITHMETIC,
    **FUNCTIONS,
    **LOGIC,
    **{name: lambda f, a, b, how=how: a.compare(how, b) for name, how in COMPARISONS.items()},
    "where": lambda f, condition, a, b: f.select(condition, a, b),
    "to_number": lambda f, a: f.select(a, f.numbers(1.0), f.numbers(0.0)),
    "to_truth": lambda f, a: a.compare("!=", f.numbers(0.0)),
}


@lru_cache(48)  # each step of a sequence has the same ones, and so have the programs of one model
def kernel(
    kind: str,
    operations: tuple[Operation, ...],
    loads: tuple[tuple[str, bool], ...],
    stores: tuple[tuple[str, str], ...],
) -> str:
    """The text of a kernel.

    Args:
        kind: "f" or "d", of all its numbers.
        operations: on "in0", "in1", ..., the arrays that it reads, "v0", "v1", ..., what operations before have made,
            "True" and "False", and hexadecimal constants. "to_number" and "to_truth" are those that convert.
        loads: of each array that is read, the kind of its elements, and whether a row has but one.
        stores: of each array that is written, the kind of its elements, and the value that goes there.
    """
    f = FunctionBuilder(kind)
    kinds = [element for element, _ in (*loads, *stores)]
    rows, cols, *pointers = f.arguments("rows cols " + "*address stride " * len(kinds))
    for r in f.range(0, rows, nonempty=True):
        starts = [p.of(BYTE) + r * stride for p, stride in zip(pointers[::2], pointers[1::2], strict=True)]
        arrays = [start.of(TYPES[element]) for start, element in zip(starts, kinds, strict=True)]
        for c, (mask,) in f.columns(cols):
            values = {}
            for n, (array, (element, single)) in enumerate(zip(arrays, loads, strict=False)):
                values[f"in{n}"] = _loaded(array, element, None if single else c, mask)
            for n, (name, *operands) in enumerate(operations):
                values[f"v{n}"] = _EMITTERS[name](f, *[_operand(f, values, text) for text in operands])
            for array, (element, value) in zip(arrays[len(loads) :], stores, strict=True):
                _store(array, element, c, _operand(f, values, value), mask)
    return f.text()


def _operand(f: FunctionBuilder, values: dict[str, Value], text: str) -> Value:
    if text in values:
        return values[text]
    return f.truths(text == "True") if text in ("True", "False") else f.numbers(float.fromhex(text))


def _loaded(array: Pointer, kind: str, column: Value | None, mask: Value | None) -> Value:
    """A vector from a column on, or the one element of a row in all lanes."""
    value = array.broadcast(0) if column is None else array.load(column, mask)
    return value.compare("!=", 0) if kind == "?" else value


def _store(array: Pointer, kind: str, column: Value, value: Value, mask: Value | None) -> None:
    if kind == "?":
        value = value.cast("zext", vector_of(BYTE, array.lanes))
    array.store(column, value, mask)
