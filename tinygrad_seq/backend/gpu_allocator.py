"""What is asked of a GPU's memory: counted, and refused in words that say what holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_GRAIN = 512  # bytes: what the allocator may add to what it is asked for


class OutOfMemoryError(RuntimeError):
    """A GPU has no room for an array. Nothing was changed; with a smaller batch, work can go on."""


class Allocator:
    """Hands on what another allocator gives, and knows how much that was at its peak.

    Args:
        malloc: the allocator: bytes to memory.
        failure: the error that it raises when there is no more.
        current: which device that is.
        used: bytes in arrays of a device. It may take long to count them.
        figures: of a device, bytes kept for later arrays, free bytes, all bytes.
        free: gives what is kept for later back to the device.

    Attributes:
        peaks: for each device the most bytes in arrays so far.
    """

    def __init__(
        self,
        malloc: Callable[[int], Any],
        failure: type[Exception],
        current: Callable[[], int],
        used: Callable[[int], int],
        figures: Callable[[int], tuple[int, int, int]],
        free: Callable[[], None],
    ) -> None:
        self._malloc, self._failure, self._current = malloc, failure, current
        self._used, self._figures, self._free = used, figures, free
        self.peaks: dict[int, int] = {}
        self._room: dict[int, int] = {}  # what each device may be asked for before there can be a new peak

    def malloc(self, size: int) -> Any:
        """Memory of so many bytes; what other sizes left unused is given up before it is refused.

        Raises:
            OutOfMemoryError: with how much was asked for, and what holds the rest.
        """
        try:
            memory = self._malloc(size)
        except self._failure:
            self._free()
            try:
                memory = self._malloc(size)
            except self._failure:
                raise OutOfMemoryError(self._refusal(size, self._current())) from None
        index = self._current()
        self._room[index] = self._room.get(index, 0) - size - _GRAIN
        if self._room[index] < 0:
            used = self._used(index)
            self.peaks[index] = max(used, self.peaks.get(index, 0))
            self._room[index] = self.peaks[index] - used
        return memory

    def reset_peak(self, index: int) -> None:
        """Let the peak of a device begin with what is there now."""
        self.peaks.pop(index, None)
        self._room.pop(index, None)

    def _refusal(self, size: int, index: int) -> str:
        used, (kept, free, whole) = self._used(index), self._figures(index)
        others = max(whole - free - used - kept, 0)
        return (
            f"cuda:{index} is out of memory: {readable(size)} were asked for, and of {readable(whole)} there are "
            f"{readable(free)} free; arrays of this process hold {readable(used)}, memory kept for later ones "
            f"{readable(kept)}, CUDA and other processes {readable(others)}. Take a smaller batch or shorter "
            "sequences, or tg.checkpoint; nothing was changed, so training can go on"
        )


def readable(count: int) -> str:
    """Bytes as people say it."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
