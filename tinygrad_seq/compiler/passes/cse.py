"""Compute each thing once, and nothing that is there already."""

from __future__ import annotations

from typing import Any

from ..program import Instr, Number, Program, Var
from .updates import Updates

_OWN = ("require", "random_bits", "call", "collective")  # never the same twice, or nobody can tell


def eliminate_common_subexpressions(program: Program) -> Program:
    """Without common subexpressions, and without rearrangements that cancel out."""
    return _Eliminator(program).run()


class _Eliminator:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.same: dict[Var, Var] = {}  # what stands for what
        self.producers: dict[Var, Instr] = {}
        self.known: dict[Any, Var] = {}
        self.updates = Updates(self.producers)

    def run(self) -> Program:
        instrs = self.program.instrs
        self.program.instrs = []
        for instr in instrs:
            args = tuple([self.same.get(a, a) if type(a) is Var else a for a in instr.args])
            self.same[instr.out] = self.add(instr.op, args, instr.params, instr)
        self.program.outputs = [self.same.get(v, v) for v in self.program.outputs]
        self.program.renamed = {old: self.same.get(new, new) for old, new in self.program.renamed.items()} | {
            old: new for old, new in self.same.items() if old not in self.program.renamed
        }
        return self.program

    def add(self, op: str, args: tuple[Any, ...], params: dict[str, Any], instr: Instr) -> Var:
        """The Var that holds the result of this operation."""
        found = self.rewritten(op, args, params, instr)
        if found is not None:
            return found
        key = None
        if op not in _OWN:
            named = repr(params) if params else ""
            key = (op, tuple([a if type(a) is Var else (type(a), _operand_key(a)) for a in args]), named)
            if key in self.known:
                return self.known[key]
        new = Instr(op, args, params, instr.out, instr.line)
        if instr.out in self.producers:
            new.out = self.program.new(instr.out.shape, instr.out.dtype)
        self.emit(new)
        if key is not None:
            self.known[key] = new.out
        return new.out

    def emit(self, instr: Instr) -> None:
        self.program.instrs.append(instr)
        self.producers[instr.out] = instr

    def rewritten(self, op: str, args: tuple[Any, ...], params: dict[str, Any], instr: Instr) -> Var | None:
        """What stands for this operation already, if anything does."""
        out, x = instr.out, args[0] if args else None
        if type(x) is not Var:
            return None
        inner = self.producers.get(x)
        if op in ("reshape", "broadcast") and x.shape == out.shape:
            return x
        if op == "cast" and x.dtype == out.dtype:
            return x
        if op == "transpose":
            dims = params["dims"]
            if dims == tuple(range(len(dims))):
                return x
            if inner is not None and inner.op == "transpose":
                source, before = inner.args[0], inner.params["dims"]
                order = tuple([before[d] for d in dims])
                if order == tuple(range(len(order))):
                    return source
                return self._derived("transpose", (source,), {"dims": order}, out, instr)
        if op == "reshape" and inner is not None and inner.op == "reshape":
            source = inner.args[0]
            return source if source.shape == out.shape else self._derived("reshape", (source,), params, out, instr)
        if op == "slice" and all(i == slice(None) or i is Ellipsis for i in params["index"]):
            return x
        if op == "slice" and inner is not None and inner.op == "update":
            source, is_value = self.updates.source(x, params["index"], out)
            if is_value:
                return source
            return None if source is x else self._derived("slice", (source,), params, out, instr)
        if op == "concat":
            if len(args) == 1:
                return x
            return self._sliced_from(args, params["axis"], out)
        if op == "power" and isinstance(args[1], (int, float)) and out.dtype == x.dtype and out.dtype.kind == "f":
            if args[1] == 2:
                return self._derived("multiply", (x, x), {}, out, instr)
            if args[1] == 1:
                return x
        return None

    def _derived(self, op: str, args: tuple[Any, ...], params: dict[str, Any], out: Var, instr: Instr) -> Var:
        return self.add(op, args, params, Instr(op, args, params, out, instr.line))

    def _sliced_from(self, pieces: tuple[Any, ...], axis: int, out: Var) -> Var | None:
        """The array that these are all the slices of, one after another; None if they are not."""
        first = self.producers.get(pieces[0])
        if first is None or first.op != "slice" or first.args[0].shape != out.shape:
            return None
        source, start = first.args[0], 0
        for piece in pieces:
            made = self.producers.get(piece)
            if made is None or made.op != "slice" or made.args[0] is not source:
                return None
            index = tuple([i for i in made.params["index"] if i is not Ellipsis])
            index = (*index, *[slice(None)] * (len(out.shape) - len(index)))
            end = start + piece.shape[axis]
            if len(index) != len(out.shape) or not isinstance(index[axis], slice):
                return None
            others = [i == slice(None) for d, i in enumerate(index) if d != axis]
            if not all(others) or index[axis].indices(out.shape[axis]) != (start, end, 1):
                return None
            start = end
        return source if start == out.shape[axis] else None


def _operand_key(a: Any) -> Any:
    if type(a) is Number:
        return a.index
    return repr(a) if isinstance(a, float) and (a == 0 or a != a) else a  # 0.0 is not -0.0
