"""Python numbers that are inputs of a program."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ...backend import numpy_module as numpy
from ..snapshots import alike


class SymbolicScalar:
    """A Python number that will be another at the next call, such as a learning rate; what is made of it is, too.

    It passes for the number, and is no more than that to other threads and when the recording is over. Where Python or
    a library wants to have the number itself, as `math.sqrt` does, the program is right for this number alone.

    Attributes:
        value: the number at this call.
        number: which of the program's numbers it is.
    """

    __slots__ = ("number", "tracer", "value")
    number: Any
    tracer: Any
    value: Any

    def __init__(self, value: Any, number: Any, tracer: Any) -> None:
        self.value, self.number, self.tracer = value, number, tracer

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.value)

    def __bool__(self) -> bool:
        value = bool(self.value)
        return self.tracer.guard(bool, value, self) if self.tracer.mine() else value

    def pinned(self) -> Any:
        """The number itself, which it has to be at each call of the program."""
        if self.tracer.mine():
            self.tracer.guard(alike, True, self, self.value)
        return self.value

    def __array__(self, *kind: Any, **settings: Any) -> Any:
        return numpy.asarray(self.pinned(), *kind, **settings)


def plain(x: Any) -> Any:
    """The number that it is at this call."""
    return x.value if type(x) is SymbolicScalar else x


def _symbolic_operator(name: str, swapped: bool = False) -> Callable[..., Any]:
    function = getattr(operator, name)

    def method(self: SymbolicScalar, *others: Any) -> Any:
        if not all(isinstance(other, (int, float)) for other in others):
            return NotImplemented
        operands = (*others, self) if swapped else (self, *others)
        value = function(*map(plain, operands))
        if not self.tracer.mine():
            return value
        if isinstance(value, bool):
            return self.tracer.guard(function, value, *operands)
        return self.tracer.number(value, function, *operands)

    return method


def _pinning(name: str) -> Callable[..., Any]:
    def method(self: SymbolicScalar, *args: Any) -> Any:
        value = self.pinned()
        return getattr(type(value), name)(value, *[x.pinned() if type(x) is SymbolicScalar else x for x in args])

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(SymbolicScalar, f"__{_name}__", _symbolic_operator(_name))
    setattr(SymbolicScalar, f"__r{_name}__", _symbolic_operator(_name, swapped=True))
for _name in ("neg", "abs", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(SymbolicScalar, f"__{_name}__", _symbolic_operator(_name))
for _name in ("and", "or", "xor", "lshift", "rshift"):
    setattr(SymbolicScalar, f"__{_name}__", _pinning(f"__{_name}__"))
    setattr(SymbolicScalar, f"__r{_name}__", _pinning(f"__r{_name}__"))
for _name in (
    "invert",
    "pos",
    "complex",
    "float",
    "int",
    "round",
    "trunc",
    "floor",
    "ceil",
    "divmod",
    "rdivmod",
    "hash",
    "repr",
    "str",
    "format",
):
    setattr(SymbolicScalar, f"__{_name}__", _pinning(f"__{_name}__"))


def _index(self: SymbolicScalar) -> int:
    return operator.index(self.pinned())


def _attribute(self: SymbolicScalar, name: str) -> Any:
    """What else a number has, as `is_integer`."""
    if name.startswith("__") or not hasattr(type(self.value), name):
        raise AttributeError(name)
    return getattr(self.pinned(), name)


SymbolicScalar.__index__ = _index  # type: ignore[attr-defined]
SymbolicScalar.__getattr__ = _attribute  # type: ignore[attr-defined]


def pinned(data: Any) -> Any:
    """Nested lists, with numbers that are the same at each call."""
    if isinstance(data, (list, tuple)):
        return [pinned(x) for x in data]
    return data.pinned() if type(data) is SymbolicScalar else data
