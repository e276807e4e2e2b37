"""How arrays lie in memory, as far as native functions ask for it, and how threads share them."""

from __future__ import annotations

from typing import Any

from ...backend import Array
from .gemm_microkernel import panel_of
from .thread_pool import size

OPERATION = 0.1  # nanoseconds for one element
SHARED = 6000  # nanoseconds of work that it pays to share
_WORTH_WAKING = 600_000  # nanoseconds of a program for which it pays to wake other threads


def address(a: Array) -> int:
    return int(a.__array_interface__["data"][0])


def are_rows(table: Array, rows: Array, index: Array) -> bool:
    """Whether these are rows of a table, one for each entry of an index, and all lie in one piece."""
    plain = table.flags.c_contiguous and rows.flags.c_contiguous and index.flags.c_contiguous
    if not plain or index.dtype.char != "l" or table.dtype != rows.dtype or not table.ndim:
        return False
    return bool(rows.size == index.size * (table.size // table.shape[0]))  # else broadcast


def of_rows(x: Array, out: Array, axis: Any) -> bool:
    """Whether what is reduced along these dimensions are rows in one piece, and what comes of them is, too."""
    dims = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    last = sorted([d % x.ndim for d in dims]) == [*range(x.ndim - len(dims), x.ndim)]
    return last and x.dtype == out.dtype and x.flags.c_contiguous and out.flags.c_contiguous


def over_rows(x: Array, axis: Any) -> bool:
    """Whether these are all dimensions but the last, and the others have the rows of one matrix."""
    dims = axis if isinstance(axis, tuple) else (axis,)
    if x.ndim < 2 or None in dims or sorted([d % x.ndim for d in dims]) != [*range(x.ndim - 1)]:
        return False
    return x.ndim == 2 or bool(x.flags.c_contiguous)


def shares(length: int, work: int, unit: int = 1) -> list[tuple[int, int]]:
    """Of so many rows or columns where each thread's part begins, and its length, if so many operations are shared."""
    threads = size() if work * OPERATION > SHARED else 1
    part = max(-(-length // (threads * unit)) * unit, 1)
    return [(start, min(part, length - start)) for start in range(0, length, part)]


def worth_waking(time: float) -> bool:
    """Whether other threads are woken for so many nanoseconds of work."""
    return panel_of("f") is not None and size() > 1 and time > _WORTH_WAKING
