"""Progress while something runs: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import os
import shutil
import sys
import time
from types import TracebackType

from .output import say

EVERY_LINE, EVERY_BAR = 5.0, 0.1  # seconds
NARROWEST_BAR, WIDEST_BAR = 10, 30


class Progress:
    """One line at the bottom of a terminal that is drawn again and again; on a dumb one, or in a file, lines.

    Args:
        quiet: show nothing, and say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._last: float | None = None  # when it was shown last
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wipe()

    def update(self, done: float, *parts: str) -> None:
        """The share that is done, and what to say beside it; what does not fit into the line is left out."""
        now = time.monotonic()
        every = EVERY_BAR if self._bar else EVERY_LINE
        if self.quiet or (self._last is not None and now - self._last < every):
            return
        self._last = now
        if not self._bar:
            say("  ".join((f"{done:4.0%}", *parts)))
            return
        width = shutil.get_terminal_size().columns - 1
        shown = [f"{done:4.0%}"]
        for part in parts:
            if len("  ".join([*shown, part])) > width:
                break
            shown.append(part)
        left = min(width - len("  ".join(shown)) - 3, WIDEST_BAR)
        if left >= NARROWEST_BAR:
            full = round(done * left)
            shown.insert(0, "[" + "#" * full + "-" * (left - full) + "]")
        self._drawn = True
        say("\r" + " ".join(shown)[:width] + "\x1b[K", end="")

    def say(self, text: str) -> None:
        """Text above the bar."""
        if not self.quiet:
            self._wipe()
            say(text)

    def warn(self, text: str) -> None:
        """Text on standard error, also for who wants to hear nothing else."""
        self._wipe()
        print(f"char_lm: {text}", file=sys.stderr, flush=True)

    def _wipe(self) -> None:
        if self._drawn:
            self._drawn = False
            say("\r\x1b[K", end="")
