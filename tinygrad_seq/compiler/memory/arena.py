"""One piece of memory in which everything has its span, on paper: who is there when is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...backend import numpy_module as numpy

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Stay(NamedTuple):
    """So many bytes that are needed from one time to another one, both included."""

    size: int
    first: int
    last: int


def arranged(stays: Sequence[Stay]) -> tuple[list[int], int]:
    """Where each begins, and the bytes that all take. No two that are there at the same time overlap.

    The largest come first, each to the lowest place that is free all the while: what is large and stays long finds no
    holes of others in its way, and what is small fits into those that it leaves.
    """
    size, first, last = (numpy.array(numbers, numpy.int64) for numbers in zip(*stays, strict=True))
    starts = numpy.full(len(stays), -1, numpy.int64)
    for i in sorted(range(len(stays)), key=lambda i: (-stays[i].size, stays[i].first)):
        (there,) = numpy.nonzero((starts >= 0) & (first <= last[i]) & (last >= first[i]))
        there = there[numpy.argsort(starts[there], kind="stable")]
        at = 0
        for start, end in zip(starts[there].tolist(), (starts[there] + size[there]).tolist(), strict=True):
            if start - at >= stays[i].size:
                break
            at = max(at, end)
        starts[i] = at
    return starts.tolist(), int((starts + size).max())


def rounded(size: int) -> int:
    """A number of bytes that keeps what comes behind it aligned."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
