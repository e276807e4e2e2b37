"""The CPU: NumPy, and the functions in which it differs from CuPy."""

from __future__ import annotations

import ctypes
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as xp

from .sums import add_at, add_rows
from .sums import cumsum as cumsum
from .sums import sum_over as sum_over

# glibc keeps the memory of freed arrays for the next ones up to twice the size of the largest that was freed so far.
# This one is never written to, so it costs nothing, and saves a step of 2,500 characters 4,000 page faults, 5 % of it.
xp.empty(31 << 20, "uint8")

module: Any = xp
ndarray = xp.ndarray
SCALAR = xp.generic  # what NumPy returns for 0-d results
dtype = xp.dtype
result_type: Any = xp.result_type

float16: dtype[Any] = dtype("float16")
float32: dtype[Any] = dtype("float32")
float64: dtype[Any] = dtype("float64")
int8: dtype[Any] = dtype("int8")
int16: dtype[Any] = dtype("int16")
int32: dtype[Any] = dtype("int32")
int64: dtype[Any] = dtype("int64")
uint8: dtype[Any] = dtype("uint8")
bool_: dtype[Any] = dtype("bool")
complex64: dtype[Any] = dtype("complex64")
complex128: dtype[Any] = dtype("complex128")


def on(index: int) -> Any:
    """A context in which nothing changes: this backend has one device."""
    return nullcontext()


def device_name(array: Any) -> str:
    """Always "cpu": this backend has one device."""
    return "cpu"


def asarray(data: Any, dtype: Any = None, index: int | None = None) -> Any:
    """`data` as an array on the CPU, without a copy where that is possible. `index` is the device's, and ignored."""
    if hasattr(data, "__cuda_array_interface__"):
        data = data.get()
    return xp.asarray(data, dtype=dtype)


def concatenate(arrays: tuple[Any, ...], axis: int) -> Any:
    """The arrays one after another along an axis."""
    return xp.concatenate(arrays, axis)


def windows(x: Any, axis: int, size: int, step: int) -> Any:
    """Views of `size` entries of an axis, every `step` of them, as a new last axis; they share memory."""
    shape, strides = list(x.shape), list(x.strides)
    shape[axis], strides[axis] = (x.shape[axis] - size) // step + 1, x.strides[axis] * step
    return xp.lib.stride_tricks.as_strided(x, (*shape, size), (*strides, x.strides[axis]))


