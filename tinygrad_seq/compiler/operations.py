"""What each operation of a program computes: the one place that says so, for recording, folding and replaying.

Operations are NumPy's, with one spelling for each thing: all basic indexing is `slice`, all advanced indexing `take`,
and nothing is written in place: `update` and `scatter_add` return a changed copy. `after` is its first operand, as
something that is not there before the others are: what is computed of it is computed again, `again` counts how often.
`collective` is a message between processes: its last operand, past `count`, is what came of the one before it, so that
all processes send theirs in one order. `loop` does all steps of a loop (`loop.py`), and each `loop_result` is what it
has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..backend import SCALAR, Array, array_module, backend_of, is_array
from ..backend import numpy_module as numpy

if TYPE_CHECKING:
    from .program import Instr, Var

EFFECTS = frozenset({"require", "collective"})  # what is done though nobody reads the result


class _Hole:
    """In a static index, where an index array goes."""

    def __repr__(self) -> str:
        return "_"


HOLE = _Hole()

# NumPy's functions of elements, by its names, and ours that work so
UFUNCS = frozenset(
    name for name in dir(numpy) if isinstance(getattr(numpy, name), numpy.ufunc) and name not in ("matmul", "divmod")
)
REDUCTIONS = frozenset({"sum", "max", "min", "prod", "any", "all", "argmax", "argmin"})
VIEWS = frozenset({"reshape", "transpose", "slice", "broadcast", "after"})


def needed_for(outputs: Iterable[Var], instrs: list[Instr]) -> list[Instr]:
    """Those that the outputs are computed from, checks, and messages to other processes."""
    needed, kept = set(outputs), []
    for instr in reversed(instrs):
        if instr.op in EFFECTS or instr.out in needed:
            needed.update(instr.inputs())
            kept.append(instr)
    return kept[::-1]


def base_of(
    var: Var, producers: Mapping[Var, Instr], aliases: Mapping[Var, tuple[Var, tuple[Any, ...]]] = MappingProxyType({})
) -> Var:
    """The Var in whose memory this one lies, as a view or as one of the `aliases`."""
    while True:
        if var in aliases:
            var = aliases[var][0]
        elif var in producers and producers[var].op in VIEWS:
            var = producers[var].args[0]
        else:
            return var


def filled(index: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """A static index with the arrays in its holes."""
    rest = iter(arrays)
    return tuple([next(rest) if i is HOLE else i for i in index])


def _update(x: Array, value: Any, *arrays: Array, index: tuple[Any, ...]) -> Array:
    y = x.copy()
    y[filled(index, arrays)] = value
    return y


def _scatter_add(x: Array, values: Any, *arrays: Array, index: tuple[Any, ...]) -> Array:
    y = x.copy()
    backend_of(x).scatter_add(y, filled(index, arrays), values)
    return y


def _require(*arrays: Any, check: Callable[..., None]) -> Array:
    check(*arrays)
    return numpy.zeros(0)


def _random_bits(seed: int, offset: int, *, count: int, backend: Any, index: int) -> Array:
    return backend.random_bits(seed, offset, count, index)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": lambda c, a, b: array_module(c).where(c, a, b),
    "cast": lambda x, dtype: x.astype(dtype),
    "sigmoid": lambda x: backend_of(x).sigmoid(x),
    "erf": lambda x: backend_of(x).erf(x),
    "matmul": lambda a, b: a @ b,
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, dims: x.transpose(dims),
    "slice": lambda x, index: x[index],
    "broadcast": lambda x, shape: array_module(x).broadcast_to(x, shape),
    "after": lambda x, *_, again: x,
    "concat": lambda *xs, axis: array_module(xs[0]).concatenate(xs, axis=axis),
    "take": lambda x, *arrays, index: x[filled(index, arrays)],
    "update": _update,
    "scatter_add": _scatter_add,
    "copy": lambda x: x.copy(),
    "random_bits": _random_bits,
    "require": _require,
    "call": lambda *args, function, **_: function(*args),
    "collective": lambda *args, message, count: message(*args[:count]),
}
FUNCTIONS |= {
    name: (lambda x, axis, keepdims, name=name: getattr(x, name)(axis=axis, keepdims=keepdims)) for name in REDUCTIONS
}
FUNCTIONS["sum"] = lambda x, axis, keepdims: backend_of(x).sum_over(x, axis, keepdims)


def evaluate(op: str, args: Any, params: dict[str, Any]) -> Array:
    """The result of an operation on arrays and numbers, always an array."""
    if op in UFUNCS:
        y = getattr(array_module(next((a for a in args if hasattr(a, "dtype")), None)), op)(*args)
    else:
        y = FUNCTIONS[op](*args, **params)
    return y if type(y) is numpy.ndarray or (is_array(y) and not isinstance(y, SCALAR)) else numpy.asarray(y)
