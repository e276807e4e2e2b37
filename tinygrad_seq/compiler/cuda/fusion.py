"""Operations of a program that become one CUDA kernel.

A group is a run of operations on elements of one shape; reductions over its last dimension may be among them, and
operations on what these leave. Without a reduction each thread takes elements by themselves. With one, a block of
threads takes a row: it goes over the row once for each reduction, and at the end once more for what is to be written.
Softmax, cross-entropy and layer normalisation are such groups, and nothing here knows their names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from ..program import Instr, Number, Var
from .codegen import (
    PRELUDE,
    REDUCTIONS,
    TYPES,
    combined,
    expression,
    literal,
    loop_kind,
    merged,
    nothing,
    offset,
    unravelled,
)

_MOST = 128  # operations and arrays of one kernel
_THREADS = 256  # of a block that takes elements
_LONG, _FEW = 4096, 16  # rows that are this long and this few are left to CUB, which splits a row among blocks

Strides = tuple[int, ...]


class Layout:
    """Where the arrays of a program lie: what `Group` has to know of them."""

    arrays: dict[Var, Any]
    producers: dict[Var, Instr]
    uses: Counter[Var]

    def __init__(self, arrays: dict[Var, Any], address: Any, producers: dict[Var, Instr], uses: Counter[Var]) -> None:
        self.arrays, self._address, self.producers, self.uses = arrays, address, producers, uses
        self._spans: dict[Var, tuple[int, int]] = {}

    def address(self, var: Var) -> int:
        return int(self._address(self.arrays[var]))

    def span(self, var: Var) -> tuple[int, int]:
        """The first and the last byte."""
        if var not in self._spans:
            start, array = self.address(var), self.arrays[var]
            reach = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
            low, high = sum([r for r in reach if r < 0]), sum([r for r in reach if r > 0])
            self._spans[var] = (start + low, start + high + var.dtype.itemsize)
        return self._spans[var]

    def strides(self, var: Var, shape: tuple[int, ...]) -> Strides | None:
        """Elements between neighbours of an array that is broadcast to a shape; None if they are not whole elements."""
        array, size = self.arrays[var], int(var.dtype.itemsize)
        missing = len(shape) - len(array.shape)
        if missing < 0 or any(n not in (1, wanted) for n, wanted in zip(array.shape, shape[missing:], strict=True)):
            return None
        found = [0] * missing + [0 if n == 1 else s for n, s in zip(array.shape, array.strides, strict=True)]
        return None if any(s % size for s in found) else tuple([s // size for s in found])

    def overlap(self, a: Var, b: Var) -> bool:
        (a0, a1), (b0, b1) = self.span(a), self.span(b)
        return a0 < b1 and b0 < a1

    def same_place(self, a: Var, b: Var) -> bool:
        x, y = self.arrays[a], self.arrays[b]
        return (self.address(a), x.strides, x.shape, a.dtype) == (self.address(b), y.strides, y.shape, b.dtype)


class Group:
    """Operations that become one kernel: `try_add` them one after another, then ask for `text` and `arguments`.

    Attributes:
        instrs: the operations.
        name: of the kernel, made of its text.
    """

    reduces: bool

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.instrs: list[Instr] = []
        self.full: tuple[int, ...] = ()  # the shape that rows are cut from, or of all elements
        self.reduces = False
        self._level: dict[Var, str] = {}  # of what is made here: an "element" or one for a whole "row"
        self._loads: dict[tuple[Any, str], Strides] = {}
        self._numbers: set[int] = set()
        self._written: tuple[str, list[Var]] | None = None

    # --- what belongs to it ---

    def try_add(self, instr: Instr) -> bool:
        """Add an operation, if it can be a part of this kernel."""
        reduction = self._is_reduction(instr)
        if not reduction and loop_kind(instr) is None:
            return False
        if instr.out.size == 0 or len(self.instrs) + len(self._loads) > _MOST:
            return False
        full = self.full
        if not self.instrs:
            full = instr.args[0].shape if reduction else instr.out.shape
        level = self._level_of(instr, full, reduction)
        if level is None:
            return False
        inner = "element" if reduction else level
        new: dict[tuple[Any, str], Strides] = {}
        for a in instr.args:
            if type(a) is Var and not self._finds(a, inner, full, instr, new):
                return False
        loads = self._loads | new
        out = instr.out
        if any(self.layout.overlap(out, other.out) for other in self.instrs):
            return False
        for (var, at), _ in loads.items():
            if self.layout.overlap(var, out) and not (at == level and self.layout.same_place(var, out)):
                return False
        if self.layout.strides(out, out.shape) is None:
            return False
        self.full, self._loads, self.reduces = full, loads, self.reduces or reduction
        self._numbers |= {a.index for a in instr.args if type(a) is Number}
        self._level[out] = level
        self.instrs.append(instr)
        return True

    def _is_reduction(self, instr: Instr) -> bool:
        x = instr.args[0] if instr.args else None
        if instr.op not in REDUCTIONS or type(x) is not Var or not x.shape or x.dtype != instr.out.dtype:
            return False
        axis = instr.params["axis"]
        axes = tuple(range(len(x.shape))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        last = [a % len(x.shape) for a in axes] == [len(x.shape) - 1]
        few = x.size // max(x.shape[-1], 1) < _FEW and x.shape[-1] > _LONG
        return last and x.dtype.char in "fd" and x.shape[-1] > 1 and x.size > 0 and not few

    def _level_of(self, instr: Instr, full: tuple[int, ...], reduction: bool) -> str | None:
        if reduction:
            return "row" if instr.args[0].shape == full else None
        if instr.out.shape == full:
            return "element"
        return "row" if self.reduces and instr.out.shape in _row_shapes(full) else None

    def _finds(self, a: Var, level: str, full: tuple[int, ...], instr: Instr, new: dict[Any, Strides]) -> bool:
        """Whether an operand is at hand: made here, or something that can be read."""
        root = self._root(a, full)
        if root is not None:
            if self._level[root] == "element":
                return root is a and level == "element"
            return a.shape in _row_shapes(full) if level == "row" else a.shape in (full, (*full[:-1], 1))
        if any(self.layout.overlap(a, made.out) for made in self.instrs):
            return False  # a view of something that is not there before the kernel is done
        shape = full if level == "element" else instr.out.shape
        strides = self.layout.strides(a, shape)
        if strides is None:
            return False
        if level == "row" and len(shape) == len(full):
            strides = strides[:-1]
        new[a, level] = strides
        return (a, level) not in self._loads or self._loads[a, level] == strides

    def _root(self, a: Var, full: tuple[int, ...]) -> Var | None:
        """What is made here, seen through rearrangements of one number for each row; None for all else."""
        rows = _row_shapes(full)
        while a not in self._level:
            made = self.layout.producers.get(a)
            if made is None or made.op not in ("reshape", "broadcast"):
                return None
            inner = made.args[0]
            widened = made.op == "broadcast" and inner.shape == (*full[:-1], 1) and a.shape == full
            if not widened and not (made.op == "reshape" and inner.shape in rows and a.shape in rows):
                return None
            a = inner
        return a

    # --- the kernel ---

    def _stores(self) -> list[Var]:
        """What others will ask for."""
        inside = Counter([v for instr in self.instrs for v in instr.inputs() if v in self._level])
        return [i.out for i in self.instrs if self.layout.uses[i.out] > inside[i.out]]

    @property
    def name(self) -> str:
        return f"tg_{hashlib.sha256(self._body().encode()).hexdigest()[:16]}"

    def text(self) -> str:
        """The kernel, as CUDA C++. It says how many threads a block has: they get no more registers than fit."""
        return f'extern "C" __launch_bounds__({self.blocks()[1]}) __global__ void {self.name}{self._body()}'

    def arguments(self) -> list[int]:
        """The addresses of what it reads and writes, in the order of its parameters; that of the numbers comes last."""
        return [self.layout.address(v) for v, _ in self._loads] + [self.layout.address(v) for v in self._stores()]

    @property
    def takes_numbers(self) -> bool:
        """Whether it reads the program's numbers, whose address is its last argument."""
        return bool(self._numbers)

    def blocks(self) -> tuple[int, int]:
        """How many blocks, of how many threads."""
        count = 1
        for n in self.full:
            count *= n
        if not self.reduces:
            return min(-(-count // _THREADS), 2**20), _THREADS
        return count // self.full[-1], self._width()

    def _width(self) -> int:
        """Threads for a row: a power of two."""
        return min(max(1 << (self.full[-1] - 1).bit_length(), 32), 512)

    def _body(self) -> str:
        if self._written is None:
            stores = self._stores()
            parameters = [f"const {TYPES[v.dtype.char]}* a{k}" for k, (v, _) in enumerate(self._loads)]
            parameters += [f"{TYPES[v.dtype.char]}* b{k}" for k, v in enumerate(stores)]
            parameters += ["const double* numbers"] if self._numbers else []
            lines = self._rows(stores) if self.reduces else self._elements(stores)
            text = f"({', '.join(parameters)}) {{\n" + "\n".join([f"    {line}" for line in lines]) + "\n}\n"
            self._written = (text, stores)
        return self._written[0]

    def _elements(self, stores: list[Var]) -> list[str]:
        outs = [self.layout.strides(v, self.full) or () for v in stores]
        lengths, strides = merged(self.full, [*self._loads.values(), *outs])
        count = 1
        for n in self.full:
            count *= n
        lines = [
            "const long long step = (long long)gridDim.x * blockDim.x;",
            f"for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < {count}; i += step) {{",
        ]
        body = unravelled("i", "d", lengths)
        at = [offset(s, "d") for s in strides]
        names = self._read(body, list(self._loads), at[: len(self._loads)])
        for instr in self.instrs:
            body.append(self._statement(instr, names))
        body += [f"b{k}[{at[len(self._loads) + k]}] = {names[v]};" for k, v in enumerate(stores)]
        return [*lines, *[f"    {line}" for line in body], "}"]

    def _rows(self, stores: list[Var]) -> list[str]:
        columns, outer = self.full[-1], self.full[:-1]
        wide = [key for key in self._loads if key[1] == "element"]
        narrow = [key for key in self._loads if key[1] == "row"]
        rows = [self._loads[key][: len(outer)] for key in (*wide, *narrow)]
        rows += [(self.layout.strides(v, v.shape) or ())[: len(outer)] for v in stores]
        lengths, strides = merged(outer, rows)
        at = dict(zip([*wide, *narrow, *stores], [offset(s, "r") for s in strides], strict=True))
        self._spots: dict[Any, str] = {
            key: f"{at[key]} + c * {self._loads[key][-1]}" if self._loads[key][-1] else at[key] for key in wide
        }
        lines = unravelled("(long long)blockIdx.x", "r", lengths)
        if any(i.op in REDUCTIONS for i in self.instrs):
            kinds = {i.out.dtype.char for i in self.instrs if self._is_reduction(i)}
            lines += [f"__shared__ {TYPES[k]} part_{k}[{self._width()}];" for k in sorted(kinds)]
        names = self._read(lines, narrow, [at[key] for key in narrow])
        for n, instr in enumerate(self.instrs):
            if self._level[instr.out] == "element":
                continue
            if self._is_reduction(instr):
                lines += self._reduction(n, instr, names, columns)
                names[instr.out] = f"v{n}"
            else:
                lines.append(self._statement(instr, names))
        left = [v for v in stores if self._level[v] == "element"]
        if left:
            lines.append(f"for (int c = threadIdx.x; c < {columns}; c += {self._width()}) {{")
            inner, found = self._inside(left, names)
            for v in left:
                step = (self.layout.strides(v, v.shape) or (0,))[-1]
                inner.append(f"b{stores.index(v)}[{at[v]} + c * {step}] = {found[v]};")
            lines += [*[f"    {line}" for line in inner], "}"]
        for_rows = [v for v in stores if self._level[v] == "row"]
        if for_rows:
            lines.append("__syncthreads();")  # all have read what may lie in the same place
            lines.append("if (threadIdx.x == 0) {")
            lines += [f"    b{stores.index(v)}[{at[v]}] = {names[v]};" for v in for_rows]
            lines.append("}")
        return lines

    def _reduction(self, n: int, instr: Instr, names: dict[Any, str], columns: int) -> list[str]:
        """Each thread goes over its part of the row, and then they put their parts together, half of them at a time."""
        kind, width, op = instr.out.dtype.char, self._width(), instr.op
        inner, found = self._inside([instr.args[0]], names)
        value = found[self._key(instr.args[0], "element")]
        inner.append(f"p{n} = {combined(op, kind, f'p{n}', value)};")
        part = f"part_{kind}"
        mine, other = f"{part}[threadIdx.x]", f"{part}[threadIdx.x + half]"
        return [
            f"{TYPES[kind]} p{n} = {nothing(op, kind)};",
            f"for (int c = threadIdx.x; c < {columns}; c += {width}) {{",
            *[f"    {line}" for line in inner],
            "}",
            f"{mine} = p{n};",
            "__syncthreads();",
            f"for (int half = {width // 2}; half > 0; half /= 2) {{",
            f"    if (threadIdx.x < half) {mine} = {combined(op, kind, mine, other)};",
            "    __syncthreads();",
            "}",
            f"const {TYPES[kind]} v{n} = {part}[0];",
            "__syncthreads();",
        ]

    def _inside(self, wanted: list[Var], names: dict[Any, str]) -> tuple[list[str], dict[Any, str]]:
        """Statements that compute elements of a row, and what these are called: again at each pass over it."""
        needed: set[Any] = {self._key(v, "element") for v in wanted}
        for instr in reversed(self.instrs):
            if instr.out in needed and self._level[instr.out] == "element":
                needed |= {self._key(a, "element") for a in instr.inputs()}
        lines: list[str] = []
        found = dict(names)
        reads = [key for key in self._loads if key in needed]
        found |= self._read(lines, reads, [self._spots[key] for key in reads])
        for instr in self.instrs:
            if instr.out in needed and self._level[instr.out] == "element":
                lines.append(self._statement(instr, found))
        return lines, found

    def _read(self, lines: list[str], keys: list[Any], at: list[str]) -> dict[Any, str]:
        order = {key: k for k, key in enumerate(self._loads)}
        for key, index in zip(keys, at, strict=True):
            k = order[key]
            lines.append(f"const {TYPES[key[0].dtype.char]} x{k} = a{k}[{index}];")
        return {key: f"x{order[key]}" for key in keys}

    def _key(self, a: Var, level: str) -> Any:
        """What an operand is known by: something made here, or something read."""
        return self._root(a, self.full) or (a, level)

    def _statement(self, instr: Instr, names: dict[Any, str]) -> str:
        kind = loop_kind(instr) or ""
        operands = []
        for position, a in enumerate(instr.args):
            truth = instr.op == "where" and position == 0
            if type(a) is Var:
                operands.append((names[self._key(a, self._level[instr.out])], a.dtype.char))
            elif type(a) is Number:
                operands.append((f"numbers[{a.index}]", "d"))
            else:
                operands.append((literal(a, "?" if truth else kind), "?" if truth else kind))
        value = f"v{self.instrs.index(instr)}"
        names[instr.out] = value
        text = expression(instr, operands)
        return f"const {TYPES[instr.out.dtype.char]} {value} = {text};"


def _row_shapes(full: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shapes of one number for each row: with and without the dimension that was summed over."""
    return (full[:-1], (*full[:-1], 1)) if full else ()


def module(groups: list[Group]) -> str:
    """All kernels of a program, each once."""
    return PRELUDE + "\n".join(sorted({g.text() for g in groups}))
