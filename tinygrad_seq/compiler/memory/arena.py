"""The arena: all buffers of a program share one allocation, since their lifetimes are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...backend import numpy_module as numpy

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class LiveInterval(NamedTuple):
    """A buffer of so many bytes, live from `first` to `last`, both included."""

    size: int
    first: int
    last: int


def assign_offsets(intervals: Sequence[LiveInterval]) -> tuple[list[int], int]:
    """The offset of each buffer, and the size of the arena. No two that are live at the same time overlap.

    The largest come first, each at the lowest offset that is free during its lifetime; small ones fill the gaps.
    """
    size, first, last = (numpy.array(numbers, numpy.int64) for numbers in zip(*intervals, strict=True))
    starts = numpy.full(len(intervals), -1, numpy.int64)
    for i in sorted(range(len(intervals)), key=lambda i: (-intervals[i].size, intervals[i].first)):
        (there,) = numpy.nonzero((starts >= 0) & (first <= last[i]) & (last >= first[i]))
        there = there[numpy.argsort(starts[there], kind="stable")]
        at = 0
        for start, end in zip(starts[there].tolist(), (starts[there] + size[there]).tolist(), strict=True):
            if start - at >= intervals[i].size:
                break
            at = max(at, end)
        starts[i] = at
    return starts.tolist(), int((starts + size).max())


def rounded(size: int) -> int:
    """The size rounded up, so that the next buffer is aligned."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
