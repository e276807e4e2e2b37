"""The range and the precision of a dtype, as Python numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import array_module, float32
from ..graph.conversion import as_dtype


class FloatLimits(NamedTuple):
    """What the numbers of a floating-point dtype can be."""

    dtype: str
    bits: int
    max: float
    min: float
    eps: float
    tiny: float
    smallest_normal: float
    resolution: float


class IntegerLimits(NamedTuple):
    """What the numbers of an integer dtype can be."""

    dtype: str
    bits: int
    max: int
    min: int


def finfo(dtype: Any = float32) -> FloatLimits:
    """The largest and the smallest number, the distance from 1 to the next (eps), the smallest above 0 (tiny), ..."""
    kind = None if dtype is None else as_dtype(dtype)
    if kind is None or kind.kind != "f":
        raise TypeError(f"finfo: takes a floating-point dtype, got {kind}; of integers, see iinfo")
    found = array_module(0.0).finfo(kind)
    numbers = [float(n) for n in (found.max, found.min, found.eps, found.tiny, found.tiny, found.resolution)]
    return FloatLimits(str(kind), found.bits, *numbers)


def iinfo(dtype: Any) -> IntegerLimits:
    """The largest and the smallest number."""
    kind = None if dtype is None else as_dtype(dtype)
    if kind is None or kind.kind not in "iu":
        raise TypeError(f"iinfo: takes an integer dtype, got {kind}; of floating-point numbers, see finfo")
    found = array_module(0.0).iinfo(kind)
    return IntegerLimits(str(kind), found.bits, int(found.max), int(found.min))
