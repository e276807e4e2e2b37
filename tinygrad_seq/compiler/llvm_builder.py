"""LLVM functions by llvmlite's IRBuilder, so that a kernel reads as its algorithm.

A function takes the address of a table of 64-bit integers, which are its arguments: addresses, lengths, and distances
in elements. Values have operators, a pointer is indexed by elements, and `for i in f.range(n)` is a loop of the
function: Python runs its body once, to write it down. The variables that a loop or a branch changes are the items of a
list, its `carried`; the phi nodes that this takes are made here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from llvmlite import ir

from .vector_unit import LANES

INT, BOOL, BYTE, VOID, POINTER = ir.IntType(64), ir.IntType(1), ir.IntType(8), ir.VoidType(), ir.PointerType()
INT32, DOUBLE = ir.IntType(32), ir.DoubleType()
TYPES = {"f": ir.FloatType(), "d": DOUBLE, "?": BYTE}
_NAMES = {"float": "f32", "double": "f64", "i8": "i8", "i64": "i64", "ptr": "p0"}  # in those of intrinsic functions


def _operator(integers: str, numbers: str = "") -> Callable[[Value, Value | float], Value]:
    """A method for an operator: IRBuilder's names of its instruction for integers, and for floating point."""

    def apply(self: Value, other: Value | float) -> Value:
        name = integers if isinstance(scalar_of(self.ir.type), ir.IntType) else numbers
        return Value(self.f, getattr(self.f.builder, name)(self.ir, self.f.like(self, other).ir))

    return apply


