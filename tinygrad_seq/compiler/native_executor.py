"""Running a program with native code: elementwise chains, products, lookups and copies; the rest with NumPy.

Native steps that follow each other are one call of Python, during which other threads can run.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any, NamedTuple

from ..backend import Array, blas_function
from ..backend import numpy_module as numpy
from . import native_calls
from .groups import Group
from .kernels import ARITHMETIC, FUNCTIONS, kernel
from .machine_code import compiled, function_of_table
from .memory_plan import MemoryPlan
from .numpy_executor import NumpyExecutor, Step
from .operations import HOLE, VIEWS
from .passes.slices import sliced
from .program import Instr, Program, Var

_MANY = 128  # operations: more than a kernel has
_STRAIGHT, _TURNED = 111, 112  # CBLAS's numbers for a matrix as it lies, and transposed
_SMALL = 1 << 18  # elements of a matrix that one core reads as fast as two, which would have to wait for each other


class Native(NamedTuple):
    """A step in native code: the text of a function, and the numbers of its table."""

    text: str
    table: list[int]


class NativeExecutor(NumpyExecutor):
    """Runs elementwise operations that follow each other on one shape as one kernel: each array is read once."""

    name = "native"

    def __init__(self, program: Program) -> None:
        super().__init__(sliced(program, (*ARITHMETIC, *FUNCTIONS)))
        self._tables: list[Array] = []  # the native functions' arguments, which nobody else holds
        self._wrong = numpy.zeros(1, numpy.int64)  # set by a lookup whose index is out of range
        self._lookups: list[tuple[Array, int]] = []
        self._ones: dict[Any, Array] = {}
        self._parts: list[list[Instr]] = []
        self._uses: Counter[Var] = Counter()  # how often each Var is needed, as an operand or a result

    def run(self, arrays: list[Array], numbers: list[Any]) -> dict[Var, Array]:
        values = super().run(arrays, numbers)
        if self._wrong[0]:
            self._wrong[0] = 0
            for index, rows in self._lookups:
                bad = index[(index < -rows) | (index >= rows)]
                if bad.size:
                    raise IndexError(f"compile: index {bad[0]} is out of bounds for a dimension of {rows}")
        return values

    def _planned_for(self, outside: dict[Var, Array]) -> MemoryPlan:
        """A plan in which a kernel is one operation: what is made and used up inside of it has no memory.

        What a kernel can take depends on where things lie, so there is a first plan, in which nothing lies where
        something did shortly before; its memory is never written to.
        """
        program = self.program
        self.plan = MemoryPlan(program, outside, patience=_MANY)
        self._parts = self._parted()
        times: list[int] = []
        fleeting: set[Var] = set()
        rest = iter([*[(instr, n) for n, part in enumerate(self._parts) for instr in part], (None, -1)])
        instr, n = next(rest)
        now = 0
        for each in program.instrs:  # views, which are in no part, happen with what stands before
            if each is instr:
                now = n
                instr, n = next(rest)
            times.append(now)
        for part in self._parts:
            inside = Counter([v for instr in part for v in instr.inputs()])
            fleeting.update([i.out for i in part if inside[i.out] and self._uses[i.out] == inside[i.out]])
        self._plain = partial(MemoryPlan, program, outside, times=times, fleeting=fleeting, inherit=False)
        return MemoryPlan(program, outside, times=times, fleeting=fleeting)

    def _parted(self) -> list[list[Instr]]:
        """The operations, those of one kernel together; views are not among them."""
        self._uses = Counter([v for instr in self.program.instrs for v in instr.inputs()] + self.program.outputs)
        parts: list[list[Instr]] = []
        group: Group | None = None
        for instr in self.program.instrs:
            if instr.op in VIEWS:
                continue
            if group is not None and group.take(instr):
                parts[-1].append(instr)
                continue
            group = Group(self, self._uses, self.plan.arrays[instr.out].shape)
            group = group if group.take(instr) else None
            parts.append([instr])
        return parts

    def _all_steps(self) -> list[Step]:
        self._tables, self._lookups = [], []
        steps: list[Native | Step] = []
        found = self._groups()
        if found is None:  # what takes another one's place lies in a way that a kernel cannot follow
            self.plan = self._plain()
            found = self._groups() or []
        for part, group in zip(self._parts, found, strict=True):
            if group is not None:
                steps.append(Native(group.text(), group.table()))
            else:
                native = self._native(part[0])
                steps += self._steps_of(part[0]) if native is None else native
        groups = [group for group in found if group is not None]
        kernels = len({g.text() for g in groups})
        fused = [len(g.instrs) for g in groups]
        self.program.notes.append(f"{sum(fused)} elementwise operations in {len(fused)} calls of {kernels} kernels")
        kernel.cache_clear()  # long texts, of which another program has few
        return self._joined(steps)

    def _groups(self) -> list[Group | None] | None:
        """For each part its kernel, or None if it is no such operation; None for all if one does not come about."""
        found: list[Group | None] = []
        for part in self._parts:
            group = Group(self, self._uses, self.plan.arrays[part[0].out].shape)
            taken = all(group.take(instr) for instr in part)
            if not taken and len(part) > 1:
                return None
            found.append(group if taken else None)
        return found

    def _joined(self, steps: list[Native | Step]) -> list[Step]:
        """The steps, with native ones that follow each other as one."""
        addresses = compiled(sorted({native_calls.RUN, *[s.text for s in steps if isinstance(s, Native)]}))
        run = function_of_table(addresses[native_calls.RUN])
        joined: list[Step] = []
        calls: list[int] = []
        for step in [*steps, None]:
            if isinstance(step, Native):
                calls += [addresses[step.text], self._kept(step.table)]
            elif calls:
                joined.append((run, (self._kept([len(calls) // 2, *calls]),)))
                calls = []
            if step is not None and not isinstance(step, Native):
                joined.append(step)
        native = sum([isinstance(s, Native) for s in steps])
        self.program.notes.append(f"{native} of {len(steps)} steps native, {len(joined)} calls of Python")
        return joined

    def _kept(self, table: list[int]) -> int:
        """The address of a table that lives as long as the steps."""
        self._tables.append(numpy.array(table, dtype=numpy.int64))
        return _address(self._tables[-1])

    # --- operations that are native functions; None where one does not fit ---

    def _native(self, instr: Instr) -> list[Native | Step] | None:
        arrays = self.plan.arrays
        out = arrays[instr.out]
        if instr.op == "concat":
            return [self._copy(place, array) for place, array in self.pieces(instr, out)]
        if not out.size or out.dtype.char not in "fd":
            return None
        args = [arrays[a] for a in instr.args if type(a) is Var]
        if len(args) != len(instr.args) or any(a.size == 0 for a in args):
            return None
        if instr.op == "matmul":
            return self._product(args[0], args[1], out)
        if instr.op == "sum" and args[0].ndim == 2 and instr.params["axis"] in (0, (0,)):
            return self._sum_of_rows(args[0], out)
        if instr.op == "take" and instr.params["index"] == (HOLE,):
            return self._lookup(native_calls.take_rows, args[0], out, args[1])
        if instr.op == "scatter_add" and instr.params["index"] == (HOLE,):
            added = self._lookup(native_calls.add_rows, out, args[1], args[2])
            return added and [self._copy(out, args[0]), *added]
        return None

    def _product(self, a: Array, b: Array, out: Array) -> list[Native | Step] | None:
        if not (a.ndim == b.ndim == out.ndim == 2 and a.dtype == b.dtype == out.dtype):
            return None
        kind, (m, n), k = out.dtype.char, out.shape, a.shape[1]
        left, right, whole = _leading(a), _leading(b), _leading(out)
        if left is None or right is None or whole is None or whole[0]:
            return None
        if m == 1 and not left[0] and b.size <= _SMALL:
            text = native_calls.rows_times_vector(kind) if right[0] else native_calls.vector_times_rows(kind)
            return [Native(text, [_address(b), right[1], _address(a), _address(out), n, k])]
        vector = m == 1 and not left[0]  # y = Bᵀ x
        blas = blas_function("gemv" if vector else "gemm", kind)
        if blas is None:
            return None
        if vector:
            sizes = [_STRAIGHT, n, k] if right[0] else [_TURNED, k, n]
            operands = [_address(b), right[1], _address(a), _address(out)]
            return [Native(native_calls.gemv(kind, blas.integer), [blas.address, *sizes, *operands])]
        turned = [_TURNED if turned else _STRAIGHT for turned, _ in (left, right)]
        operands = [_address(a), left[1], _address(b), right[1], _address(out), whole[1]]
        return [Native(native_calls.gemm(kind, blas.integer), [blas.address, *turned, m, n, k, *operands])]

    def _sum_of_rows(self, x: Array, out: Array) -> list[Native | Step] | None:
        """The product with a row of ones."""
        whole = _leading(x)
        if x.dtype != out.dtype or whole is None or whole[0] or not out.flags.c_contiguous or out.size == 1:
            return None  # one column NumPy adds up in pairs
        ones = self._ones.setdefault((x.shape[0], x.dtype), numpy.ones(x.shape[0], x.dtype))
        operands = [_address(x), whole[1], _address(ones), _address(out), x.shape[1], x.shape[0]]
        return [Native(native_calls.vector_times_rows(x.dtype.char), operands)]

    def _lookup(self, made: Any, table: Array, rows: Array, index: Array) -> list[Native | Step] | None:
        """Rows of a table, taken or added to; `rows` are as many as the index has entries."""
        plain = table.flags.c_contiguous and rows.flags.c_contiguous and index.flags.c_contiguous
        if not plain or index.dtype.char != "l" or table.dtype != rows.dtype or not table.ndim:
            return None
        count, width = table.shape[0], table.size // table.shape[0]
        if rows.size != index.size * width:  # broadcast
            return None
        self._lookups.append((index, count))
        operands = [_address(self._wrong), _address(table), _address(rows), _address(index), index.size, count, width]
        return [Native(made(table.dtype.char), operands)]

    def _copy(self, target: Array, source: Array) -> Native | Step:
        same = target.shape == source.shape and target.dtype == source.dtype
        if same and target.flags.c_contiguous and source.flags.c_contiguous:
            return Native(native_calls.COPY, [_address(target), _address(source), source.nbytes])
        return (numpy.copyto, (target, source))


def _address(a: Array) -> int:
    return int(a.__array_interface__["data"][0])


def _leading(a: Array) -> tuple[bool, int] | None:
    """Of a matrix, whether its columns lie in one piece rather than its rows, and the elements from one to the next."""
    (rows, cols), (down, right) = a.shape, [s // a.itemsize for s in a.strides]
    if any(s % a.itemsize for s in a.strides):
        return None
    if (right == 1 or cols == 1) and (down >= cols or rows == 1):
        return False, max(down, cols)
    if (down == 1 or rows == 1) and (right >= rows or cols == 1):
        return True, max(right, rows)
    return None
