"""Fair timings: candidates in turn, medians, ratios from one run."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import tinygrad_seq as tg


def interleaved(candidates: Mapping[str, Callable[[], Any]], rounds: int = 15, warmup: int = 2) -> dict[str, float]:
    """The median seconds of each candidate. They take turns, so that a machine that slows down slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(warmup + rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if round_number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def machine() -> str:
    """One line on what the figures were taken with."""
    parts = [platform.machine(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]
    parts += [f"NumPy {np.__version__}", f"tinygrad_seq {tg.__version__}", f"BLAS kernels {blas_kernels()}"]
    return ", ".join(parts)


def blas_kernels() -> str:
    """Which kernels NumPy's BLAS uses, and whether the environment chose them."""
    chosen = os.environ.get("OPENBLAS_CORETYPE")
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return f"unknown (OPENBLAS_CORETYPE={chosen})"
    found = [str(pool.get("architecture")) for pool in threadpool_info() if pool["user_api"] == "blas"]
    return f"{'/'.join(found) or 'unknown'} (OPENBLAS_CORETYPE: {chosen or 'unset'})"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of text as aligned columns, the first row underlined."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
