"""What a primitive is given, and which of it its rules ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .backend import SCALAR, DType, backend_of, complex64, complex128, float32, float64, is_array, result_type
from .backend import numpy as numpy_backend
from .device import beside


def frozen(numbers: Any) -> Any:
    """Nested lists as tuples, which nobody can change behind the graph's back."""
    return tuple([frozen(x) for x in numbers]) if isinstance(numbers, (list, tuple)) else numbers


def beside_arrays(operands: list[Any]) -> list[Any]:
    """Lists among operands as arrays on a GPU, if the others are there. NumPy takes lists; floats become float32."""
    array = next((x for x in operands if is_array(x) and not isinstance(x, SCALAR)), None)
    if array is None or backend_of(array) is numpy_backend:
        return operands
    wide = any(is_array(x) and x.dtype in (float64, complex128) for x in operands)
    made = [beside(array, x) if isinstance(x, tuple) else x for x in operands]
    return [
        x.astype(float32) if isinstance(given, tuple) and x.dtype == float64 and not wide else x
        for given, x in zip(operands, made, strict=True)
    ]


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


def promoted(operands: Iterable[Any]) -> DType | None:
    """The dtype in which PyTorch computes with arrays; None without any. Python's numbers have no say in it.

    The highest of booleans, integers, floats and complex numbers decides alone, and of it arrays of no dimension only
    where no other array is of that kind: a float32 matrix times a float64 scalar is float32.
    """
    arrays = [x for x in operands if is_array(x)]
    if not arrays:
        return None
    highest = max(_CATEGORIES[x.dtype.kind] for x in arrays)
    if highest == _CATEGORIES["c"]:  # whose precision floats have a say in
        numbers = [x for x in arrays if x.dtype.kind in "fc"]
        return result_type(complex64, *[x.dtype for x in [x for x in numbers if x.ndim] or numbers])
    deciding = [x for x in arrays if _CATEGORIES[x.dtype.kind] == highest]
    return result_type(*[x.dtype for x in [x for x in deciding if x.ndim] or deciding])


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
