"""What users give, as the dtypes and arrays that tensors are made of."""

from __future__ import annotations

from typing import Any

from ..backend import (
    SCALAR,
    Array,
    DType,
    array_module,
    complex64,
    complex128,
    dtype,
    float32,
    float64,
    is_array,
    on_gpu,
)
from ..backend import numpy as host
from ..backend.dispatch import at
from .device import device as Device
from .node import Value
from .operands import note_half, promoted
from .tracing_hook import current_tracer


def as_dtype(given: Any) -> DType:
    """A dtype from a dtype, a name ("float32") or a Python type (float is float32, the default)."""
    try:
        found = float32 if given is float else dtype(given)
    except TypeError:
        found = None
    if found is None or not is_numeric(found):
        raise TypeError(f"dtype: {given!r} is none; takes one such as tg.float32, or its name, 'float32'")
    note_half(found)
    return found


def names_dtype(text: str) -> bool:
    """Whether this is the name of a dtype, such as "float32"."""
    try:
        as_dtype(text)
    except TypeError:
        return False
    return True


def is_numeric(kind: DType) -> bool:
    """Whether tensors can be of this dtype: booleans, integers, floats and complex numbers of up to 8 bytes a part."""
    return kind.kind in "biufc" and kind.itemsize <= (16 if kind.kind == "c" else 8) and kind.isnative


def require_numbers_in(name: str, array: Array) -> None:
    """Raise a TypeError unless a tensor can have this array's numbers, and all of them. Note halves among them."""
    if hasattr(array, "mask"):
        raise TypeError(f"{name}: got a masked array, whose mask would be lost; give it .filled(value) instead")
    if not is_numeric(array.dtype):
        raise TypeError(f"{name}: takes arrays of numbers, got one of {array.dtype}")
    note_half(array.dtype)


def is_scalar(x: Any) -> bool:
    """Whether this is one of NumPy's numbers."""
    return isinstance(x, SCALAR)


def require_fit(name: str, number: Any, kind: DType) -> Any:
    """A number as one of this dtype: 2.0 as 2 for integers.

    Raises:
        TypeError: if that would change it: 2.5 among integers, 300 among those of 8 bits, 2 among booleans.
    """
    number = number.item() if is_scalar(number) else number
    if kind.kind not in "biu" or not isinstance(number, (int, float, complex)):
        return number
    limits = None if kind.kind == "b" else array_module(0.0).iinfo(kind)
    low, high = (limits.min, limits.max) if limits else (0, 1)
    if isinstance(number, complex) or not low <= number <= high or number != int(number):
        raise TypeError(f"{name}: {number} is no number of {kind}; convert the tensor first, as in .float()")
    return bool(number) if kind.kind == "b" else int(number)


_NARROW = {float64: float32, complex128: complex64}  # what Python's numbers become


def _has_doubles(data: Any) -> bool:
    """Whether NumPy's numbers of two words, or arrays of them, are among Python's."""
    kinds = set(map(type, data))  # of a long list that costs little
    return any(
        _has_doubles(x) if isinstance(x, (list, tuple)) else getattr(x, "dtype", None) in _NARROW
        for x in (data if kinds - {int, float, bool, complex} else ())
    )


def to_array(data: Any, given: DType, target: Device) -> Array:
    """A fresh array of `data` on a device, Python's floats as float32 unless a dtype is given; NumPy's keep theirs.

    A list of tensors has the dtype that they are promoted to.
    """
    if isinstance(data, Value):
        data = data.array
    wanted = None if given is None else as_dtype(given)
    if is_array(data):
        if (tracer := current_tracer()) is not None:
            data = tracer.traced(data)
        if not data.dtype.isnative:  # bytes in the other order, as some files have them
            data = data.astype(data.dtype.newbyteorder("="))
        require_numbers_in("tensor", data)
        array = target.backend.asarray(data, wanted, target.index)
        with at(array):
            return array.copy() if array is data or array.base is not None else array
    if isinstance(data, (list, tuple)) and any(isinstance(x, Value) for x in data):
        if wanted is None and all(isinstance(x, Value) for x in data):
            wanted = promoted([x.array for x in data])
        data = [x.array.tolist() if isinstance(x, Value) else x for x in data]
    there = target.backend
    # what is no array yet becomes one on the host, which says what it is in the same words for all devices
    home = host if there in on_gpu and not hasattr(data, "__cuda_array_interface__") else there
    try:
        plain = isinstance(data, (list, tuple, int, float, complex))  # of others first what they are: "a" is a true one
        array = home.asarray(data, wanted if plain else None, target.index)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"tensor: cannot make an array of this {type(data).__name__}: {error}") from error
    if not is_numeric(array.dtype):
        if isinstance(data, int):
            raise ValueError(f"tensor: {data} does not fit in 64 bits; give it as a float")
        raise TypeError(f"tensor: cannot make numbers of {type(data).__name__}; takes numbers, nested lists and arrays")
    if wanted is None:
        doubles = isinstance(data, (list, tuple)) and array.dtype in _NARROW and _has_doubles(data)
        wanted = array.dtype if doubles else _NARROW.get(array.dtype, array.dtype)
    if home is not there:
        return there.asarray(array, wanted, target.index)
    with at(array):
        return array if array.dtype == wanted else array.astype(wanted)
