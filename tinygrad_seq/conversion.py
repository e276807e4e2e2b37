"""What users give, as the dtypes and arrays that tensors are made of."""

from __future__ import annotations

from typing import Any

from .backend import Array, DType, dtype, float32, float64, is_array
from .device import device as Device
from .graph import Value


def as_dtype(given: Any) -> DType:
    """A dtype from a dtype, a name ("float32") or a Python type (float is float32, the default)."""
    return float32 if given is float else dtype(given)


def to_array(data: Any, given: DType, target: Device) -> Array:
    """A fresh array of `data` on a device, floats as float32 unless they come in an array or a dtype is given."""
    if isinstance(data, Value):
        data = data.array
    wanted = None if given is None else as_dtype(given)
    if is_array(data):
        array = target.backend.asarray(data, wanted, target.index)
        return array.copy() if array is data or array.base is not None else array
    if isinstance(data, (list, tuple)) and any(isinstance(x, Value) for x in data):
        data = [x.array.tolist() if isinstance(x, Value) else x for x in data]
    array = target.backend.asarray(data, wanted, target.index)
    if array.dtype.kind == "O":
        raise TypeError(f"tensor: cannot make numbers of {type(data).__name__}; takes numbers, nested lists and arrays")
    return array.astype(float32) if wanted is None and array.dtype == float64 else array
