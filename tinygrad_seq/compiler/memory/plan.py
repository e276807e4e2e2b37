"""The memory plan: a buffer for each value of a program.

Views alias their base, pieces of a `concat` are computed in place, results reuse the buffers of dead operands, and all
buffers share one arena at the lowest offset free during their lifetime.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ...backend import Array, array_module
from ...backend import numpy_module as numpy
from ..operations import VIEWS, base_of, evaluate
from ..program import Instr, Program, Var
from .arena import ALIGNMENT, LiveInterval, assign_offsets, rounded
from .buffer_reuse import Alias, InplaceReuse


class MemoryPlan:
    """An array for each Var of a program.

    Args:
        outside: the arrays that come from outside, and of results those that have a place there.
        reuse_distance: the minimum number of operations between a buffer's last use and its reallocation, so that
            those can be fused.
        times: for each operation, when it happens: those with one number happen at once.
        fusion_temporaries: values that live inside one kernel only, and so need no memory.
        block: makes memory of so many bytes, as an array of uint8; NumPy's, well aligned, by default.
        reuse_in_place: whether results reuse the buffers of dead operands in place; see `InplaceReuse`.
        allow_strided: whether such a buffer may be part of a matrix, so that its rows are not contiguous.

    Attributes:
        arrays: the arrays.
        aliases: what lies in another one's memory, without being a view of it: in which one's, and where.
        peak: bytes of the memory that all share; constants and what comes from outside are not counted.
    """

    peak: int

    def __init__(
        self,
        program: Program,
        outside: dict[Var, Array],
        reuse_distance: int = 0,
        times: Sequence[int] | None = None,
        fusion_temporaries: Collection[Var] = (),
        block: Callable[[int], Array] | None = None,
        reuse_in_place: bool = True,
        allow_strided: bool = True,
    ) -> None:
        self.arrays: dict[Var, Array] = {**program.constants, **outside}
        self.peak = 0
        self._instrs = program.instrs
        self.aliases: dict[Var, Alias] = {}
        self._make_reshapes_views(program)
        self._producers = {instr.out: instr for instr in program.instrs}
        self._alias_concat_pieces()
        self._reuse_distance, self._block, self._fusion_temporaries = (
            reuse_distance,
            block or aligned,
            fusion_temporaries,
        )
        times = times or range(len(self._instrs))
        if reuse_in_place and not reuse_distance:
            InplaceReuse(
                self._instrs, times, {*self.arrays, *fusion_temporaries}, program.outputs, self.aliases, allow_strided
            )
        for v in outside:
            self.aliases.pop(v, None)
        self._allocate(program.outputs, times)

    def _make_reshapes_views(self, program: Program) -> None:
        """Put a copy before each reshape that takes one."""
        strided: set[Var] = {v for v, array in self.arrays.items() if not array.flags.c_contiguous}
        new: list[Instr] = []
        for instr in self._instrs:
            x = instr.args[0] if instr.args else None
            if instr.op == "reshape" and x in strided:
                copied = program.new(x.shape, x.dtype)
                new.append(Instr("copy", (x,), {}, copied, instr.line))
                instr = Instr("reshape", (copied,), instr.params, instr.out, instr.line)
            elif instr.op in ("transpose", "broadcast") or (
                instr.op in VIEWS and (x in strided or (instr.op == "slice" and not _is_of_rows(instr)))
            ):
                strided.add(instr.out)
            new.append(instr)
        program.instrs = self._instrs = new

    def _alias_concat_pieces(self) -> None:
        """Compute each piece of a `concat` in place; a piece of several belongs to the last one."""
        reshaped: set[Var] = set()  # it, or a view of it
        for instr in reversed(self._instrs):
            if instr.op == "reshape" or (instr.op in VIEWS and instr.out in reshaped):
                reshaped.add(instr.args[0])
        strided: set[Var] = set()  # whose rows are not contiguous
        for instr in reversed(self._instrs):
            if instr.op != "concat":
                continue
            axis, start = instr.params["axis"], 0
            whole_rows = all(n == 1 for n in instr.out.shape[:axis]) and instr.out not in strided
            for piece in instr.args:
                end = start + piece.shape[axis]
                where = (*[slice(None)] * axis, slice(start, end))
                start = end
                made = self._producers.get(piece)
                if whole_rows and made is not None and made.op == "reshape":  # of a stack
                    piece = made.args[0]
                    made = self._producers.get(piece)
                if made is None or made.op in VIEWS or made.op in ("copy", "require") or piece in self.aliases:
                    continue
                if piece.dtype == instr.out.dtype and (whole_rows or piece not in reshaped):
                    self.aliases[piece] = (instr.out, where)
                    if not whole_rows:
                        strided.add(piece)

    def _allocate(self, outputs: list[Var], times: Sequence[int]) -> None:
        starts = self._starts(outputs, times)
        memory = self._block(self.peak)
        for var, start in starts.items():
            self.arrays[var] = memory[start : start + var.nbytes].view(var.dtype).reshape(var.shape)
        scratch = numpy.empty(
            max([v.nbytes for v in self._fusion_temporaries], default=0), numpy.uint8
        )  # nobody writes to it
        for instr in self._instrs:
            out = instr.out
            if instr.op in VIEWS:
                source = self.arrays[instr.args[0]]
                self.arrays[out] = view = evaluate(instr.op, (source,), instr.params)
                if view.size and not array_module(view).may_share_memory(view, source):
                    raise RuntimeError(f"compile: {instr} is no view of an array with strides {source.strides}")
            elif out in self._fusion_temporaries:
                self.arrays[out] = scratch[: out.nbytes].view(out.dtype).reshape(out.shape)
            elif out in self.aliases:
                self._put(out)

    def _starts(self, outputs: list[Var], times: Sequence[int]) -> dict[Var, int]:
        """The offset in the arena of each Var that has a buffer of its own."""
        bases = {
            v: base_of(v, self._producers, self.aliases) for instr in self._instrs for v in (*instr.inputs(), instr.out)
        }
        last: dict[Var, int] = {}  # the last use of each buffer
        for now, instr in zip(times, self._instrs, strict=True):
            for v in (*instr.inputs(), instr.out):
                last[bases[v]] = now
        last |= {bases.get(v) or base_of(v, self._producers, self.aliases): len(self._instrs) for v in outputs}
        first: dict[Var, int] = {}
        at = {instr.out: now for now, instr in zip(times, self._instrs, strict=True) if instr.op == "loop"}
        for now, instr in zip(times, self._instrs, strict=True):
            base = bases[instr.out]
            if base not in self.arrays and instr.out not in self._fusion_temporaries:
                now = at[instr.args[0]] if instr.op == "loop_result" else now  # the loop writes there
                first[base] = min(first.get(base, now), now)
        intervals = [LiveInterval(rounded(v.nbytes), then, last[v] + self._reuse_distance) for v, then in first.items()]
        starts, self.peak = assign_offsets(intervals) if intervals else ([], 0)
        return dict(zip(first, starts, strict=True))

    def _put(self, var: Var) -> None:
        """The array of a Var that lies within another one's."""
        outer, where = self.aliases[var]
        if outer not in self.arrays:
            self._put(outer)
        array = self.arrays[outer][where]
        self.arrays[var] = array if array.shape == var.shape else array.reshape(var.shape)


def aligned(size: int) -> Array:
    """Memory in which vectors can be read whole."""
    whole = numpy.empty(size + ALIGNMENT, numpy.uint8)
    shift = -whole.ctypes.data % ALIGNMENT
    return whole[shift : shift + size]


def _is_of_rows(instr: Instr) -> bool:
    """Whether a slice takes whole rows, one after another: what lies in one piece."""
    first, *others = instr.params["index"] or (slice(None),)
    whole = all(i == slice(None) or i is Ellipsis for i in others)
    return whole and (isinstance(first, int) or (isinstance(first, slice) and first.step in (None, 1)))
