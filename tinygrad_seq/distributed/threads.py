"""How many threads a process takes where several share a host."""

from __future__ import annotations

import os
import sys

from ..backend import blas_threads, set_blas_threads, usable_cores
from ..compiler.executors import forget_threads

_SAID = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def share_cores(rank: int, local_size: int) -> None:
    """Let each of so many processes on this host take its part of the cores, unless the environment says how many.

    Where the launcher has bound each process to cores of its own, these are taken.
    """
    if any(os.environ.get(name) for name in _SAID):
        return
    everything = os.cpu_count() or 1
    cores, threads = usable_cores(), blas_threads()
    bound = cores <= everything // local_size
    mine = cores if bound else max(1, cores // local_size)
    if threads is None or threads <= mine:
        return
    set_blas_threads(mine)
    forget_threads()
    if rank == 0:
        each = "1 thread" if mine == 1 else f"{mine} threads"
        print(
            f"distributed: {local_size} processes share {cores} cores here, so each takes {each} instead of {threads}; "
            "OPENBLAS_NUM_THREADS= says otherwise",
            file=sys.stderr,
            flush=True,
        )
