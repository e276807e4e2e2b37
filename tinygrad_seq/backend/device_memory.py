"""What is asked of a GPU's memory: counted, and refused in words that say what holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class OutOfMemoryError(RuntimeError):
    """A GPU has no room for an array. Nothing was changed; with a smaller batch, work can go on."""


class Allocator:
    """Hands on what another allocator gives, and knows how much that was at its peak.

    Args:
        malloc: the allocator: bytes to memory.
        failure: the error that it raises when there is no more.
        used: bytes in arrays of the current device, and its index.
        figures: bytes kept for later arrays, free bytes of the device, all of its bytes.
        let_go: gives what is kept for later back to the device.
    """

    def __init__(
        self,
        malloc: Callable[[int], Any],
        failure: type[Exception],
        used: Callable[[], tuple[int, int]],
        figures: Callable[[], tuple[int, int, int]],
        let_go: Callable[[], None],
    ) -> None:
        self._malloc, self._failure, self._used, self._figures, self._let_go = malloc, failure, used, figures, let_go
        self.peaks: dict[int, int] = {}

    def malloc(self, size: int) -> Any:
        """Memory of so many bytes; what other sizes left unused is given up before it is refused.

        Raises:
            OutOfMemoryError: with how much was asked for, and what holds the rest.
        """
        try:
            memory = self._malloc(size)
        except self._failure:
            self._let_go()
            try:
                memory = self._malloc(size)
            except self._failure:
                raise OutOfMemoryError(self._refusal(size)) from None
        self.note()
        return memory

    def note(self) -> None:
        """Look at how much is in arrays now."""
        used, index = self._used()
        if used > self.peaks.get(index, 0):
            self.peaks[index] = used

    def _refusal(self, size: int) -> str:
        (used, index), (kept, free, whole) = self._used(), self._figures()
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
