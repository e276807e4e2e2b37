"""LLVM functions by llvmlite's IRBuilder, so that a kernel reads as its algorithm.

A function takes the address of a table of 64-bit integers, which are its arguments: addresses, lengths, and distances
in elements. Values have operators, a pointer is indexed by elements, and `for i in f.range(n)` is a loop of the
function: Python runs its body once, to write it down. The variables that a loop or a branch changes are the items of a
list, its `carried`; the phi nodes that this takes are made here alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from .llvm_values import (
    BOOL,
    BYTE,
    DOUBLE,
    FLOAT,
    INT,
    INT32,
    POINTER,
    VOID,
    Pointer,
    Value,
    bytes_of,
    constant,
    intrinsic,
    suffix,
    vector_of,
)
from .vector_unit import LANES

TYPES = {"f": FLOAT, "d": DOUBLE, "?": BYTE}


class FunctionBuilder:
    """A native function that is being written.

    Args:
        kind: "f" or "d", the dtype of its numbers.
        lanes: the elements of a vector.
    """

    lanes: int

    def __init__(self, kind: str = "f", lanes: int = LANES) -> None:
        self.lanes, self.scalar = lanes, TYPES[kind]
        self.vector: Any = vector_of(self.scalar, lanes)
        self.alignment: int = lanes * bytes_of(self.scalar)  # of whole vectors that are laid out for it
        self._module = ir.Module()
        self._function = ir.Function(self._module, ir.FunctionType(VOID, [POINTER]), "NAME")
        self.builder = ir.IRBuilder(self._function.append_basic_block("entry"))
        self.table = Pointer(self.builder, self._function.args[0], INT, lanes)

    def arguments(self, names: str) -> list[Any]:
        """The table's entries: "*name" is the address of numbers, "int*name" of integers, and "name" an integer."""
        found: list[Value] = []
        for index, name in enumerate(names.split()):
            if "*" in name:
                found.append(self.table.pointer(index, INT if name.startswith("int") else self.scalar))
            else:
                found.append(self.table[index])
        return found

    def text(self) -> str:
        """The function as LLVM's text, @"NAME", and before it declarations of the intrinsic functions that it calls."""
        self.builder.ret_void()
        declarations = [str(f).strip() for f in self._module.functions if f.is_declaration]
        return "\n".join([*declarations, str(self._function)])

    # --- values ---

    def constant(self, type_: Any, x: float) -> Value:
        return Value(self.builder, constant(type_, x))

    def integer(self, n: int) -> Value:
        return self.constant(INT, n)

    def number(self, x: float) -> Value:
        return self.constant(self.scalar, x)

    def numbers(self, x: float) -> Value:
        """A number in all lanes."""
        return self.constant(self.vector, x)

    def truths(self, x: bool) -> Value:
        """True or false in all lanes."""
        return self.constant(vector_of(BOOL, self.lanes), int(x))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once."""
        return self.elementwise("fma", a, b, c)

    def elementwise(self, name: str, *args: Value) -> Value:
        """An intrinsic function of numbers, or of vectors, that gives what it takes."""
        type_ = args[0].ir.type
        return intrinsic(f"{name}.{suffix(type_)}", type_, *args)

    def reduce(self, name: str, vector: Value, *start: Value) -> Value:
        """One number of all lanes: of sums, which begin with one, in an order that LLVM chooses."""
        type_ = vector.ir.type
        flags = ["reassoc"] if start else []
        return intrinsic(f"vector.reduce.{name}.{suffix(type_)}", type_.element, *start, vector, flags=flags)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        return Value(self.builder, self.builder.select(condition.ir, a.ir, b.ir))

    def minimum(self, a: Value, b: Value | int) -> Value:
        """Of integers."""
        other = a.like(b)
        return self.select(a < other, a, other)

    def masks(self, count: Value, vectors: int) -> list[Value]:
        """For each of several vectors, which of its lanes are among the first `count` of all."""
        bound = self.minimum(count, vectors * self.lanes).truncated(32).splat(self.lanes)
        starts = range(0, vectors * self.lanes, self.lanes)
        lane_numbers = [ir.Constant(vector_of(INT32, self.lanes), [*range(s, s + self.lanes)]) for s in starts]
        return [Value(self.builder, numbers) < bound for numbers in lane_numbers]

    # --- branches and loops ---

    @contextmanager
    def if_(self, condition: Value, carried: list[Value] | None = None) -> Iterator[None]:
        """What happens only under a condition."""
        carried = [] if carried is None else carried
        before = [*carried], self.builder.block
        with self.builder.if_then(condition.ir):
            yield
            after = [*carried], self.builder.block
        self._join(carried, [before, after])

    def range(
        self,
        start: Value | int,
        stop: Value | int | None = None,
        step: int = 1,
        *,
        carried: list[Value] | None = None,
        nonempty: bool = False,
    ) -> Iterator[Value]:
        """A loop, as over Python's range; `nonempty` if it is known that there is something in it."""
        first, last = (start, stop) if stop is not None else (0, start)
        first, last = [self.integer(0).like(n) for n in (first, last)]
        carried = [] if carried is None else carried
        if nonempty:
            yield from self._counted(first, last, step, carried)
        else:
            with self.if_(first < last, carried):
                yield from self._counted(first, last, step, carried)

    def _counted(self, start: Value, stop: Value, step: int, carried: list[Value]) -> Iterator[Value]:
        index = [start]
        body, phis = self._open(index, carried)
        yield index[0]
        index[0] = index[0] + step
        self._again(phis, index, carried)
        end = self.builder.append_basic_block()
        self.builder.cbranch((index[0] < stop).ir, body, end)
        self.builder.position_at_end(end)

    @contextmanager
    def loop(self, carried: list[Value] | None = None) -> Iterator[Loop]:
        """A loop that ends where its `exit_if` says so."""
        carried = [] if carried is None else carried
        body, phis = self._open(carried)
        loop = Loop(self.builder, carried)
        yield loop
        self._again(phis, carried)
        self.builder.branch(body)
        self.builder.position_at_end(loop.end)
        self._join(carried, loop.exits)

    def columns(
        self, count: Value, vectors: int = 1, carried: list[Value] | None = None
    ) -> Iterator[tuple[Value, list[Any]]]:
        """Some vectors of columns at a time: the first column, and their masks.

        The body of such a `for` is written twice: in a loop over whole vectors, whose masks are None, and for the rest.
        """
        width = vectors * self.lanes
        whole = count - count % width
        for column in self.range(0, whole, width, carried=carried):
            yield column, [None] * vectors
        with self.if_(whole < count, carried):
            yield whole, self.masks(count - whole, vectors)

    def _open(self, *several: list[Value]) -> tuple[Any, list[Any]]:
        """Begin the body of a loop, in which variables change: it, and their phi nodes."""
        before, body = self.builder.block, self.builder.append_basic_block()
        self.builder.branch(body)
        self.builder.position_at_end(body)
        phis = []
        for variables in several:
            for n, value in enumerate(variables):
                phis.append(self._phi([(value, before)]))
                variables[n] = Value(self.builder, phis[-1])
        return body, phis

    def _again(self, phis: list[Any], *several: list[Value]) -> None:
        """What the variables are when the body begins anew."""
        now = [value for variables in several for value in variables]
        for phi, value in zip(phis, now, strict=True):
            phi.add_incoming(value.ir, self.builder.block)

    def _join(self, carried: list[Value], edges: list[tuple[list[Value], Any]]) -> None:
        """What the variables are where control comes from several blocks."""
        for n in range(len(carried)):
            values = [(values[n], block) for values, block in edges]
            carried[n] = values[0][0]
            if any(value is not carried[n] for value, _ in values):
                carried[n] = Value(self.builder, self._phi(values))

    def _phi(self, values: list[tuple[Value, Any]]) -> Any:
        phi = self.builder.phi(values[0][0].ir.type)
        for value, block in values:
            phi.add_incoming(value.ir, block)
        return phi


class Loop:
    """A loop that goes on until one of its exits is taken."""

    builder: Any
    carried: list[Value]

    def __init__(self, builder: Any, carried: list[Value]) -> None:
        self.builder, self.carried = builder, carried
        self.end: Any = builder.append_basic_block()
        self.exits: list[tuple[list[Value], Any]] = []

    def exit_if(self, condition: Value) -> None:
        self.exits.append(([*self.carried], self.builder.block))
        on = self.builder.append_basic_block()
        self.builder.cbranch(condition.ir, self.end, on)
        self.builder.position_at_end(on)
