"""Fair timings: candidates in turn, medians, ratios from one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def interleaved(
    candidates: Mapping[str, Callable[[], Any]], rounds: int = 15, warmup: int = 2, turn: int = 1, rest: float = 0
) -> dict[str, float]:
    """The median seconds of each candidate. They take turns, so that a machine that slows down slows all of them.

    Args:
        turn: how often a candidate runs when its turn comes; the time counts for each. More than once for what is
            shorter than it takes to fill the cache after another one had it, as training and sampling do in use.
        rest: seconds to wait before each turn, until the threads of who had the turn before have gone to sleep:
            OpenBLAS's go on looking for work for 0.1 s, on a core that others would use. A turn follows, untimed, so
            that caches are warm and the clock is up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(warmup + rounds):
        for name, run in candidates.items():
            if rest:
                time.sleep(rest)
                for _ in range(turn):
                    run()
            start = time.perf_counter()
            for _ in range(turn):
                run()
            if round_number >= warmup:
                seconds[name].append((time.perf_counter() - start) / turn)
    return {name: statistics.median(times) for name, times in seconds.items()}


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of text as aligned columns, the first row underlined."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
