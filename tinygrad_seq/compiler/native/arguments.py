"""The tables of numbers that native functions read: thousands, in a few pieces of memory.

Each has a few entries; an array for each would be mostly headers.
"""

from __future__ import annotations

from ...backend import Array
from ...backend import numpy_module as numpy

_PIECE = 1 << 15  # numbers


class Tables:
    """Tables that live as long as this does."""

    def __init__(self) -> None:
        self._pieces: list[Array] = []
        self._used = _PIECE  # of the last piece

    def add(self, table: list[int]) -> int:
        """The address of a table with these numbers."""
        if self._used + len(table) > _PIECE:
            self._pieces.append(numpy.empty(max(_PIECE, len(table)), numpy.int64))
            self._used = 0
        start, self._used = self._used, self._used + len(table)
        self._pieces[-1][start : self._used] = table
        return int(self._pieces[-1].ctypes.data) + 8 * start
