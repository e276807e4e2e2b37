"""Where each array of a program lies.

Views lie in what they are views of, pieces are made where they are put together, and the rest lies in blocks that are
handed on as soon as nobody needs what is in them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..backend import Array
from ..backend import numpy_module as numpy
from .operations import UFUNCS, VIEWS, evaluate
from .program import Instr, Program, Var

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class MemoryPlan:
    """An array for each Var of a program.

    Args:
        outside: the arrays that come from outside.
        patience: how many operations a block waits before another one gets it, so that those can be taken together.
        block: makes memory of so many bytes, as an array of uint8; NumPy's, well aligned, by default.

    Attributes:
        arrays: the arrays.
        peak: bytes of all blocks together; constants and what comes from outside are not counted.
    """

    def __init__(
        self,
        program: Program,
        outside: dict[Var, Array],
        patience: int = 0,
        block: Callable[[int], Array] | None = None,
    ) -> None:
        self.arrays: dict[Var, Array] = {**program.constants, **outside}
        self.peak = 0
        self._instrs = program.instrs
        self._place: dict[Var, tuple[Var, tuple[slice, ...]]] = {}
        self._make_reshapes_views(program)
        self._made_by = {instr.out: instr for instr in program.instrs}
        self._claim_places()
        self._free: dict[int, list[Array]] = {}
        self._patience, self._block = patience, block or aligned
        self._waiting: deque[list[Array]] = deque()
        self._blocks: dict[Var, Array] = {}
        self._allocate(program.outputs)

    def _make_reshapes_views(self, program: Program) -> None:
        """Put a copy before each reshape that takes one."""
        scattered: set[Var] = {v for v, array in self.arrays.items() if not array.flags.c_contiguous}
        new: list[Instr] = []
        for instr in self._instrs:
            x = instr.args[0] if instr.args else None
            if instr.op == "reshape" and x in scattered:
                copied = program.new(x.shape, x.dtype)
                new.append(Instr("copy", (x,), {}, copied, instr.line))
                instr = Instr("reshape", (copied,), instr.params, instr.out, instr.line)
            elif instr.op in ("transpose", "broadcast") or (
                instr.op in VIEWS and (x in scattered or (instr.op == "slice" and not _is_of_rows(instr)))
            ):
                scattered.add(instr.out)
            new.append(instr)
        program.instrs = self._instrs = new

    def _claim_places(self) -> None:
        """Let each piece of a `concat` be made where it belongs; if several want it, the last one gets it."""
        reshaped = {instr.args[0] for instr in self._instrs if instr.op == "reshape"}
        for instr in reversed(self._instrs):
            if instr.op != "concat":
                continue
            axis, start = instr.params["axis"], 0
            whole_rows = all(n == 1 for n in instr.out.shape[:axis])
            for piece in instr.args:
                end = start + piece.shape[axis]
                where = (*[slice(None)] * axis, slice(start, end))
                start = end
                made = self._made_by.get(piece)
                if whole_rows and made is not None and made.op == "reshape":  # of a stack
                    piece = made.args[0]
                    made = self._made_by.get(piece)
                if made is None or made.op in VIEWS or made.op in ("copy", "require") or piece in self._place:
                    continue
                if piece.dtype == instr.out.dtype and (whole_rows or piece not in reshaped):
                    self._place[piece] = (instr.out, where)

    def _home(self, var: Var) -> Var:
        """The Var whose block this one lies in."""
        while True:
            if var in self._place:
                var = self._place[var][0]
            elif (made := self._made_by.get(var)) is not None and made.op in VIEWS:
                var = made.args[0]
            else:
                return var

    def _allocate(self, outputs: list[Var]) -> None:
        last: dict[Var, int] = {}  # when a block is needed for the last time
        homes: dict[Var, Var] = {}
        for n, instr in enumerate(self._instrs):
            for v in (*instr.inputs(), instr.out):
                home = homes.get(v) or homes.setdefault(v, self._home(v))
                last[home] = n
        for v in outputs:
            last[homes.get(v) or self._home(v)] = len(self._instrs)
        ending: dict[int, list[Var]] = {}
        for v, n in last.items():
            ending.setdefault(n, []).append(v)
        for n, instr in enumerate(self._instrs):
            out = instr.out
            self._waiting.append([])
            if len(self._waiting) > self._patience:
                for block in self._waiting.popleft():
                    self._free.setdefault(block.nbytes, []).append(block)
            if instr.op in VIEWS:
                self.arrays[out] = evaluate(instr.op, (self.arrays[instr.args[0]],), instr.params)
            elif out not in self.arrays:
                done = ending.get(n, [])
                if (
                    instr.op in UFUNCS and not self._patience
                ):  # the result may take the place of an operand that nobody needs any more
                    for v in done:
                        if v in instr.args and v.shape == out.shape and v.dtype == out.dtype:
                            self._release(v)
                if homes[out] not in self.arrays:
                    self._take(homes[out])
                if out in self._place:
                    self._put(out)
            for v in ending.get(n, []):
                self._release(v)

    def _take(self, var: Var) -> None:
        """Give this Var a block."""
        size = -(-max(var.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        if self._free.get(size):
            block = self._free[size].pop()
        else:
            block = self._block(size)
            self.peak += size
        self._blocks[var] = block
        self.arrays[var] = block[: var.nbytes].view(var.dtype).reshape(var.shape)

    def _release(self, var: Var) -> None:
        block = self._blocks.pop(var, None)
        if block is not None:
            if self._patience:
                self._waiting[-1].append(block)
            else:
                self._free.setdefault(block.nbytes, []).append(block)

    def _put(self, var: Var) -> None:
        """The array of a Var that lies within another one's."""
        outer, where = self._place[var]
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
