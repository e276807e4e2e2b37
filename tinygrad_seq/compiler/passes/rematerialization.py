"""What lies idle for long and is cheap to compute again, from what is there anyway, is not kept.

Between the forward pass and the backward pass of a recurrent layer lie the states of all its steps, their hyperbolic
tangents and products of the two with gates: the first and the gates are enough. Nothing here knows what a recurrent
network is.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from ..operations import UFUNCS, VIEWS
from ..program import Instr, Program, Var
from .dead_code import eliminate_dead_code
from .scheduling import schedule

_LONG = 256  # operations for which something lies idle
_LARGE = 1 << 16  # bytes: what is smaller comes from a cache faster than it is computed
_DEPTH = 3  # operations one upon another, not counting those that put together
_WORTH = 4  # times what has to be kept in its place
_ELEMENTWISE = UFUNCS | {"sigmoid", "where"}


def rematerialize(program: Program) -> Program:
    """With some results made twice: for those who read them soon, and for those who read them much later."""
    return _Search(program).program


class _Search:
    def __init__(self, program: Program) -> None:
        self.program = program
        program.instrs = [Instr(i.op, i.args, i.params, i.out, i.line) for i in program.instrs]  # another half has them
        self._producers = {instr.out: instr for instr in program.instrs}
        self._at = {instr.out: n for n, instr in enumerate(program.instrs)}
        self._readers: dict[Var, list[Instr]] = {}
        for instr in program.instrs:
            for v in instr.inputs():
                self._readers.setdefault(v, []).append(instr)
        self._last_use = self._last_uses()
        self._again: dict[int, list[Instr]] = {}  # what is put before the operation at each position
        self._copies: dict[Var, tuple[int, Var]] = {}  # of what was made again: where, and as which
        self._count = 0
        large = [instr.out for instr in program.instrs if instr.out.nbytes >= _LARGE and _is_cheap(instr)]
        todo = deque(sorted(large, key=lambda v: -v.nbytes))  # the most worth it first
        while todo:
            todo += self._consider(todo.popleft())  # what is made again may lie idle again
        if self._count:
            program.instrs = [x for n, instr in enumerate(program.instrs) for x in (*self._again.get(n, ()), instr)]
            eliminate_dead_code(schedule(program))
            program.notes.append(f"{self._count} results are computed again rather than kept")

    def _last_uses(self) -> dict[Var, int]:
        """Where each Var, or a view of it, is read for the last time."""
        end = dict.fromkeys(self.program.outputs, len(self.program.instrs))
        for instr in reversed(self.program.instrs):
            here = self._at[instr.out]
            for v in instr.inputs():
                end[v] = max(end.get(v, -1), end.get(instr.out, here) if _is_view(instr, v) else here)
        return end

    def _reads(self, v: Var) -> list[int]:
        """Where it, or a view of it, is read."""
        found: list[int] = []
        for reader in self._readers.get(v, ()):
            found += self._reads(reader.out) if _is_view(reader, v) else [self._at[reader.out]]
        return found

    def _consider(self, v: Var) -> list[Var]:
        """Make it again where it is read after having lain idle, if that is worth it: as which."""
        if self._last_use.get(v, -1) - self._at[v] < _LONG or self._last_use[v] == len(self.program.instrs):
            return []
        if any(reader.op == "concat" for reader in self._readers[v]):  # where it lies anyway
            return []
        reads = sorted({self._at[v], *self._reads(v)})
        idle, late = max([(b - a, b) for a, b in pairwise(reads)])
        if idle < _LONG:
            return []
        made: dict[Var, Instr] = {}
        cost = self._cost(v, late, made, _DEPTH, first=True)
        if cost * _WORTH > idle * v.nbytes:
            return []
        now: dict[Var, Var] = {}
        for old in made.values():
            args = [self._latest_copy(a, late) if type(a) is Var else a for a in old.args]
            args = [now.get(a, a) if type(a) is Var else a for a in args]
            for a in args:
                if type(a) is Var:
                    self._last_use[a] = max(self._last_use.get(a, -1), late)
            now[old.out] = self._put(Instr(old.op, tuple(args), old.params, old.out, old.line), late)
        self._copies[v] = late, now[v]
        self._last_use[now[v]], self._last_use[v] = self._last_use[v], max([n for n in reads if n < late])
        self._read_instead(v, now[v], late)
        self._count += len(made)
        return [now[v]]

    def _latest_copy(self, v: Var, late: int) -> Var:
        """The Var with this value at a position far down: a copy, if one was made before it."""
        position, copy = self._copies.get(v, (late + 1, v))
        return copy if position <= late else v

    def _cost(self, v: Var, late: int, made: dict[Var, Instr], depth: int, first: bool = False) -> int:
        """Bytes times operations that have to be kept to have this there: it or its operands; notes what is made."""
        v = self._latest_copy(v, late)
        if v in made or v not in self._producers:
            return 0
        kept = max(late - self._last_use.get(v, late), 0) * v.nbytes
        instr = self._producers[v]
        if not first and (not kept or not depth or not _is_cheap(instr)):
            return kept
        before = dict(made)
        deeper = depth - (instr.op != "concat")
        cost = sum([self._cost(a, late, made, deeper) for a in instr.inputs()])
        if first or cost < kept:
            made[v] = instr
            return cost
        made.clear()
        made.update(before)
        return kept

    def _put(self, instr: Instr, late: int) -> Var:
        """Another Var for the result of this operation, which is made there."""
        instr.out = self.program.new(instr.out.shape, instr.out.dtype)
        self._again.setdefault(late, []).append(instr)
        self._producers[instr.out], self._at[instr.out] = instr, late
        for v in instr.inputs():
            self._readers.setdefault(v, []).append(instr)
        return instr.out

    def _read_instead(self, v: Var, other: Var, late: int) -> None:
        """Let those who read it late, or views of it, read another one."""
        for reader in [*self._readers.get(v, ())]:
            if not _is_view(reader, v) and self._at[reader.out] >= late:
                reader.args = tuple([other if a is v else a for a in reader.args])
                self._readers[v].remove(reader)
                self._readers.setdefault(other, []).append(reader)
            elif _is_view(reader, v) and self._last_use.get(reader.out, -1) >= late:
                args = (other, *reader.args[1:])
                view = self._put(Instr(reader.op, args, reader.params, reader.out, reader.line), late)
                self._last_use[view] = self._last_use[reader.out]
                self._read_instead(reader.out, view, late)


def _is_view(instr: Instr, v: Var) -> bool:
    """Whether the result is a view of this operand; `after` only waits for its others."""
    return instr.op in VIEWS and instr.args[0] is v


def _is_cheap(instr: Instr) -> bool:
    return instr.op in _ELEMENTWISE or instr.op == "concat"