def diagonal(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    """The diagonal of two axes as the last one: a view, which can be written to where x can."""
    y = x.diagonal(offset, axis1, axis2)
    if type(y) is ndarray and x.flags.writeable:
        y.flags.writeable = True
    return y


def send(array: Any, index: int = 0) -> Any:
    """As `asarray`: on the way to the CPU there is nothing to go on with meanwhile."""
    return asarray(array)


def full(shape: tuple[int, ...], value: Any, dtype: Any, index: int = 0) -> Any:
    """An array of one value."""
    return xp.full(shape, value, dtype)


def arange(start: Any, stop: Any, step: Any, dtype: Any, index: int = 0) -> Any:
    """Evenly spaced numbers."""
    return xp.arange(start, stop, step, dtype=dtype)


def to_host(array: Any) -> Any:
    """The same array: it is on the host already."""
    return array


def format_array(array: Any, prefix: str, suffix: str) -> str:
    """The numbers as text between `prefix` and `suffix`, continued lines indented below the first."""
    if array.size == 0:
        return f"{prefix}{array.tolist()}, shape={array.shape}{suffix}" if array.ndim > 1 else f"{prefix}[]{suffix}"
    return prefix + xp.array2string(array, separator=", ", prefix=prefix, precision=4, floatmode="maxprec") + suffix


def describe() -> list[str]:
    """NumPy, its BLAS, the kernels it uses, and what holds them back, a line each."""
    build = xp.show_config(mode="dicts")
    blas = build["Build Dependencies"]["blas"]
    lines = [f"NumPy {xp.__version__}, BLAS {blas['name']} {blas['version']}"]
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        lines.append("BLAS kernels unknown: threadpoolctl, which can tell, is not installed")
    else:
        for pool in threadpool_info():
            if pool["user_api"] == "blas":
                lines.append(f"BLAS kernels {pool.get('architecture', 'unknown')}, {pool['num_threads']} threads")
    pinned = os.environ.get("OPENBLAS_CORETYPE")
    wide = any(name.startswith(("AVX512", "X86_V4")) for name in build["SIMD Extensions"].get("found", ()))
    if pinned and wide and pinned.lower() in ("haswell", "zen", "sandybridge", "nehalem", "generic", "prescott"):
        lines.append(
            f"WARNING: OPENBLAS_CORETYPE={pinned} is exported, so matrix products do without AVX-512, which this "
            "CPU has; they may take twice as long. Unset it before Python starts."
        )
    return lines


def checksum(array: Any) -> int:
    """A number that changes when the array's numbers do."""
    return hash(array.tobytes())


def verify(check: Callable[..., None], *arrays: Any) -> None:
    """Let a check look at the numbers of arrays; it raises if it does not like them."""
    check(*arrays)


def synchronize() -> None:
    """Nothing to wait for: NumPy is done when it returns."""


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in one buffer. Exact far out too, unlike (tanh(x / 2) + 1) / 2, for a third more time."""
    kind = x.dtype.kind
    if kind in "biu":  # minus an unsigned integer is another large one
        x = x.astype(float32)
    elif kind == "c":  # complex infinity divides to nan, so keep the exponential small
        left = x.real < 0
        e = xp.exp(xp.where(left, x, -x))
        return xp.where(left, e, 1) / (1 + e)
    with xp.errstate(over="ignore"):  # exp(-x) = inf gives the right 0
        t = xp.exp(-x)
        if type(t) is not ndarray:
            return 1 / (1 + t)
        t += 1
        return xp.divide(1, t, out=t)


_erf = xp.frompyfunc(math.erf, 1, 1)


def erf(x: Any) -> Any:
    """The error function. NumPy has none, so Python's: exact to the last digit, at 0.1 µs per element."""
    if x.dtype.kind == "c":
        raise TypeError("erf: takes real numbers")
    return xp.asarray(_erf(x), dtype=float32 if x.dtype.kind in "biu" else x.dtype)


def scatter_add(buffer: Any, index: Any, values: Any) -> None:
    """buffer[index] += values, with repeated indices added up. Writes into `buffer`."""
    rows = index[0] if isinstance(index, tuple) and len(index) == 1 else None
    if rows is not None and rows.dtype.kind in "iu" and buffer.ndim > 1 and values.ndim > 1:
        add_rows(buffer, rows, values)
    else:
        add_at(buffer, index, values)


# generators, by where they go on: making one takes ten times as long as a few words
_streams: OrderedDict[tuple[int, int], Any] = OrderedDict()
_MOST_STREAMS = 8


def random_bits(seed: int, offset: int, count: int, index: int = 0) -> Any:
    """`count` uniform uint32 words of the Philox4x64 stream `seed`, from its block `offset` on.

    The stream is a function of (seed, offset) alone (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
    2011), so every backend draws the same words.
    """
    blocks = (count + 7) // 8  # of four 64-bit words; all of the last one are drawn, so that the next one follows
    bits = _streams.pop((seed, offset), None) or xp.random.Philox(key=seed, counter=offset)
    words = bits.random_raw(4 * blocks).view(xp.uint32)[:count]
    _streams[seed, offset + blocks] = bits
    while len(_streams) > _MOST_STREAMS:
        _streams.popitem(last=False)
    return words


def empty_cache() -> None:
    """Give memory that was freed back to the system, where the C library keeps it and can be asked (glibc's does)."""
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
