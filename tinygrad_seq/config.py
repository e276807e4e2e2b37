"""What computes here: `show_config`."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from .backend import backend_for, blas_threads, cublas, float32, numpy_backend, set_blas_threads, usable_cores
from .compiler import executors
from .graph.conversion import as_dtype
from .graph.device import default_device, set_default_device
from .tensor.legacy_types import dtype_of
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
        backend_for("cuda").allow_tf32(precision == "high")


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` said; "highest" at first."""
    return cublas.precision


def set_num_threads(count: int) -> None:
    """Use that many threads for products, and for compiled functions at most as many as there are cores."""
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"set_num_threads: takes a whole number from 1 on, got {count!r}")
    if not set_blas_threads(count):
        warnings.warn(
            "set_num_threads: the BLAS of this NumPy cannot be told; export OPENBLAS_NUM_THREADS (or what its own is "
            "called) before Python starts",
            stacklevel=2,
        )


def get_num_threads() -> int:
    """How many threads products use."""
    return blas_threads() or usable_cores()


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """For PyTorch's programs: the same seed gives the same numbers in either case."""


def get_default_dtype() -> Any:
    """The dtype of numbers that say nothing else: float32."""
    return float32


def set_default_dtype(dtype: Any) -> None:
    """For PyTorch's programs: takes float32, which it is.

    Raises:
        NotImplementedError: for another one.
    """
    if dtype is None:
        raise TypeError("set_default_dtype: takes a dtype, got None")
    if as_dtype(dtype_of(dtype)) != float32:
        raise NotImplementedError(
            f"set_default_dtype: the default is float32, got {dtype!r}; give a dtype to what is made, as in "
            "tg.zeros(3, dtype=tg.float64), or convert a model: model.double()"
        )


def set_default_tensor_type(name: Any) -> None:
    """As `set_default_dtype`, by an old name; "torch.cuda.FloatTensor" is also `set_default_device("cuda")`."""
    if dtype_of(name) is name:
        raise TypeError(f"set_default_tensor_type: takes an old name, such as 'torch.FloatTensor', got {name!r}")
    set_default_dtype(name)
    set_default_device("cuda" if "cuda" in str(name) else "cpu")
