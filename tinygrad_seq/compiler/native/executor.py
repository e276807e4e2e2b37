"""Running a program with native code: elementwise chains, products, lookups and copies; the rest with NumPy.

Native steps that follow each other are one call of Python, during which other threads can run.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from ...backend import Array, blas_function
from ...backend import numpy_module as numpy
from ..memory.donation import donated_outputs, trailing_kernels
from ..memory.plan import MemoryPlan
from ..numpy.executor import NumpyExecutor, Step
from ..operations import HOLE, VIEWS
from ..passes import optimized
from ..passes.loop_bodies import finish_loops
from ..passes.rematerialization import rematerialize
from ..passes.slice_pushdown import push_down_slices
from ..passes.transpose_folding import fold_transposes
from ..passes.weight_prepacking import prepack_weights
from ..program import Instr, Program, Var
from . import runtime
from .arguments import Tables
from .fusion import Group
from .gemm import Matrix, Native, ParallelRegion, Products
from .gemm_microkernel import MR, panel_of
from .jit import compiled, function_of_table
from .layouts import OPERATION, SHARED, address, are_rows, of_rows, over_rows, shares, worth_waking
from .loop import loop_calls
from .pointwise import ARITHMETIC, FUNCTIONS
from .reductions import column_sums, reduction
from .scatter import LISTS, add_lists
from .thread_pool import REGION, ThreadPool, size

_MANY = 128  # operations: more than a kernel has
_STRAIGHT, _TRANSPOSED = 111, 112  # CBLAS's numbers for a matrix as it lies, and transposed
_LARGE = 1 << 15  # multiplications for which it pays to pack what is multiplied once
_SMALL = 1 << 18  # elements of a matrix that one core reads as fast as two, which would have to wait for each other


class NativeExecutor(NumpyExecutor):
    """Runs elementwise operations that follow each other on one shape as one kernel: each array is read once."""

    name = "native"
    plan: MemoryPlan

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.tables: Tables = Tables()  # the native functions' arguments
        self._spares: list[Array] = []
        self._bodies: list[NativeExecutor] = []  # of loops: what their calls read
        self._pool, self._products = ThreadPool(), Products()
        self._wrong = numpy.zeros(2, numpy.int64)  # of a lookup whose index is out of range: it, and the rows there are
        self.parts: list[list[Instr]] = []
        self._kernels: list[bool] = []  # which of these are
        self._settles = False  # whether a source is changed where it lies
        self._commit: Step | None = None  # the call that does that
        self._committed = numpy.zeros(1, numpy.int64)  # whether it has, in this run
        self._start = self._first = 0  # the program's first region, and that call's
        self._uses: Counter[Var] = Counter()  # how often each Var is needed, as an operand or a result

    def _rewritten(self, program: Program) -> Program:
        program = fold_transposes(finish_loops(program, self._rewritten_body))
        return prepack_weights(rematerialize(push_down_slices(program, (*ARITHMETIC, *FUNCTIONS))), _panel_width)

    def _rewritten_body(self, body: Program) -> Program:
        body = push_down_slices(fold_transposes(optimized(body)), (*ARITHMETIC, *FUNCTIONS))
        return prepack_weights(body, _panel_width)

    def _execute(self) -> None:
        self._committed[0] = 0
        try:
            self._pool.begin(self._start)
            super()._execute()
        finally:
            self._pool.end()

    def copy_all(self, pairs: list[tuple[Array, Array]]) -> None:
        """Compute what changes the sources, unless an interrupt came after that, and copy what lies elsewhere."""
        if self._commit is not None and not self._committed[0]:
            function, args = self._commit
            try:
                if self._first < self._pool.regions:
                    self._pool.begin(self._first)
                function(*args)
            finally:
                self._pool.end()
        super().copy_all([(target, made) for target, made in pairs if target is not made])

    def run(self, arrays: list[Array], numbers: list[Any]) -> dict[Var, Array]:
        self._wrong[1] = 0
        values = super().run(arrays, numbers)
        index, rows = self._wrong.tolist()
        if rows:
            raise IndexError(f"compile: index {index} is out of bounds for a dimension of {rows}")
        return values

    def _planned_for(self, outside: dict[Var, Array]) -> MemoryPlan:
        """A plan in which a kernel is one operation: what is made and used up inside of it has no memory.

        What a kernel can take depends on where things lie, so there is a first plan, in which nothing lies where
        something did shortly before; its memory is never written to.
        """
        program = self.program
        self.plan = MemoryPlan(program, outside, reuse_distance=_MANY)
        self.parts = self._parted()
        times: list[int] = []
        fusion_temporaries: set[Var] = set()
        rest = iter([*[(instr, n) for n, part in enumerate(self.parts) for instr in part], (None, -1)])
        instr, n = next(rest)
        now = 0
        for each in program.instrs:  # views, which are in no part, happen with what stands before
            if each is instr:
                now = n
                instr, n = next(rest)
            times.append(now)
        for part in self.parts:
            inside = Counter([v for instr in part for v in instr.inputs()])
            fusion_temporaries.update([i.out for i in part if inside[i.out] and self._uses[i.out] == inside[i.out]])
        self._plain = partial(
            MemoryPlan, program, outside, times=times, fusion_temporaries=fusion_temporaries, reuse_in_place=False
        )
        return self._with_donations(MemoryPlan(program, outside, times=times, fusion_temporaries=fusion_temporaries))

    def _with_donations(self, plan: MemoryPlan) -> MemoryPlan:
        """The plan, with what the last kernels make in the place of what it replaces."""
        found = donated_outputs(self.program, self.parts, trailing_kernels(self._kernels), plan.arrays)
        plan.arrays |= found
        self._settles = bool(found)
        return plan

    def _parted(self) -> list[list[Instr]]:
        """The operations, those of one kernel together; views are not among them."""
        self._uses = Counter([v for instr in self.program.instrs for v in instr.inputs()] + self.program.outputs)
        parts: list[list[Instr]] = []
        self._kernels = []
        group: Group | None = None
        for instr in self.program.instrs:
            if instr.op in VIEWS:
                continue
            if group is not None and group.try_add(instr):
                parts[-1].append(instr)
                continue
            group = Group(self, self._uses, self.plan.arrays[instr.out].shape)
            group = group if group.try_add(instr) else None
            parts.append([instr])
            self._kernels.append(group is not None)
        return parts

    def _all_steps(self) -> list[Step]:
        steps = self.steps_of_parts()
        last = sum(map(len, steps[: trailing_kernels(self._kernels)])) if self._settles else None
        joined = self._joined([step for part in steps for step in part], last)
        self._commit = None if last is None else joined.pop()
        return joined

    def steps_of_parts(self) -> list[list[Native | ParallelRegion | Step]]:
        """What to call, for each part."""
        self.tables, self._spares, self._bodies = Tables(), [], []
        self._pool, self._products = ThreadPool(), Products()
        steps: list[list[Native | ParallelRegion | Step]] = []
        found, first = self._groups(), trailing_kernels(self._kernels)
        if found is None or (self._settles and None in found[first:]):
            # a result in another one's buffer has strides that a kernel cannot take
            self.plan, self._settles = self._plain(), False
            found = self._groups() or []
        for part, group in zip(self.parts, found, strict=True):
            if group is not None:
                time = group.size * OPERATION
                tables = group.tables(size() if time > SHARED else 1)
                steps.append([ParallelRegion([Native(group.text(), table) for table in tables], time)])
            else:
                steps.append(self.steps_of(part[0]))
        groups = [group for group in found if group is not None]
        kernels = len({g.text() for g in groups})
        fused = [len(g.instrs) for g in groups]
        self.program.notes.append(f"{sum(fused)} elementwise operations in {len(fused)} calls of {kernels} kernels")
        return steps

    def steps_of(self, instr: Instr) -> list[Native | ParallelRegion | Step]:
        """What to call for an operation that is no part of a kernel."""
        native = self._native(instr)
        return [*self._steps_of(instr)] if native is None else native

    def _groups(self) -> list[Group | None] | None:
        """For each part its kernel, or None if it is no such operation; None for all if one does not come about."""
        found: list[Group | None] = []
        for part in self.parts:
            group = Group(self, self._uses, self.plan.arrays[part[0].out].shape)
            taken = all(group.try_add(instr) for instr in part)
            if not taken and len(part) > 1:
                return None
            found.append(group if taken else None)
        return found

    def _joined(self, steps: list[Native | ParallelRegion | Step], last: int | None) -> list[Step]:
        """The steps, with native ones that follow each other as one, but those from `last` on as one of their own."""
        regions = [
            s if isinstance(s, ParallelRegion) else ParallelRegion([s], 0)
            for s in steps
            if isinstance(s, (Native, ParallelRegion))
        ]
        texts = {native.text for region in regions for native in region.calls}
        addresses = self._code = compiled(sorted({runtime.RUN, runtime.COPY, REGION, *texts}))
        run = function_of_table(addresses[runtime.RUN])
        shared = worth_waking(sum([s.time for s in regions]))
        joined: list[Step] = []
        self._start = self._pool.regions  # those of loops come before
        calls: list[int] = []
        if last is not None:
            flag, one = [address(a) for a in (self._committed, self._spare((1,), numpy.int64))]
            self._spares[-1][0] = 1
            steps = [*steps, Native(runtime.COPY, [flag, one, 8])]
        for n, step in enumerate([*steps, None]):
            if n == last:
                self._first = self._pool.regions
                if calls:
                    joined.append((run, (self.tables.add([len(calls) // 2, *calls]),)))
                    calls = []
            if isinstance(step, (Native, ParallelRegion)):
                natives = step.calls if isinstance(step, ParallelRegion) else [step]
                given = [n for native in natives for n in (addresses[native.text], self.tables.add(native.table))]
                if shared and isinstance(step, ParallelRegion) and len(natives) > 1 and step.time > SHARED:
                    given = [addresses[REGION], self.tables.add([self._pool.address, self._pool.add(given)])]
                calls += given
            elif calls:
                joined.append((run, (self.tables.add([len(calls) // 2, *calls]),)))
                calls = []
            if step is not None and not isinstance(step, (Native, ParallelRegion)):
                joined.append(step)
        self.program.notes.append(f"{len(regions)} of {len(steps)} steps native, {len(joined)} calls of Python")
        return joined

    # --- operations that are native functions; None where one does not fit ---

    def _native(self, instr: Instr) -> list[Native | ParallelRegion | Step] | None:
        arrays = self.plan.arrays
        out = arrays[instr.out]
        if instr.op == "loop":
            return self._native_loop(instr)
        if instr.op == "concat":
            return [self.copy(target, array) for target, array in self.pieces(instr, out)]
        if not out.size or out.dtype.char not in "fd":
            return None
        args = [arrays[a] for a in instr.args if type(a) is Var]
        if instr.op in ("pack", "matmul_packed"):
            return self._packed(instr.op, args, out)
        if len(args) != len(instr.args) or any(a.size == 0 for a in args):
            return None
        if instr.op == "matmul":
            return self._product(args[0], args[1], out)
        if instr.op in ("sum", "max") and of_rows(args[0], out, instr.params["axis"]):
            return [self._reduction(instr.op, args[0], out)]
        if instr.op == "sum" and over_rows(args[0], instr.params["axis"]):
            return self._sum_of_rows(args[0].reshape(-1, args[0].shape[-1]), out)
        if instr.op == "take" and instr.params["index"] == (HOLE,):
            return self._taken(args[0], out, args[1])
        if instr.op == "scatter_add" and instr.params["index"] == (HOLE,):
            added = self._added(out, args[1], args[2])
            return added and [self.copy(out, args[0]), *added]
        return None

    def _product(self, a: Array, b: Array, out: Array) -> list[Native | ParallelRegion | Step] | None:
        if not (a.ndim == b.ndim == out.ndim == 2 and a.dtype == b.dtype == out.dtype):
            return None
        kind, (m, n), k = out.dtype.char, out.shape, a.shape[1]
        left, right, result = Matrix.of(a), Matrix.of(b), Matrix.of(out)
        if left is None or right is None or result is None or result.transposed:
            return None
        vector = m == 1 and not left.transposed  # y = Bᵀ x
        if vector and b.size <= _SMALL:
            text = runtime.rows_times_vector(kind) if right.transposed else runtime.vector_times_rows(kind)
            return [Native(text, [right.address, right.ld, left.address, result.address, n, k])]
        panel = panel_of(kind)
        if panel is not None and m >= MR and 2 * n >= panel.nr and m * n * k >= _LARGE:
            return [*self._products.product(kind, left, right, result, m, n, k)]
        blas = blas_function("gemv" if vector else "gemm", kind)
        if blas is None:
            return None
        if vector:
            sizes = [_STRAIGHT, n, k] if right.transposed else [_TRANSPOSED, k, n]
            operands = [right.address, right.ld, left.address, result.address]
            return [Native(runtime.gemv(kind, blas.integer), [blas.address, *sizes, *operands])]
        transposed = [_TRANSPOSED if matrix.transposed else _STRAIGHT for matrix in (left, right)]
        operands = [n for matrix in (left, right, result) for n in (matrix.address, matrix.ld)]
        return [Native(runtime.gemm(kind, blas.integer), [blas.address, *transposed, m, n, k, *operands])]

    def _packed(self, op: str, args: list[Array], out: Array) -> list[Native | ParallelRegion | Step]:
        """A matrix as panels, or a product with one that is packed."""
        kind, x = out.dtype.char, args[0]
        rows, cols = x.shape
        before: list[Native | ParallelRegion | Step] = []
        after: list[Native | ParallelRegion | Step] = []
        left = Matrix.of(x)
        if left is None:  # neither its rows nor its columns lie in one piece
            spare = self._spare(x.shape, x.dtype)
            before.append((numpy.copyto, (spare, x)))
            left = Matrix(address(spare), False, cols)
        if op == "pack":
            return [*before, self._products.packed(kind, left, rows, cols, address(out))]
        result = Matrix.of(out)
        if result is None or result.transposed:
            spare = self._spare(out.shape, out.dtype)
            after.append((numpy.copyto, (out, spare)))
            result = Matrix(address(spare), False, out.shape[1])
        product = self._products.multiplied(kind, left, address(args[1]), result, rows, out.shape[1], cols)
        return [*before, *product, *after]

    def _spare(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory for an array of this shape, in one piece."""
        self._spares.append(numpy.empty(shape, dtype))
        return self._spares[-1]

    def _sum_of_rows(self, x: Array, out: Array) -> list[Native | ParallelRegion | Step] | None:
        """Sums of columns, which are shared by threads where there are many."""
        matrix = Matrix.of(x)
        if x.dtype != out.dtype or matrix is None or matrix.transposed or not out.flags.c_contiguous or out.size == 1:
            return None  # one column NumPy adds up in pairs
        calls = []
        for start, count in shares(x.shape[1], x.size, 64):  # columns that are added up at a time
            at = [address(a) + start * x.itemsize for a in (x, out)]
            calls.append(Native(column_sums(x.dtype.char), [at[0], matrix.ld, at[1], x.shape[0], count]))
        return [ParallelRegion(calls, x.size * OPERATION)]

    def _reduction(self, op: str, x: Array, out: Array) -> ParallelRegion:
        """The sum, or the largest element, of each row; its rows shared by threads where there are many."""
        kind, cols = x.dtype.char, x.size // out.size
        calls = []
        for top, height in shares(out.size, x.size):
            at = [address(x) + top * cols * x.itemsize, address(out) + top * x.itemsize]
            calls.append(Native(reduction(op, kind), [*at, height, cols]))
        return ParallelRegion(calls, x.size * OPERATION)

    def _taken(self, table: Array, rows: Array, index: Array) -> list[Native | ParallelRegion | Step] | None:
        """rows = table[index]."""
        if not are_rows(table, rows, index):
            return None
        count, width = table.shape[0], table.size // table.shape[0]
        calls = []
        for start, some in shares(index.size, rows.size):
            at = [address(rows) + start * width * rows.itemsize, address(index) + start * index.itemsize]
            given = [address(self._wrong), address(table), *at, some, count, width]
            calls.append(Native(runtime.take_rows(table.dtype.char), given))
        return [ParallelRegion(calls, rows.size * OPERATION)]

    def _added(self, table: Array, rows: Array, index: Array) -> list[Native | ParallelRegion | Step] | None:
        """table[index] += rows; threads share the columns."""
        if not are_rows(table, rows, index):
            return None
        count, width = table.shape[0], table.size // table.shape[0]
        lists = [address(self._spare((size,), index.dtype)) for size in (count, index.size)]
        calls = []
        for start, some in shares(width, rows.size, 64):  # columns that are added up at a time
            at = [address(a) + start * a.itemsize for a in (table, rows)]
            calls.append(Native(add_lists(table.dtype.char), [*lists, *at, count, width, some]))
        found = Native(LISTS, [address(self._wrong), address(index), index.size, count, *lists])
        return [found, ParallelRegion(calls, rows.size * OPERATION)]

    def _native_loop(self, instr: Instr) -> list[Native | ParallelRegion | Step]:
        for apart in (False, True):
            layout, body = self.layout(instr, apart), _NativeLoop(instr.params["loop"].body)
            body._wrong = self._wrong
            calls = loop_calls(body, layout, self._pool)
            if calls is not None:
                break
        self._bodies.append(body)
        before, after = ([self.copy(*pair) for pair in pairs] for pairs in (layout.before, layout.afterwards))
        return [*before, *(calls or ()), *after]

    def copy(self, target: Array, source: Array) -> ParallelRegion | Step:
        same = target.shape == source.shape and target.dtype == source.dtype
        if same and target.flags.c_contiguous and source.flags.c_contiguous:
            calls = [
                Native(runtime.COPY, [address(target) + start, address(source) + start, count])
                for start, count in shares(source.nbytes, source.size, 64)
            ]
            return ParallelRegion(calls, source.size * OPERATION)
        return (numpy.copyto, (target, source))


class _NativeLoop(NativeExecutor):
    """The body of a loop."""

    def _rewritten(self, program: Program) -> Program:
        return program

    def planned_parts(self, outside: dict[Var, Array]) -> tuple[list[list[Native | ParallelRegion | Step]], MemoryPlan]:
        """What to call for each part, and the plan, of a body whose arrays lie there at its first step."""
        self.plan = self._planned_for(outside)
        return self.steps_of_parts(), self.plan


def _panel_width(kind: str) -> int | None:
    panel = panel_of(kind)
    return None if panel is None else panel.nr
