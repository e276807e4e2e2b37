"""LLVM's values with Python's operators, and pointers that are indexed by elements: what is done to them is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from llvmlite import ir

INT, INT32, BYTE, BOOL = [ir.IntType(bits) for bits in (64, 32, 8, 1)]
FLOAT, DOUBLE, VOID, POINTER = ir.FloatType(), ir.DoubleType(), ir.VoidType(), ir.PointerType()
_NAMES = {FLOAT: "f32", DOUBLE: "f64", BYTE: "i8", POINTER: "p0"}  # in the names of intrinsic functions
_BYTES = {FLOAT: 4, DOUBLE: 8}


def _operator(integers: str, numbers: str = "") -> Callable[[Value, Value | float], Value]:
    """A method for an operator: IRBuilder's names of its instruction for integers, and for floating point."""

    def apply(self: Value, other: Value | float) -> Value:
        name = integers if isinstance(scalar_of(self.ir.type), ir.IntType) else numbers
        return Value(self.builder, getattr(self.builder, name)(self.ir, self.like(other).ir))

    return apply


class Value:
    """What an instruction made: an integer (unsigned, as lengths are), a truth, a number, or a vector of these.

    Attributes:
        builder: llvmlite's IRBuilder, which writes the instructions.
        ir: llvmlite's value.
    """

    __slots__ = ("builder", "ir")
    builder: Any
    ir: Any

    def __init__(self, builder: Any, ir_value: Any) -> None:
        self.builder, self.ir = builder, ir_value

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
    signed_shift = _operator("ashr")

    def __neg__(self) -> Value:
        return Value(self.builder, self.builder.fneg(self.ir))

    def __lt__(self, other: Value | float) -> Value:
        return self.compare("<", other)

    def __ge__(self, other: Value | float) -> Value:
        return self.compare(">=", other)

    def compare(self, how: str, other: Value | float) -> Value:
        """By "==", "!=", "<", ...; integers are unsigned; of nan "!=" is true, and "uno", which asks for it."""
        if isinstance(scalar_of(self.ir.type), ir.IntType):
            compare = self.builder.icmp_unsigned
        else:
            compare = self.builder.fcmp_unordered if how in ("!=", "uno") else self.builder.fcmp_ordered
        return Value(self.builder, compare(how, self.ir, self.like(other).ir))

    def is_negative(self) -> Value:
        """Of an integer that is signed after all."""
        return Value(self.builder, self.builder.icmp_signed("<", self.ir, self.like(0).ir))

    def like(self, other: Value | float) -> Value:
        """A value, or a constant of the same type as this one."""
        return other if isinstance(other, Value) else Value(self.builder, constant(self.ir.type, other))

    def splat(self, lanes: int) -> Value:
        """In all lanes of a vector."""
        undefined = ir.Constant(vector_of(self.ir.type, lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, self.ir, constant(INT, 0))
        return Value(self.builder, self.builder.shuffle_vector(first, undefined, constant(vector_of(INT32, lanes), 0)))

    def cast(self, name: str, type_: Any) -> Value:
        """By IRBuilder's instruction of that name."""
        return Value(self.builder, getattr(self.builder, name)(self.ir, type_))

    def truncated(self, bits: int) -> Value:
        """An integer of fewer bits, or of as many."""
        return self.cast("trunc", ir.IntType(bits))

    def to(self, scalar: Any) -> Value:
        """Numbers in float32 or float64."""
        type_ = self.ir.type
        target = vector_of(scalar, type_.count) if isinstance(type_, ir.VectorType) else scalar
        return self.cast("fpext" if scalar == DOUBLE else "fptrunc", target)


class Pointer(Value):
    """The address of elements of one type, which are read singly, or as vectors of so many lanes."""

    __slots__ = ("element", "lanes")
    element: Any
    lanes: int

    def __init__(self, builder: Any, ir_value: Any, element: Any, lanes: int) -> None:
        super().__init__(builder, ir_value)
        self.element, self.lanes = element, lanes

    def __add__(self, elements: Value | float) -> Pointer:
        index = elements.ir if isinstance(elements, Value) else constant(INT, elements)
        at = self.builder.gep(self.ir, [index], source_etype=self.element)
        return Pointer(self.builder, at, self.element, self.lanes)

    def of(self, element: Any, lanes: int = 0) -> Pointer:
        """The same address, of elements of another type, or of other vectors."""
        return Pointer(self.builder, self.ir, element, lanes or self.lanes)

    def pointer(self, index: Value | int, element: Any = INT) -> Pointer:
        """The address that stands at an index."""
        return Pointer(self.builder, self.of(POINTER)[index].ir, element, self.lanes)

    def call(self, index: int, *args: Value, result: Any = VOID) -> Value:
        """Call the function whose address stands at an index."""
        signature = ir.FunctionType(result, [a.ir.type for a in args])
        function = self.of(signature.as_pointer())[index]
        return Value(self.builder, self.builder.call(function.ir, [a.ir for a in args]))

    def __getitem__(self, index: Value | int) -> Value:
        return Value(self.builder, self.builder.load((self + index).ir, typ=self.element))

    def __setitem__(self, index: Value | int, value: Value) -> None:
        self.builder.store(value.ir, (self + index).ir)

    def broadcast(self, index: Value | int) -> Value:
        """The element at an index in all lanes."""
        return self[index].splat(self.lanes)

    def load(
        self, index: Value | int, mask: Value | None = None, *, otherwise: Value | None = None, align: int = 1
    ) -> Value:
        """A vector from an index on; under a mask the lanes that it allows, and `otherwise` (zeros) in the others."""
        at, vector = self + index, vector_of(self.element, self.lanes)
        if mask is None:
            return Value(self.builder, self.builder.load(at.ir, align=align, typ=vector))
        name, aligned = f"masked.load.{suffix(vector)}.p0", self._constant(INT32, align)
        return intrinsic(name, vector, at, aligned, mask, otherwise or self._constant(vector, 0))

    def store(self, index: Value | int, vector: Value, mask: Value | None = None, *, align: int = 1) -> None:
        """Store a vector from an index on; under a mask the lanes that it allows."""
        at = self + index
        if mask is None:
            self.builder.store(vector.ir, at.ir, align=align)
            return
        intrinsic(f"masked.store.{suffix(vector.ir.type)}.p0", VOID, vector, at, self._constant(INT32, align), mask)

    def gather(self, stride: Value, mask: Value) -> Value:
        """A vector of elements that lie so many apart, those that a mask allows, and zeros."""
        vector, steps = (
            vector_of(self.element, self.lanes),
            ir.Constant(vector_of(INT, self.lanes), [*range(self.lanes)]),
        )
        distances = stride.splat(self.lanes) * Value(self.builder, steps)
        addresses = self.builder.gep(self.splat(self.lanes).ir, [distances.ir], source_etype=self.element)
        name, align = (
            f"masked.gather.{suffix(vector)}.{suffix(addresses.type)}",
            self._constant(INT32, bytes_of(self.element)),
        )
        return intrinsic(name, vector, Value(self.builder, addresses), align, mask, self._constant(vector, 0))

    def prefetch(self) -> None:
        """Ask for what lies there, which is soon to be read."""
        flags = [self._constant(INT32, n) for n in (0, 3, 1)]  # to read, often, and data
        intrinsic("prefetch.p0", VOID, self, *flags)

    def _constant(self, type_: Any, x: float) -> Value:
        return Value(self.builder, constant(type_, x))

    # --- atomic, of 64-bit integers ---

    def atomic_load(self, ordering: str) -> Value:
        return Value(self.builder, self.builder.load_atomic(self.ir, ordering, 8, typ=INT))

    def atomic_store(self, value: Value, ordering: str) -> None:
        self.builder.atomic_rmw("xchg", self.ir, value.ir, ordering)  # llvmlite's store takes typed pointers alone

    def atomic_add(self, value: int, ordering: str) -> None:
        self.builder.atomic_rmw("add", self.ir, constant(INT, value), ordering)

    def compare_exchange(self, old: Value, new: Value, success: str, failure: str) -> Value:
        """Write `new` if `old` is there; whether it was."""
        found = self.builder.cmpxchg(self.ir, old.ir, new.ir, success, failure)
        return Value(self.builder, self.builder.extract_value(found, 1))


def intrinsic(name: str, result: Any, *args: Value, flags: Sequence[str] = ()) -> Value:
    """Call one of LLVM's intrinsic functions, without the "llvm." of its name."""
    builder = args[0].builder
    function = builder.module.globals.get(f"llvm.{name}")
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.ir.type for a in args]), f"llvm.{name}")
    return Value(builder, builder.call(function, [a.ir for a in args], fastmath=flags))


def constant(type_: Any, x: float) -> Any:
    """A constant, in all lanes of a vector."""
    return _constant(type_, repr(x), x)


@lru_cache(4096)
def _constant(type_: Any, told: str, x: float) -> Any:
    """`told` tells -0.0 from 0.0."""
    return ir.Constant(type_, [x] * type_.count if isinstance(type_, ir.VectorType) else x)


@lru_cache(None)
def vector_of(element: Any, lanes: int) -> Any:
    """The type of a vector, which is the same object each time: it keeps its text."""
    return ir.VectorType(element, lanes)


def scalar_of(type_: Any) -> Any:
    return type_.element if isinstance(type_, ir.VectorType) else type_


def bytes_of(scalar: Any) -> int:
    """Of a number."""
    return _BYTES[scalar]


def suffix(type_: Any) -> str:
    """What a type is called in the names of intrinsic functions."""
    lanes = f"v{type_.count}" if isinstance(type_, ir.VectorType) else ""
    return lanes + _NAMES[scalar_of(type_)]
