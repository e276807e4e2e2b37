"""What computes here: `show_config`."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from importlib.util import find_spec

from .backend import backend_for, blas_threads, cublas, numpy_backend, usable_cores
from .compiler import executors
from .device import default_device
from .version import __version__


def show_config() -> None:
    """Print the versions, the devices, and which BLAS kernels multiply matrices; warn if a setting slows them down."""
    print(f"tinygrad_seq {__version__}, Python {platform.python_version()}, {sys.platform} {platform.machine()}")
    print(f"default device {default_device()}, {os.cpu_count()} cores, {usable_cores()} of them for this process")
    for line in [*numpy_backend.describe(), *_idle_threads(), *executors.described()]:
        print(line)
    try:
        for line in backend_for("cuda").describe():
            print(line)
    except RuntimeError as error:
        print(error)
    extras = {"io": "safetensors", "examples": "matplotlib"}
    missing = [extra for extra, module in extras.items() if find_spec(module) is None]
    if missing:
        print(f"extras not installed: {', '.join(missing)}")


def _idle_threads() -> list[str]:
    """A line for a BLAS that does not know of a container's bound."""
    threads, cores = blas_threads() or 0, usable_cores()
    if threads <= cores:
        return []
    return [
        f"WARNING: BLAS uses {threads} threads, but this process has {cores} cores' time, so that they wait for each "
        f"other. Export OPENBLAS_NUM_THREADS={cores} before Python starts."
    ]


def set_float32_matmul_precision(precision: str) -> None:
    """How precise float32 products are on a GPU: "highest", as float32 is, or "high".

    "high" lets the tensor cores round their operands to TF32, which has 10 bits behind the point, and is several times
    as fast. Graphs that were captured stay as they are.
    """
    if precision not in ("highest", "high"):
        raise ValueError(f"set_float32_matmul_precision: takes 'highest' or 'high', got {precision!r}")
    cublas.precision = precision
    with suppress(RuntimeError):  # no GPU
        backend_for("cuda").let_products_round(precision == "high")


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` said; "highest" at first."""
    return cublas.precision
