"""What a primitive is given, and which of it its rules ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..backend import SCALAR, DType, backend_of, complex64, complex128, float16, float32, float64, is_array, result_type
from ..backend import numpy as numpy_backend
from .device import device_of


def frozen(numbers: Any) -> Any:
    """Nested lists as tuples, which nobody can change behind the graph's back."""
    return tuple([frozen(x) for x in numbers]) if isinstance(numbers, (list, tuple)) else numbers


def beside_arrays(operands: list[Any], promotes: bool) -> list[Any]:
    """Lists among operands as arrays where the others are. NumPy takes lists as they are, if they are not `promoted`.

    Raises:
        OverflowError: if a list beside integers, with which it is promoted, holds one that their dtype lacks.
    """
    array = next((x for x in operands if is_array(x) and not isinstance(x, SCALAR)), None)
    if array is None or (backend_of(array) is numpy_backend and not promotes):
        return operands
    wanted, here = promoted(operands), device_of(array)
    return [
        here.backend.asarray(x, _dtype_of_list(x, wanted, promotes), here.index) if isinstance(x, tuple) else x
        for x in operands
    ]


def _dtype_of_list(numbers: Any, wanted: DType, promotes: bool) -> DType:
    """Beside arrays of the dtype `wanted` that one, if it has such numbers; else of floats float32."""
    kind = numpy_backend.asarray(numbers).dtype
    if promotes and kind.kind in "iufc" and _category(kind) <= _category(wanted):
        return numpy_backend.asarray(numbers, wanted).dtype
    if kind not in (float64, complex128) or wanted in (float64, complex128):
        return kind
    return float32 if kind == float64 else complex64


def plain(x: Any, name: str) -> Any:
    """NumPy's scalars as Python numbers, which do not promote float32 to float64; subclasses of arrays as arrays."""
    if isinstance(x, SCALAR):
        return x.item()
    if hasattr(x, "mask"):
        raise TypeError(f"{name}: got a masked array, whose mask would be lost; give .filled(value) instead")
    if not is_array(x):
        raise TypeError(
            f"{name}: takes tensors, arrays and numbers, got a {type(x).__module__}.{type(x).__name__}; "
            "tg.from_dlpack or tg.tensor makes a tensor of what holds numbers"
        )
    return backend_of(x).asarray(x)


_CATEGORIES = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}

halves: list[DType] = []  # float16, once a tensor may be of it: until then float32 results need no second look


def note_half(kind: DType) -> None:
    """Note that there are tensors of this dtype, if it is float16."""
    if kind == float16 and not halves:
        halves.append(kind)


def _category(kind: DType) -> int:
    if kind.kind not in _CATEGORIES:
        raise TypeError(f"takes arrays of numbers, got one of {kind}")
    return _CATEGORIES[kind.kind]


def promoted(operands: Iterable[Any]) -> DType | None:
    """The dtype in which PyTorch computes with arrays; None without any. Python's numbers have no say in it.

    The highest of booleans, integers, floats and complex numbers decides alone, and of it arrays of no dimension only
    where no other array is of that kind: a float32 matrix times a float64 scalar is float32.
    """
    arrays = [x for x in operands if is_array(x)]
    if not arrays:
        return None
    highest = max([_category(x.dtype) for x in arrays])
    if highest == _CATEGORIES["c"]:  # whose precision floats have a say in
        numbers = [x for x in arrays if x.dtype.kind in "fc"]
        return result_type(complex64, *[x.dtype for x in [x for x in numbers if x.ndim] or numbers])
    deciding = [x for x in arrays if _category(x.dtype) == highest]
    return result_type(*[x.dtype for x in [x for x in deciding if x.ndim] or deciding])


def in_one_dtype(operands: list[Any], result: DType) -> list[Any] | None:
    """Operands brought to the dtype that they are `promoted` to; None where a result of this dtype is right.

    Integers are compared and divided as they are, without a change that could lose digits.
    """
    wanted = promoted(operands)
    if wanted is None or _category(result) > _category(wanted) or (result.kind == "b" and wanted.kind in "biu"):
        return None
    moved = "fc" if result.kind == "b" else "iufc"
    strangers = [is_array(x) and x.dtype.kind in moved and x.dtype != wanted for x in operands]
    if not any(strangers):
        return None
    return [x.astype(wanted) if strange else x for x, strange in zip(operands, strangers, strict=True)]


def used_arguments(rule: Callable[..., Any], n_inputs: int) -> list[bool]:
    """For the output and each input, whether the rule asks for its values: its name has no leading underscore."""
    code = getattr(rule, "__code__", None)
    if code is None:
        return [True] * (1 + n_inputs)
    names = code.co_varnames
    first = 2 if hasattr(rule, "__self__") else 1  # after g, and in a method after self
    positional = [not name.startswith("_") for name in names[first : code.co_argcount]]
    if code.co_flags & 0x04:  # has *args, whose name comes after the keyword-only ones
        rest = not names[code.co_argcount + code.co_kwonlyargcount].startswith("_")
        positional += [rest] * (1 + n_inputs - len(positional))
    return positional[: 1 + n_inputs] + [False] * (1 + n_inputs - len(positional))
