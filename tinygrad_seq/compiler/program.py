"""What was recorded: a flat list of operations on arrays.

Everything here is data; `operations` says what an operation computes, the executors how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ..backend import Array, DType


class Var:
    """An array of the program, by number: its shape and dtype. The array itself is the executor's."""

    __slots__ = ("dtype", "number", "shape")
    dtype: DType
    number: int
    shape: tuple[int, ...]

    def __init__(self, number: int, shape: tuple[int, ...], dtype: DType) -> None:
        self.number, self.shape, self.dtype = number, shape, dtype

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def nbytes(self) -> int:
        return self.size * int(self.dtype.itemsize)

    def __repr__(self) -> str:
        return f"%{self.number}"


GIVEN = object()  # among the arguments of a number: the values of the call's argument tree


class Number:
    """A symbolic Python number, evaluated at each replay, such as a learning rate.

    Attributes:
        index: its index in `Program.numbers`.
        is_int: whether it is an int, so that integer arrays stay integer arrays beside it.
    """

    __slots__ = ("index", "is_int")
    index: int
    is_int: bool

    def __init__(self, index: int, is_int: bool = False) -> None:
        self.index, self.is_int = index, is_int

    def __repr__(self) -> str:
        return f"#{self.index}"


class Instr:
    """One operation: `out = op(*args, **params)`. Arguments are Vars, Numbers and Python numbers.

    Attributes:
        line: the file and line of the user's code that asked for it.
    """

    __slots__ = ("args", "line", "op", "out", "params")
    args: tuple[Any, ...]
    line: str
    op: str
    out: Var
    params: dict[str, Any]

    def __init__(self, op: str, args: tuple[Any, ...], params: dict[str, Any], out: Var, line: str = "") -> None:
        self.op, self.args, self.params, self.out, self.line = op, args, params, out, line

    def inputs(self) -> Iterator[Var]:
        """The arrays among the arguments."""
        return (a for a in self.args if type(a) is Var)

    def __repr__(self) -> str:
        settings = "".join([f", {k}={_short(v)}" for k, v in self.params.items()])
        args = ", ".join([str(a) for a in self.args])
        return f"{self.out} = {self.op}({args}{settings})"


class Source:
    """Where an array comes from, and where its new numbers go: a tensor, an argument, an optimizer's state.

    Attributes:
        name: what listings call it.
        read: from the call's arguments, the array that is there now.
        per_call: whether it is another array at each call, as an argument is.
    """

    __slots__ = ("name", "per_call", "read")
    name: str
    read: Callable[[list[Any]], Any]
    per_call: bool

    def __init__(self, name: str, read: Callable[[list[Any]], Any], per_call: bool = False) -> None:
        self.name, self.read, self.per_call = name, read, per_call


class Program:
    """A recorded function.

    Attributes:
        sources: for each Var that comes from outside, where it comes from.
        constants: the Vars that never change, with their arrays.
        instrs: what is computed, in order.
        outputs: the Vars that somebody gets to see: results, gradients, new values of sources.
        stores: for sources that get new numbers, the Vars that have these; an executor may make them where the source
            lies, once nothing can go wrong any more.
        numbers: how each Number is evaluated: a function and its arguments, Numbers or literals.
        notes: what the passes did, and did not, and why.
        renamed: for each Var that a pass found to be another, which.
        backend, index: where it runs: the backend module, and which of its devices.
        integer_numbers: the indices of the Numbers that must stay ints.
        decisions: what Python decided by Numbers, which must come out so again.
        cotangents: the sources that arrive after the call: the gradients of its results.
        repeats: of the body of a loop, how often it runs.
        backward: of a function whose results carry a gradient, the program that takes it back to where they came from.
    """

    def __init__(self) -> None:
        self.sources: dict[Var, Source] = {}
        self.constants: dict[Var, Array] = {}
        self.instrs: list[Instr] = []
        self.outputs: list[Var] = []
        self.stores: dict[Var, Var] = {}
        self.numbers: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.decisions: list[tuple[Number, bool]] = []
        self.integer_numbers: set[int] = set()
        self.notes: list[str] = []
        self.renamed: dict[Var, Var] = {}
        self.cotangents: set[Var] = set()
        self.backward: Program | None = None
        self.repeats = 1
        self.backend: Any = None
        self.index = 0
        self._count = 0

    def new(self, shape: tuple[int, ...], dtype: DType) -> Var:
        """Another Var."""
        self._count += 1
        return Var(self._count, shape, dtype)

    def constant(self, array: Array) -> Var:
        """A Var for an array that never changes."""
        var = self.new(array.shape, array.dtype)
        self.constants[var] = array
        return var

    def part(self, instrs: list[Instr], outputs: list[Var]) -> Program:
        """A program of some of these operations, with the sources and constants that they use."""
        part = Program()
        part.backend, part.index = self.backend, self.index
        used = {v for instr in instrs for v in instr.inputs()} | set(outputs)
        part.sources = {v: source for v, source in self.sources.items() if v in used}
        part.constants = {v: array for v, array in self.constants.items() if v in used}
        part.instrs, part.outputs = instrs, outputs
        part.numbers, part.decisions, part.notes = self.numbers, self.decisions, [*self.notes]
        part.integer_numbers = self.integer_numbers
        part._count = self._count
        return part

    def descendants(self, sources: set[Var]) -> set[Var]:
        """The Vars that are computed from these sources, themselves included."""
        found = set(sources)
        for instr in self.instrs:
            if any(v in found for v in instr.inputs()):
                found.add(instr.out)
        return found

    def explanation(self) -> str:
        """What the passes did, and did not, and why."""
        return "\n".join([f"compile: {len(self.instrs)} operations", *[f"  {note}" for note in self.notes]])

    def flops(self) -> int:
        """Additions and multiplications in the matrix products."""
        return sum([2 * i.out.size * i.args[0].shape[-1] for i in self.instrs if i.op == "matmul"])

    def __repr__(self) -> str:
        kinds = Counter([instr.op for instr in self.instrs])
        lines = [
            f"program of {len(self.instrs)} operations, {self.flops() / 1e6:.1f} MFLOP in products",
            "  " + ", ".join([f"{n} {op}" for op, n in kinds.most_common()]),
        ]
        lines += [f"  {v}: {v.dtype}{list(v.shape)} from {source.name}" for v, source in self.sources.items()]
        lines += [f"  {v}: {v.dtype}{list(v.shape)} constant" for v in self.constants]
        lines += [f"  {i}: {i.out.dtype}{list(i.out.shape)}    {i.line}" for i in self.instrs]
        lines.append(f"  return {', '.join([str(v) for v in self.outputs])}")
        return "\n".join(lines)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
