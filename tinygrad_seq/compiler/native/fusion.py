"""Elementwise operations that follow each other on one shape, as one kernel."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...backend import Array
from ...backend import numpy_module as numpy
from ..numpy.executor import NumpyExecutor
from ..program import Instr, Number, Var
from .pointwise import ARITHMETIC, COMPARISONS, FUNCTIONS, LOGIC, Operation, kernel
from .vector_unit import LANES

_MOST = 128  # operations and arrays of one kernel
_FUNCTIONS = 16  # those of many instructions each, of which more would have to be compiled than are worth it
_Span = tuple[int, int, int, int]


class Group:
    """Elementwise operations on one shape that become one kernel.

    Args:
        uses: how often each Var is needed, as an operand or a result.
    """

    executor: NumpyExecutor
    uses: Counter[Var]
    shape: tuple[int, ...]

    def __init__(self, executor: NumpyExecutor, uses: Counter[Var], shape: tuple[int, ...]) -> None:
        self.executor, self.uses, self.shape = executor, uses, shape
        self.instrs: list[Instr] = []
        self.kind = ""
        self.values: dict[Var, int] = {}  # made here, by which instruction
        self.loads: dict[Any, Array] = {}  # what is read, broadcast to the shape
        self._outs: list[Array] = []
        self._strides: set[tuple[tuple[int, ...], int]] = set()  # of all of these: a few, which go together
        self._read: dict[Any, _Span] = {}
        self._written: list[_Span] = []
        self._text = ""
        self._stores: list[Var] = []

    def try_add(self, instr: Instr) -> bool:
        """Add an operation, if it can be a part of this kernel."""
        arrays = self.executor.plan.arrays
        out = arrays[instr.out]
        known = instr.op in ARITHMETIC or instr.op in FUNCTIONS or instr.op in COMPARISONS or instr.op in LOGIC
        if out.shape != self.shape or out.size == 0 or not (known or instr.op in ("where", "cast", "copy")):
            return False
        kinds = {a.dtype.char for a in instr.inputs()} | {instr.out.dtype.char}
        numbers = kinds - {"?"}
        if len(numbers) > 1 or not numbers <= {"f", "d"} or (numbers == {"d"} and instr.op in FUNCTIONS):
            return False
        logic = instr.op in LOGIC
        if logic != (kinds == {"?"}) or (numbers and self.kind and numbers != {self.kind}):
            return False
        if any(isinstance(a, complex) for a in instr.args) or len(self.loads) + len(self.instrs) > _MOST:
            return False
        if instr.op in FUNCTIONS and sum([i.op in FUNCTIONS for i in self.instrs]) >= _FUNCTIONS:
            return False
        new: dict[Any, tuple[Array, _Span]] = {}
        for a in instr.args:
            if a in self.values or (type(a) is not Var and type(a) is not Number):
                continue
            array = self.executor.operand(a, list(instr.args))
            if array.dtype.char not in "fd?" or (array.dtype.char != "?" and numbers and {array.dtype.char} != numbers):
                return False
            wide = array if array.shape == self.shape else numpy.broadcast_to(array, self.shape)
            span = _span(array)
            if type(a) is Var and a not in self.loads and any(_overlap(span, written) for written in self._written):
                return False  # a view of something that is made here, and not there before the kernel is done
            new[("number", a.index) if isinstance(a, Number) else a] = wide, span
        loads = self.loads | {key: wide for key, (wide, _) in new.items()}
        read = self._read | {key: span for key, (_, span) in new.items()}
        strides = {(a.strides, a.itemsize) for a in (*[a for a, _ in new.values()], out)}
        if not strides <= self._strides and _rows([*loads.values(), *self._outs, out], self.shape) is None:
            return False
        written = _span(out)
        if any(_overlap(span, written) and not _same_elements(loads[key], out) for key, span in read.items()):
            return False
        self.loads, self._read = loads, read
        self.kind = self.kind or (numbers.pop() if numbers else "")
        self.values[instr.out] = len(self.instrs)
        self.instrs.append(instr)
        self._outs.append(out)
        self._strides |= strides
        self._written.append(written)
        return True

    @property
    def size(self) -> int:
        """Operations on elements."""
        return len(self.instrs) * self._outs[0].size

    def text(self) -> str:
        """The kernel, but for its name."""
        if self._text:
            return self._text
        inside = Counter([v for instr in self.instrs for v in instr.inputs() if v in self.values])
        _, cols, strides = self._layout()
        names: dict[Any, str] = {}
        loads = []
        for k, (key, wide) in enumerate(self.loads.items()):
            names[key] = f"in{k}"
            single = cols > 1 and strides[k][1] == 0
            loads.append((wide.dtype.char, single))
        made: dict[Var, str] = {}
        operations: list[Operation] = []

        def apply(op: str, *operands: str) -> str:
            operations.append((op, *operands))
            return f"v{len(operations) - 1}"

        for instr in self.instrs:
            operands = []
            for position, a in enumerate(instr.args):
                truth = instr.op in LOGIC or (instr.op == "where" and position == 0)  # what the operation takes here
                if type(a) is Var:
                    value = made.get(a) or names[a]
                    operands.append(apply("to_number", value) if a.dtype.char == "?" and not truth else value)
                elif type(a) is Number:
                    operands.append(names["number", a.index])
                else:
                    operands.append(str(bool(a)) if truth else float(a).hex())
            if instr.op in ("cast", "copy"):
                made[instr.out] = apply("to_truth", *operands) if instr.out.dtype.char == "?" else operands[0]
            else:
                made[instr.out] = apply(instr.op, *operands)
        self._stores = [i.out for i in self.instrs if self.uses[i.out] > inside[i.out]]
        stores = [(v.dtype.char, made[v]) for v in self._stores]
        self._text = kernel(self.kind or "f", tuple(operations), tuple(loads), tuple(stores))
        return self._text

    def tables(self, parts: int) -> list[list[int]]:
        """The kernel's arguments, for each of so many parts of its rows, or of its one row."""
        self.text()
        rows, cols, strides = self._layout()
        outs = [len(self.loads) + self.values[v] for v in self._stores]
        arrays = [*self.loads.values(), *self._outs]
        by_rows, unit = (True, 1) if rows > 1 else (False, 4 * LANES)
        length = -(-(rows if by_rows else cols) // (parts * unit)) * unit
        tables = []
        for start in range(0, rows if by_rows else cols, length):
            count = min(length, (rows if by_rows else cols) - start)
            numbers = [count, cols] if by_rows else [rows, count]
            for k in (*range(len(self.loads)), *outs):
                down, right = strides[k]
                numbers += [arrays[k].__array_interface__["data"][0] + start * (down if by_rows else right), down]
            tables.append(numbers)
        return tables

    def _layout(self) -> tuple[int, int, list[tuple[int, int]]]:
        """Rows, columns, and the strides of all that is read and made."""
        layout = _rows([*self.loads.values(), *self._outs], self.shape)
        if layout is None:  # `try_add` has seen that there is one, and it never changes
            raise RuntimeError("compile: the arrays of a kernel have moved since it was put together")
        return layout


def _merged(arrays: list[Array], shape: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """The dimensions, those that lie alike in all arrays merged: lengths, with the strides of each array."""
    dims: list[tuple[int, list[int]]] = []
    for d in range(len(shape)):
        if shape[d] == 1:
            continue
        strides = [a.strides[d] for a in arrays]
        if dims and all(before == s * shape[d] for before, s in zip(dims[-1][1], strides, strict=True)):
            dims[-1] = (dims[-1][0] * shape[d], strides)
        else:
            dims.append((shape[d], strides))
    return dims or [(1, [a.itemsize for a in arrays])]


def _rows(arrays: list[Array], shape: tuple[int, ...]) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Rows, columns, and for each array its strides along both; None if two loops do not reach everything."""
    dims = _merged(arrays, shape)
    if len(dims) > 2:
        return None
    cols, inner = dims[-1]
    rows, outer = dims[0] if len(dims) == 2 else (1, [0] * len(arrays))
    if any(s not in (0, a.itemsize) for a, s in zip(arrays, inner, strict=True)):
        return None
    return rows, cols, list(zip(outer, inner, strict=True))


def _span(a: Array) -> _Span:
    """The addresses from which to which an array lies; and the bytes from one row to the next, and those of a row."""
    start = int(a.__array_interface__["data"][0])
    last = sum([(n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)])
    (rows, outer), (cols, inner) = ([(1, [0]), *_merged([a], a.shape)])[-2:]
    in_rows = rows > 1 and inner[0] == a.itemsize and cols * a.itemsize <= outer[0]
    period, width = (outer[0], cols * a.itemsize) if in_rows else (0, 0)
    return start + min(last, 0), start + max(last, 0) + a.itemsize, period, width


def _overlap(a: _Span, b: _Span) -> bool:
    if a[1] <= b[0] or b[1] <= a[0]:
        return False
    if not a[2] or a[2] != b[2]:
        return True
    apart = (b[0] - a[0]) % a[2]  # the rows of both lie side by side, as columns of one matrix do
    return apart < a[3] or apart + b[3] > a[2]


def _same_elements(a: Array, b: Array) -> bool:
    return (
        a.__array_interface__["data"] == b.__array_interface__["data"] and a.strides == b.strides and a.dtype == b.dtype
    )
