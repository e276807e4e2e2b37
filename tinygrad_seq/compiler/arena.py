"""One piece of memory that is handed out in spans, on paper: how much it takes is known when all is planned."""

from __future__ import annotations

from bisect import bisect_left

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Arena:
    """Spans of memory, given out and taken back; neighbours that are free are one.

    Attributes:
        size: the bytes that it takes for all spans so far to find their place.
    """

    def __init__(self) -> None:
        self.size = 0
        self._starts: list[int] = []  # of the free spans, in order
        self._ends: list[int] = []

    def take(self, size: int) -> int:
        """Where a span of so many bytes goes: into the smallest gap that holds it, or to the end."""
        gaps = [(end - start, i) for i, (start, end) in enumerate(zip(self._starts, self._ends, strict=True))]
        fitting = min([gap for gap in gaps if gap[0] >= size], default=None)
        if fitting is not None:
            i = fitting[1]
            start = self._starts[i]
            self._starts[i] += size
            if self._starts[i] == self._ends[i]:
                del self._starts[i], self._ends[i]
            return start
        start = self._starts.pop() if self._ends and self._ends[-1] == self.size else self.size
        del self._ends[len(self._starts) :]
        self.size = start + size
        return start

    def give(self, start: int, size: int) -> None:
        """Take a span back."""
        end, i = start + size, bisect_left(self._starts, start)
        if i < len(self._starts) and self._starts[i] == end:
            end = self._ends[i]
            del self._starts[i], self._ends[i]
        if i and self._ends[i - 1] == start:
            self._ends[i - 1] = end
        else:
            self._starts.insert(i, start)
            self._ends.insert(i, end)


def rounded(size: int) -> int:
    """A number of bytes that keeps what comes behind it aligned."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