class Value:
    """What an instruction made: an integer (unsigned, as lengths are), a truth, a number, or a vector of these."""

    __slots__ = ("f", "ir")

    def __init__(self, f: FunctionBuilder, ir_value: Any) -> None:
        self.f, self.ir = f, ir_value

    __add__ = _operator("add", "fadd")
    __sub__ = _operator("sub", "fsub")
    __mul__ = _operator("mul", "fmul")
    __truediv__ = _operator("", "fdiv")
    __floordiv__ = _operator("udiv")
    __mod__ = _operator("urem")
    __and__ = _operator("and_")
    __or__ = _operator("or_")
    __xor__ = _operator("xor")
    __lshift__ = _operator("shl")
    __rshift__ = _operator("lshr")

    def __neg__(self) -> Value:
        return Value(self.f, self.f.builder.fneg(self.ir))

    def __lt__(self, other: Value | int) -> Value:
        return self.compare("<", other)

    def __ge__(self, other: Value | int) -> Value:
        return self.compare(">=", other)

    def compare(self, how: str, other: Value | int) -> Value:
        """Of integers, unsigned: "==", "!=", "<", ..."""
        return Value(self.f, self.f.builder.icmp_unsigned(how, self.ir, self.f.like(self, other).ir))

    def is_negative(self) -> Value:
        return Value(self.f, self.f.builder.icmp_signed("<", self.ir, self.f.like(self, 0).ir))

    def splat(self) -> Value:
        """In all lanes of a vector."""
        f, vector = self.f, vector_of(self.ir.type, self.f.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = f.builder.insert_element(undefined, self.ir, f.integer(0).ir)
        zeros = ir.Constant(ir.VectorType(INT32, f.lanes), None)
        return Value(f, f.builder.shuffle_vector(first, undefined, zeros))

    def truncated(self, bits: int) -> Value:
        """An integer of fewer bits, or of as many."""
        narrow = ir.IntType(bits)
        return self if self.ir.type == narrow else Value(self.f, self.f.builder.trunc(self.ir, narrow))

    def widened(self) -> Value:
        """In float64."""
        type_ = self.ir.type
        if scalar_of(type_) == DOUBLE:
            return self
        wide = ir.VectorType(DOUBLE, type_.count) if isinstance(type_, ir.VectorType) else DOUBLE
        return Value(self.f, self.f.builder.fpext(self.ir, wide))

    def narrowed(self) -> Value:
        """A float64 in the function's own dtype."""
        if self.f.scalar == DOUBLE:
            return self
        narrow = self.f.vector if isinstance(self.ir.type, ir.VectorType) else self.f.scalar
        return Value(self.f, self.f.builder.fptrunc(self.ir, narrow))


class Pointer(Value):
    """The address of elements of one type."""

    __slots__ = ("element",)

    def __init__(self, f: FunctionBuilder, ir_value: Any, element: Any) -> None:
        super().__init__(f, ir_value)
        self.element = element

    def __add__(self, elements: Value | float) -> Pointer:
        place = [self.f.like(self.f.integer(0), elements).ir]
        return Pointer(self.f, self.f.builder.gep(self.ir, place, source_etype=self.element), self.element)

    def of(self, element: Any) -> Pointer:
        """The same address, of elements of another type."""
        return Pointer(self.f, self.ir, element)

    def pointer(self, place: int) -> Pointer:
        """The address of integers that stands there."""
        return Pointer(self.f, self.of(POINTER)[place].ir, INT)

    def call(self, place: int, *args: Value, result: Any = VOID) -> Value:
        """Call the function whose address stands there."""
        signature = ir.FunctionType(result, [a.ir.type for a in args])
        function = self.of(signature.as_pointer())[place]
        return Value(self.f, self.f.builder.call(function.ir, [a.ir for a in args]))

    def __getitem__(self, place: Value | int) -> Value:
        return Value(self.f, self.f.builder.load((self + place).ir, typ=self.element))

    def __setitem__(self, place: Value | int, value: Value) -> None:
        self.f.builder.store(value.ir, (self + place).ir)

    def load(
        self,
        place: Value | int,
        mask: Value | None = None,
        *,
        otherwise: Value | None = None,
        align: int = 1,
        lanes: int | None = None,
    ) -> Value:
        """A vector from a place on; under a mask the lanes that it allows, and `otherwise` (zeros) in the others."""
        f, at, vector = self.f, (self + place).ir, vector_of(self.element, lanes or self.f.lanes)
        if mask is None:
            return Value(f, f.builder.load(at, align=align, typ=vector))
        other = ir.Constant(vector, None) if otherwise is None else otherwise.ir
        name = f"masked.load.{_suffix(vector)}.p0"
        return f.intrinsic(name, vector, Value(f, at), Value(f, ir.Constant(INT32, align)), mask, Value(f, other))

    def store(self, place: Value | int, vector: Value, mask: Value | None = None, *, align: int = 1) -> None:
        """Put a vector to a place; under a mask the lanes that it allows."""
        f, at = self.f, (self + place).ir
        if mask is None:
            f.builder.store(vector.ir, at, align=align)
            return
        name = f"masked.store.{_suffix(vector.ir.type)}.p0"
        f.intrinsic(name, VOID, vector, Value(f, at), Value(f, ir.Constant(INT32, align)), mask)

    def gather(self, stride: Value, mask: Value) -> Value:
        """A vector of elements that lie so many apart, those that a mask allows, and zeros."""
        f, vector = self.f, vector_of(self.element, self.f.lanes)
        steps = stride.splat() * Value(f, ir.Constant(vector_of(INT, f.lanes), [*range(f.lanes)]))
        places = Value(f, f.builder.gep(self.splat().ir, [steps.ir], source_etype=self.element))
        name = f"masked.gather.{_suffix(vector)}.{_suffix(places.ir.type)}"
        align, zeros = ir.Constant(INT32, bytes_of(self.element)), ir.Constant(vector, None)
        return f.intrinsic(name, vector, places, Value(f, align), mask, Value(f, zeros))

    def prefetch(self) -> None:
        """Ask for what lies there, which is soon to be read."""
        flags = [Value(self.f, ir.Constant(INT32, n)) for n in (0, 3, 1)]  # to read, often, and data
        self.f.intrinsic("prefetch.p0", VOID, Value(self.f, self.ir), *flags)

    # --- atomic, of 64-bit integers ---

    def atomic_load(self, ordering: str) -> Value:
        return Value(self.f, self.f.builder.load_atomic(self.ir, ordering, 8, typ=INT))

    def atomic_store(self, value: Value, ordering: str) -> None:
        self.f.builder.atomic_rmw("xchg", self.ir, value.ir, ordering)  # llvmlite stores by typed pointers alone

    def atomic_add(self, value: int, ordering: str) -> None:
        self.f.builder.atomic_rmw("add", self.ir, self.f.integer(value).ir, ordering)

    def compare_exchange(self, old: Value, new: Value, success: str, failure: str) -> Value:
        """Write `new` if `old` is there; whether it was."""
        found = self.f.builder.cmpxchg(self.ir, old.ir, new.ir, success, failure)
        return Value(self.f, self.f.builder.extract_value(found, 1))


class Loop:
    """A loop that goes on until one of its exits is taken."""

    def __init__(self, f: FunctionBuilder, carried: list[Value]) -> None:
        self.f, self.carried = f, carried
        self.end = f.builder.append_basic_block()
        self.exits: list[tuple[list[Value], Any]] = []

    def exit_if(self, condition: Value) -> None:
        builder = self.f.builder
        self.exits.append(([*self.carried], builder.block))
        on = builder.append_basic_block()
        builder.cbranch(condition.ir, self.end, on)
        builder.position_at_end(on)


class FunctionBuilder:
    """A native function that is being written.

    Args:
        kind: "f" or "d", the dtype of its numbers.
        lanes: the elements of a vector.
    """

    def __init__(self, kind: str = "f", lanes: int = LANES) -> None:
        self.kind, self.lanes, self.scalar = kind, lanes, TYPES[kind]
        self.vector = vector_of(self.scalar, lanes)
        self.alignment = lanes * bytes_of(self.scalar)  # of whole vectors that are laid out for it
        self._module = ir.Module()
        self._function = ir.Function(self._module, ir.FunctionType(VOID, [POINTER]), "NAME")
        self.builder = ir.IRBuilder(self._function.append_basic_block("entry"))
        self._intrinsics: dict[str, Any] = {}

    def arguments(self, names: str) -> list[Any]:
        """The table's entries: "*name" is the address of numbers, "int*name" of integers, and "name" an integer."""
        table = Pointer(self, self._function.args[0], INT)
        found: list[Value] = []
        for place, name in enumerate(names.split()):
            if "*" in name:
                address = table.of(POINTER)[place] if place else Value(self, self.builder.load(table.ir, typ=POINTER))
                found.append(Pointer(self, address.ir, INT if name.startswith("int") else self.scalar))
            else:
                found.append(table[place])
        return found

    @property
    def table(self) -> Pointer:
        """The table itself."""
        return Pointer(self, self._function.args[0], INT)

    def text(self) -> str:
        """The function as LLVM's text, @"NAME", and declarations of the intrinsic functions that it calls."""
        self.builder.ret_void()
        return "\n".join([*[str(f).strip() for f in self._intrinsics.values()], str(self._function)])

    # --- values ---

    def integer(self, n: int) -> Value:
        return self._constant(INT, n)

    def number(self, x: float) -> Value:
        return self._constant(self.scalar, x)

    def numbers(self, x: float) -> Value:
        """A number in all lanes."""
        return self._constant(self.vector, x)

    def truths(self, x: bool) -> Value:
        """True or false in all lanes."""
        return self._constant(vector_of(BOOL, self.lanes), int(x))

    def like(self, value: Value, other: Value | float) -> Value:
        """A value, or a constant of the type that another one has."""
        return other if isinstance(other, Value) else self._constant(value.ir.type, other)

    def _constant(self, type_: Any, x: float) -> Value:
        return Value(self, _constant(type_, repr(x), x))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once."""
        return self.elementwise("fma", a, b, c)

    def elementwise(self, name: str, *args: Value) -> Value:
        """An intrinsic function of numbers, or of vectors, that gives what it takes."""
        type_ = args[0].ir.type
        return self.intrinsic(f"{name}.{_suffix(type_)}", type_, *args)

    def reduce(self, name: str, vector: Value, start: float | None = None) -> Value:
        """One number of all lanes, in an order that LLVM chooses."""
        type_ = vector.ir.type
        first = [] if start is None else [self._constant(type_.element, start)]
        flags = [] if start is None else ["reassoc"]
        return self.intrinsic(f"vector.reduce.{name}.{_suffix(type_)}", type_.element, *first, vector, flags=flags)

    def intrinsic(self, name: str, result: Any, *args: Value, flags: Sequence[str] = ()) -> Value:
        if name not in self._intrinsics:
            signature = ir.FunctionType(result, [a.ir.type for a in args])
            self._intrinsics[name] = ir.Function(self._module, signature, f"llvm.{name}")
        return Value(self, self.builder.call(self._intrinsics[name], [a.ir for a in args], fastmath=flags))

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        return Value(self, self.builder.select(condition.ir, a.ir, b.ir))

    def minimum(self, a: Value, b: Value | int) -> Value:
        """Of integers."""
        other = self.like(a, b)
        return self.select(a < other, a, other)

    def masks(self, count: Value, vectors: int) -> list[Value]:
        """For each of several vectors, which of its lanes are among the first `count` of all."""
        bounded = self.minimum(count, vectors * self.lanes)
        wide = bounded.truncated(32).splat()
        places = [ir.Constant(wide.ir.type, [v * self.lanes + i for i in range(self.lanes)]) for v in range(vectors)]
        return [Value(self, place) < wide for place in places]

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
        first, last = [self.like(self.integer(0), n) for n in (first, last)]
        carried = [] if carried is None else carried
        if nonempty:
            yield from self._counted(first, last, step, carried)
        else:
            with self.if_(first < last, carried):
                yield from self._counted(first, last, step, carried)

    def _counted(self, start: Value, stop: Value, step: int, carried: list[Value]) -> Iterator[Value]:
        variables = [start]
        body, phis = self._open(variables, carried)
        yield variables[0]
        variables[0] = variables[0] + step
        end = self.builder.append_basic_block()
        self._again(phis, variables, carried)
        self.builder.cbranch((variables[0] < stop).ir, body, end)
        self.builder.position_at_end(end)

    @contextmanager
    def loop(self, carried: list[Value] | None = None) -> Iterator[Loop]:
        """A loop that ends where its `exit_if` says so."""
        carried = [] if carried is None else carried
        body, phis = self._open([], carried)
        loop = Loop(self, carried)
        yield loop
        self._again(phis, [], carried)
        self.builder.branch(body)
        self.builder.position_at_end(loop.end)
        self._join(carried, loop.exits)

    def columns(
        self, count: Value, vectors: int = 1, carried: list[Value] | None = None
    ) -> Iterator[tuple[Value, list[Value | None]]]:
        """Some vectors of columns at a time: the first column, and their masks.

        The body of such a `for` is written twice: in a loop over whole vectors, which have no masks, and for the rest.
        """
        width = vectors * self.lanes
        whole = count & -width
        for column in self.range(0, whole, width, carried=carried):
            yield column, [None] * vectors
        with self.if_(whole < count, carried):
            yield whole, [*self.masks(count - whole, vectors)]

    def _open(self, *several: list[Value]) -> tuple[Any, list[Any]]:
        """Begin the body of a loop, in which variables change: it, and their phi nodes."""
        before, body = self.builder.block, self.builder.append_basic_block()
        self.builder.branch(body)
        self.builder.position_at_end(body)
        phis = []
        for variables in several:
            for n, value in enumerate(variables):
                phi = self.builder.phi(value.ir.type)
                phi.add_incoming(value.ir, before)
                phis.append(phi)
                variables[n] = Value(self, phi)
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
                phi = self.builder.phi(carried[n].ir.type)
                for value, block in values:
                    phi.add_incoming(value.ir, block)
                carried[n] = Value(self, phi)


@lru_cache(None)
def vector_of(element: Any, lanes: int) -> Any:
    """The type of a vector, which is the same object each time: it keeps its text."""
    return ir.VectorType(element, lanes)


@lru_cache(4096)
def _constant(type_: Any, told: str, x: float) -> Any:
    """A constant, in all lanes of a vector; `told` tells 0.0 from -0.0, and one nan from no other."""
    return ir.Constant(type_, [x] * type_.count if isinstance(type_, ir.VectorType) else x)


def scalar_of(type_: Any) -> Any:
    return type_.element if isinstance(type_, ir.VectorType) else type_


def bytes_of(type_: Any) -> int:
    return 8 if type_ == DOUBLE else 4


def _suffix(type_: Any) -> str:
    """What a type is called in the names of intrinsic functions."""
    if isinstance(type_, ir.VectorType):
        return f"v{type_.count}{_NAMES[str(type_.element)]}"
    return _NAMES[str(type_)]
