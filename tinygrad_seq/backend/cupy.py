"""The GPU: CuPy, and the functions in which it differs from NumPy. Imported on first use of a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy

from .cuda_sources import ADD_ROWS, PHILOX

_INSTALL = 'pip install "tinygrad-seq[cuda13]" (CUDA 13) or "tinygrad-seq[cuda12]" (CUDA 12)'

try:
    import cupy as xp
except ImportError as error:
    _missing: str | None = f"device 'cuda' needs CuPy, which is not installed: {_INSTALL} [{error}]"
    xp = None
else:
    _missing = None
    from .launching import (  # noqa: F401
        address,
        capture,
        device_index,
        empty,
        kernels,
        on,
        product,
        upload,
        workspace,
    )

    ndarray = xp.ndarray
    _erf = xp.ElementwiseKernel("T x", "T y", "y = erf(x)", "tinygrad_seq_erf")
    _sigmoid = xp.ElementwiseKernel("T x", "T y", "y = T(1) / (T(1) + exp(-x))", "tinygrad_seq_sigmoid")

def require() -> None:
    """Raise a RuntimeError that says what is missing unless CuPy and a CUDA driver both work."""
    if _missing is not None:
        raise RuntimeError(_missing)
    try:
        count = xp.cuda.runtime.getDeviceCount()
    except xp.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"device 'cuda': CuPy is installed, but CUDA does not answer ({error}). Check that this machine has an "
            "NVIDIA GPU and a driver that `nvidia-smi` can see."
        ) from None
    if count == 0:
        raise RuntimeError("device 'cuda': CuPy is installed, but this machine shows no CUDA device")


def device_count() -> int:
    """The number of GPUs."""
    return int(xp.cuda.runtime.getDeviceCount())


def describe() -> list[str]:
    """CuPy, CUDA and the GPUs, a line each."""
    runtime = xp.cuda.runtime
    lines = [f"CuPy {xp.__version__}, CUDA runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}"]
    for index in range(device_count()):
        properties = runtime.getDeviceProperties(index)
        name, memory = properties["name"].decode(), properties["totalGlobalMem"] / 2**30
        lines.append(f"cuda:{index} {name}, {memory:.0f} GiB")
    return lines


def device_name(array: Any) -> str:
    """The device of an array: "cuda:0", "cuda:1", ..."""
    return f"cuda:{array.device.id}"


def asarray(data: Any, dtype: Any = None, index: int = 0) -> Any:
    """`data` as an array on CUDA device `index`, without a copy where it is there already."""
    with xp.cuda.Device(index):
        return xp.asarray(data, dtype=dtype)


def full(shape: tuple[int, ...], value: Any, dtype: Any, index: int = 0) -> Any:
    """An array of one value on CUDA device `index`."""
    with xp.cuda.Device(index):
        return xp.full(shape, value, dtype)


def arange(start: Any, stop: Any, step: Any, dtype: Any, index: int = 0) -> Any:
    """Evenly spaced numbers on CUDA device `index`."""
    with xp.cuda.Device(index):
        return xp.arange(start, stop, step, dtype)


def to_host(array: Any) -> Any:
    """A NumPy copy of the array."""
    return xp.asnumpy(array)


def checksum(array: Any) -> int:
    """A number that changes when the array's numbers do: their bytes, weighted by where they stand, modulo 2**64."""
    data = xp.ascontiguousarray(array).reshape(-1).view(xp.uint8)
    places = xp.arange(1, data.size + 1, dtype=xp.uint64)
    return int((data * (places * places + places)).sum())


def verify(check: Callable[..., None], *arrays: Any) -> None:
    """Let a check look at the numbers of arrays; it raises if it does not like them. Waits for the device."""
    check(*arrays)


def synchronize() -> None:
    """Wait until the current stream has done all it was given."""
    xp.cuda.get_current_stream().synchronize()


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in one kernel."""
    return _sigmoid(x)


def erf(x: Any) -> Any:
    """The error function in one kernel."""
    return _erf(x)


def scatter_add(buffer: Any, index: Any, values: Any) -> None:
    """buffer[index] += values, with repeated indices added up. Writes into `buffer`.

    Rows of floats are added up in the order in which they stand, so that the same numbers give the same bits.
    """
    rows = index[0] if isinstance(index, tuple) and len(index) == 1 else None
    plain = rows is not None and rows.dtype.kind in "iu" and buffer.ndim > 1 and buffer.flags.c_contiguous
    if not plain or buffer.dtype.char not in "fd" or values.dtype != buffer.dtype:
        xp.add.at(buffer, index, values)
        return
    rows = rows.reshape(-1).astype(xp.int64)
    rows = xp.where(rows < 0, rows + buffer.shape[0], rows)
    order = rows.argsort(kind="stable")
    rows, count, width = xp.take(rows, order), rows.size, buffer.size // max(buffer.shape[0], 1)
    values = xp.ascontiguousarray(xp.broadcast_to(values, (*index[0].shape, *buffer.shape[1:])))
    if count * width:
        sizes = (numpy.int64(count), numpy.int64(width))
        given = (rows, order.astype(xp.int64), values, buffer, *sizes)
        _kernel(f"tg_add_rows_{buffer.dtype.char}")(((count * width + 255) // 256,), (256,), given)


def random_words(seed: int, offset: int, count: int, index: int = 0) -> Any:
    """`count` uniform uint32 words of the Philox4x64 stream `seed`, from its block `offset` on: NumPy's very words."""
    with xp.cuda.Device(index):
        out = xp.empty(count, dtype=xp.uint32)
        if count:
            blocks = ((count + 7) // 8 + 255) // 256
            words = (numpy.uint64(seed), numpy.uint64(offset), numpy.uint64(count))
            _kernel("tg_philox")((blocks,), (256,), (*words, out))
    return out


def random_words_at(table: Any, seed: int, offset: int, count: int, out: Any) -> None:
    """As `random_words`, into `out`, with seed and offset found at these places of a table on the device."""
    if count:
        places = (numpy.uint64(seed), numpy.uint64(offset), numpy.uint64(count))
        _kernel("tg_philox_at")((((count + 7) // 8 + 255) // 256,), (256,), (table, *places, out))


@cache
def _kernel(name: str) -> Any:
    return xp.RawKernel(ADD_ROWS if "rows" in name else PHILOX, name, options=("--std=c++17",))
