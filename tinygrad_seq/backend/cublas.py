"""Matrix products by cuBLAS with a handle of our own.

CuPy refuses to have its cuBLAS calls captured in a graph, because a handle that allocates on the way cannot be. This
one is given its workspace beforehand, so that it can.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_NAMES = ("libcublas.so.13", "libcublas.so.12", "cublas64_13.dll", "cublas64_12.dll")
_WORKSPACE = 32 * 2**20  # bytes: what NVIDIA recommends for the newest GPUs
_MATH_MODES = {"highest": 0, "high": 3}  # CUBLAS_DEFAULT_MATH, whole float32 as well, and CUBLAS_TF32_TENSOR_OP_MATH
_FUNCTIONS = {"f": ("cublasSgemmStridedBatched", ctypes.c_float), "d": ("cublasDgemmStridedBatched", ctypes.c_double)}

precision = "highest"  # of float32 products: "high" lets tensor cores round their operands to TF32


class Unavailable(RuntimeError):
    """cuBLAS cannot be loaded, or does not take this product."""


def load() -> Any:
    """The library: the one that CuPy has loaded already, of several that are there."""
    for mode in (getattr(os, "RTLD_NOLOAD", 0), 0):
        for name in _NAMES:
            with suppress(OSError):
                return ctypes.CDLL(name, mode=ctypes.DEFAULT_MODE | mode)
    raise Unavailable(f"none of {', '.join(_NAMES)} can be loaded")


class Products:
    """Matrix products on one device.

    Args:
        library: cuBLAS; anything that has its C functions.
        workspace: makes memory of so many bytes on the device; returns it, which is kept, and its address.
    """

    def __init__(self, library: Any, workspace: Callable[[int], tuple[Any, int]]) -> None:
        self._library = library
        self._lock = threading.Lock()  # a handle has one stream at a time, and threads run while C does
        self._handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", ctypes.byref(self._handle))
        self._memory, self._address = workspace(_WORKSPACE)

    def _check(self, name: str, *args: Any) -> None:
        status = getattr(self._library, name)(*args)
        if status != 0:
            raise Unavailable(f"{name} returned status {status}")

    def __call__(self, a: Any, b: Any, out: Any, stream: int, address: Callable[[Any], int]) -> bool:
        """out = a @ b, on a stream; False if cuBLAS does not take arrays that lie so.

        Args:
            a: (..., N, K)
            b: (..., K, M)
            out: (..., N, M), its rows in one piece each. At most one dimension in front, and the same in all three.
        """
        found = described(a, b, out)
        if found is None:
            return False
        (turn_a, lead_a, step_a), (turn_b, lead_b, step_b), (lead_out, step_out), count = found
        name, number = _FUNCTIONS[out.dtype.char]
        one, zero = number(1), number(0)
        N, M, K = out.shape[-2], out.shape[-1], a.shape[-1]
        whole, pointer, i = ctypes.c_longlong, ctypes.c_void_p, ctypes.c_int
        memory = pointer(self._address), ctypes.c_size_t(_WORKSPACE)
        with self._lock:
            self._check("cublasSetStream_v2", self._handle, pointer(stream))
            self._check("cublasSetWorkspace_v2", self._handle, *memory)  # which the handle forgets with a new stream
            self._check("cublasSetMathMode", self._handle, _MATH_MODES[precision])
            # cuBLAS counts down columns: to it, our rows are columns, and outᵀ = bᵀ aᵀ
            self._check(
                name, self._handle, i(turn_b), i(turn_a), i(M), i(N), i(K), ctypes.byref(one),
                pointer(address(b)), i(lead_b), whole(step_b), pointer(address(a)), i(lead_a), whole(step_a),
                ctypes.byref(zero), pointer(address(out)), i(lead_out), whole(step_out), i(count),
            )  # fmt: skip
        return True


def described(a: Any, b: Any, out: Any) -> Any:
    """For each operand whether cuBLAS is to turn it, its leading dimension and its step from one matrix to the next.

    None if it does not take them: other dtypes, other numbers of dimensions, or elements that have gaps between them.
    """
    if out.dtype.char not in _FUNCTIONS or not a.dtype == b.dtype == out.dtype or 0 in (*out.shape, a.shape[-1]):
        return None
    if out.ndim not in (2, 3) or not a.ndim == b.ndim == out.ndim:
        return None
    if out.ndim == 3 and not a.shape[0] == b.shape[0] == out.shape[0]:
        return None
    size = out.dtype.itemsize
    lying = [_lying(x.shape[-2:], [s / size for s in x.strides[-2:]]) for x in (a, b, out)]
    if None in lying or lying[2][0]:  # type: ignore[index]
        return None
    steps = [x.strides[0] // size if out.ndim == 3 else 0 for x in (a, b, out)]
    (turn_a, lead_a), (turn_b, lead_b), (_, lead_out) = lying  # type: ignore[misc]
    return (turn_a, lead_a, steps[0]), (turn_b, lead_b, steps[1]), (lead_out, steps[2]), max(out.shape[:-2], default=1)


def _lying(shape: tuple[int, ...], strides: list[float]) -> tuple[int, int] | None:
    """Whether a matrix is transposed, and its leading dimension: the step between its rows, or else its columns."""
    (n, m), (down, across) = shape, strides
    if (across == 1 or m == 1) and (down >= m or n == 1) and down == int(down):
        return 0, max(int(down), m) if n > 1 else m
    if (down == 1 or n == 1) and (across >= n or m == 1) and across == int(across):
        return 1, max(int(across), n) if m > 1 else n
    return None
